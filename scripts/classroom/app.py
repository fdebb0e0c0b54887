"""The demo's screen: the server's log and the terminals in panels, a caption, and the keys."""

import contextlib
import queue
from typing import ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, Static

from classroom.demo import Stopped, pause_after, titled_sessions
from classroom.play import Breakdown, Mismatch, stage_set
from classroom.screen import letters_of, window

NEXT, QUIT = "next", "quit"


class Panel(VerticalScroll):
    """A window with a title. Its newest line stays in sight."""

    can_focus = False

    def __init__(self, title):
        super().__init__()
        self.border_title = title
        self.text = Static()

    def compose(self):
        yield self.text

    def show(self, text, subtitle=""):
        self.text.update(text)
        self.border_subtitle = subtitle
        self.scroll_end(animate=False)


class Demo(App):
    """Plays the sessions in a thread of its own; that thread asks the app to draw each step."""

    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (50, "-wide")]
    CSS = """
    #title { text-style: bold; padding: 0 1; }
    #panels { height: 2fr; }
    .-narrow #panels { layout: vertical; }
    Panel { border: round $primary; padding: 0 1; height: 1fr; width: 1fr; }
    #caption { color: $accent; text-style: italic; padding: 0 1; height: auto; min-height: 2; }
    """
    BINDINGS: ClassVar = [
        Binding("enter,space", "press('next')", "next"),
        Binding("q", "press('quit')", "quit"),
        Binding("ctrl+c", "press('quit')", "quit", show=False, priority=True),
    ]

    def __init__(self, options):
        super().__init__()
        self.options = options
        self.problem = None  # the exception that ended the demo, if one did
        self.keys = queue.SimpleQueue()
        self.log_panel = Panel("server")
        self.panels = {}  # of the terminals, by letter

    def compose(self):
        yield Static(id="title")
        yield Horizontal(id="panels")
        yield self.log_panel
        yield Static(id="caption")
        yield Footer()

    def on_mount(self):
        self.play_all()

    def action_press(self, key):
        self.keys.put(key)
        if key == QUIT:
            self.exit()

    # What follows runs in the player's thread, but for what it hands to `draw`.

    @work(thread=True)
    def play_all(self):
        try:
            for stage, title, steps in titled_sessions(self.options.chosen):
                self.play(stage, title, steps)
            self.draw(self.show_caption, "The end. q leaves, and tells how to try it by hand.")
            while True:
                self.wait_for_key()
        except Stopped:
            pass
        except (Mismatch, Breakdown) as problem:
            self.problem = problem
            self.draw(self.exit, return_code=1)

    def play(self, stage, title, steps):
        with stage_set(stage, self.options.nc) as player:
            states = {}
            self.draw(self.set_stage, title, letters_of(steps))
            for step in player.steps(steps, before=self.pause):
                states[step.terminal] = step.action
                self.draw(self.show_step, player, states, step)
            self.pause(steps[-1])

    def draw(self, function, *arguments, **options):
        """Call a function in the app's thread; the app may have ended meanwhile."""
        with contextlib.suppress(RuntimeError):
            self.call_from_thread(function, *arguments, **options)

    def pause(self, step):
        """Wait before a step: for Enter with --step, else as long as one needs to look."""
        if self.options.step:
            self.wait_for_key()
        elif not self.options.fast:
            self.wait_for_key(pause_after(step))

    def wait_for_key(self, seconds=None):
        with contextlib.suppress(queue.Empty):
            if self.keys.get(timeout=seconds) == QUIT:
                raise Stopped

    # And what follows in the app's.

    async def set_stage(self, title, letters):
        self.query_one("#title", Static).update(title)
        self.show_caption("")
        self.log_panel.show("")
        self.panels = {letter: Panel(letter) for letter in letters}
        row = self.query_one("#panels")
        await row.remove_children()
        await row.mount(*self.panels.values())

    def show_step(self, player, states, step):
        if step.action == "remark":
            self.show_caption(step.text)
        self.log_panel.show(player.server.log())
        for letter, terminal in player.terminals.items():
            self.panels[letter].show(window(terminal, states[letter]))

    def show_caption(self, text):
        self.query_one("#caption", Static).update(text)
