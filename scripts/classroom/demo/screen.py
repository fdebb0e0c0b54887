"""The demo's screen: the terminals, the server's source with its threads in it, and its log.

It gives the keys to the playback, except the arrows, which scroll the source.
"""

import asyncio
import contextlib
import re
import signal
import time
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import App
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from classroom.demo.playback import Playback
from classroom.demo.source import source
from classroom.drawing import (
    DARK,
    IDLE,
    LIGHT,
    SERVED,
    WAITING,
    is_open,
    kernel_view,
    tasks,
    window,
)
from classroom.output import Problem, one_line, printable

EMPHASIS = 0.8  # seconds for which a frame shows that its text has changed


class Panel(Static):
    """A window with a title, which shows the end of a text.

    It cuts off the rest itself: Textual scrolls a moment after the text has changed, and under
    load too early.
    """

    def __init__(self, title, **options):
        super().__init__(**options)
        self.border_title = title
        self.text = Text()

    def set(self, text):
        if text != self.text:
            self.text = text
            self.fit()
            if not self.app.is_headless:  # a picture is the same each time
                self.add_class("changed")
                self.set_timer(EMPHASIS, lambda: self.remove_class("changed"))

    def on_resize(self):  # Textual calls that of each class, not only the last one
        self.fit()

    def fit(self):
        """Fit what is shown to the size that the panel has now."""
        width, height = self.content_size
        lines = self.text.wrap(self.app.console, max(1, width))
        self.update(Text("\n").join(lines[-height:]))


class Source(Panel):
    """The server's source, with its threads in it."""

    code, threads, offset = "", (), 0

    def set(self, code, threads):
        if (code, threads) != (self.code, self.threads):
            self.code, self.threads, self.offset = code, threads, 0
            self.fit()

    def scroll(self, lines):
        self.offset += lines
        self.fit()

    def fit(self):
        width, height = self.content_size
        whole = self.offset != 0  # who scrolls wants to see what was left out
        lines, middle = source(self.code, self.threads, (width, height), self.app.colours, whole)
        centred = round(middle - height / 2)
        first = min(max(0, centred + self.offset), max(0, len(lines) - height))
        self.offset = first - centred  # not beyond the last line
        for line in lines[first : first + height]:
            line.truncate(width, overflow="ellipsis")
        self.update(Text("\n").join(lines[first : first + height]))


def server_title(view, alone):
    """Return the title of a server's panel: its name, its threads, and its port if it is `alone`.

    Beside another server there is no room for the port.
    """
    parts = [one_line(view.name)]
    if threads := len(view.record.threads):  # of some servers, nobody sees them
        parts.append(f"{threads} thread{'s' * (threads > 1)}")
    if alone:
        parts.append(f"port {view.port}")
    return " · ".join(parts)


class Side(Vertical):
    """One server: its clients' terminals, what the kernel knows of them, its source and its log."""

    def __init__(self):
        super().__init__(classes="side")
        self.view = None
        self.panels = {}  # of the terminals, by letter
        self.clients = {}  # what the kernel knows of them, by letter
        self.drawn = 0  # when the view was, in the seconds of time.monotonic()

    def compose(self):
        yield Static(classes="name", markup=False)
        yield Horizontal(classes="terminals")
        yield Horizontal(classes="kernel")
        with Horizontal(classes="server"):
            yield Source("server", classes="source")
            yield Panel("log", classes="log")
        yield Static(classes="tasks", markup=False)

    async def draw(self, view, scene):
        """Draw a View of a Scene."""
        self.view = view
        self.query_one(".name", Static).update(f"{view.stage.name}: {printable(view.stage.title)}")
        self.query_one(".tasks", Static).update(tasks(view.record))
        self.query_one(".tasks").display = bool(view.record.todo_list)
        if tuple(self.panels) != scene.letters:
            self.panels = {letter: Panel(letter) for letter in scene.letters}
            self.clients = {
                letter: Static(classes="client", markup=False) for letter in scene.letters
            }
            for name, widgets in ((".terminals", self.panels), (".kernel", self.clients)):
                row = self.query_one(name)
                await row.remove_children()
                await row.mount(*widgets.values())
        for letter, panel in self.panels.items():
            client = view.record.clients.get(letter)
            # Enter connects nobody while the nc of the other side can send.
            is_idle = not is_open(client) and any(
                is_open(each.record.clients.get(letter)) for each in scene.views
            )
            line = scene.line if letter == scene.typing and not is_idle else None
            panel.set(window(letter, client, line, self.app.colours))
            panel.set_class(letter == scene.typing, "typing")
        self.drawn = time.monotonic()
        self.draw_clients()
        self.query_one(".server").set_class(not view.source, "prompt")
        panel = self.query_one(Source)
        title = server_title(view, alone=len(scene.views) == 1)
        panel.border_title = Text(title)  # a string would be markup
        panel.set(view.source, view.record.threads)
        # The names of threads as beside the source; the panel is narrow.
        log = re.sub(r"(?m)^(Thread-\d+) \(\w+\):", r"\1:", view.record.log.rstrip())
        self.query_one(".log", Panel).set(Text(printable(log)))

    def draw_clients(self):
        """Draw what the kernel knows of each client; a clock runs while one waits."""
        seconds = self.view.record.seconds + time.monotonic() - self.drawn
        for letter, client in self.clients.items():
            width = client.content_size.width
            text, style = kernel_view(self.view.record, letter, seconds, width)
            client.update(text)
            for name, of_style in (("waiting", WAITING), ("served", SERVED), ("idle", IDLE)):
                client.set_class(style == of_style, name)


class Demo(App):
    """Draws a Playback, which runs in a thread of its own, and gives it the keys."""

    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-low"), (18, "-high")]
    CSS = """
    #title { text-style: bold; padding: 0 1; height: 1; }
    .name { text-style: bold; padding: 0 1; height: 1; display: none; }
    .compare .name { display: block; }
    .terminals { height: 3fr; }
    .kernel { height: 3; }
    .-low .kernel { height: 1; }
    .client { width: 1fr; padding: 0 1 0 2; text-style: bold; }
    .compare .client { padding: 0 1; }
    .client.waiting { background: #ffd33d; color: #000000; }
    .client.served { background: #2ea043; color: #000000; }
    .client.idle { background: #39c5cf; color: #000000; }
    .server { height: 4fr; }
    Panel { border: round $primary; border-title-color: $foreground; padding: 0 1; }
    Panel { height: 1fr; width: 1fr; }
    Panel.changed { border: round $foreground; }
    Panel.typing { border: heavy $warning; }
    .source { width: 3fr; }
    .-narrow .log, .compare .log, .-low .server, .server.prompt { display: none; }
    .tasks { padding: 0 2; height: auto; max-height: 3; }
    .-low .tasks { display: none; }
    Screen:light { background: #ffffff; }
    #caption { color: $accent; text-style: italic; padding: 0 1; height: auto; min-height: 1; }
    #upcoming { padding: 0 1; height: 1; }
    #upcoming, .client { text-wrap: nowrap; text-overflow: ellipsis; }
    .-low #caption { max-height: 1; }
    .-low #upcoming { display: none; }
    #caption:light { color: #6b4100; }
    #keys { background: $panel; padding: 0 1; height: auto; }
    """

    def __init__(self, options):
        super().__init__()
        self.problem = None  # the exception that ended the playback, if one did
        self.picture = ""  # of the last scene, as an SVG
        self.scene = None
        self.theme = "textual-light" if options.light else "textual-dark"
        self.colours = LIGHT if options.light else DARK
        self.playback = Playback(options, lambda scene: self.call(self.draw, scene))

    def compose(self):
        yield Static(id="title", markup=False)
        with Horizontal(id="sides", classes="compare" if self.playback.options.compare else ""):
            yield Side()
            if self.playback.options.compare:
                yield Side()
        yield Static(id="caption", markup=False)
        yield Static(id="upcoming", markup=False)
        # Textual's Footer would cut off the last keys; this text is wrapped.
        yield Static(id="keys", markup=False)

    def on_mount(self):
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # otherwise nobody would restore the terminal
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        self.set_interval(0.5, self.tick)
        self.run_playback()

    async def on_event(self, event):
        # Textual itself would handle Tab before the keys that were typed before it.
        if isinstance(event, events.Paste):
            self.playback.keys.put(("paste", event.text))
        elif not isinstance(event, events.Key):
            await super().on_event(event)
        elif event.key in {"up", "down"}:
            for panel in self.query(Source):
                panel.scroll(3 if event.key == "down" else -3)
        else:
            self.playback.keys.put((event.key, event.character))

    def on_unmount(self):
        self.playback.keys.put(("quit", None))

    @work(thread=True)
    def run_playback(self):
        try:
            self.playback.run()
            self.call(self.call_after_refresh, self.finish)  # when the last scene is drawn
        except (Problem, OSError) as problem:
            self.problem = problem
            self.call(self.exit, return_code=1)

    def call(self, function, *arguments, **options):
        """Call a function in the app's thread, from the playback's; the app may have ended."""
        with contextlib.suppress(RuntimeError):
            self.call_from_thread(function, *arguments, **options)

    def finish(self):
        names = " ".join(view.stage.name for view in self.scene.views)
        names = f"--compare {names}" if len(self.scene.views) > 1 else names
        svg = self.export_screenshot(title=f"./scripts/demo {names}")
        # Textual's picture loads its font from the network, collapses spaces, has the buttons of a
        # window, and sometimes a rectangle without a width.
        unwanted = r'@font-face \{.*?\}|<circle [^>]*/>|<rect [^>]*width="0"[^>]*/>'
        svg = re.sub(unwanted, "", svg, flags=re.DOTALL)
        self.picture = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)
        self.exit()

    def tick(self):
        for side in self.query(Side):
            if side.view:  # it has been drawn
                side.draw_clients()

    def caption(self, scene):
        """Return the remark, and what was done after it, as rich text."""
        remark, done = printable(scene.caption), printable(scene.done)
        if not (remark and done):
            return Text(remark or done)
        return Text.assemble((f"{remark} → ", self.colours.faint), done)

    async def draw(self, scene):
        self.scene = scene
        self.query_one("#title", Static).update(printable(scene.title))
        self.query_one("#caption", Static).update(self.caption(scene))
        self.query_one("#upcoming", Static).update(printable(scene.upcoming))
        self.query_one("#keys", Static).update(scene.keys)
        for side, view in zip(self.query(Side), scene.views, strict=True):
            await side.draw(view, scene)
