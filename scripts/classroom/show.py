"""The show: plays sessions for an audience, which steers it by keys and may type itself.

It runs in a thread of its own. Whatever there is to see goes to `draw` as a Scene; what draws it
is another's business.
"""

import contextlib
import queue
import time
from dataclasses import dataclass

from classroom.play import stage_set
from classroom.screen import client_state, letters_of, window
from classroom.session import Step

# Seconds: for each letter of a remark, and for a line at least.
READING, LOOKING = 0.04, 1.2
PERIOD = 0.04  # seconds between two looks at the server
TERMINALS = 4  # as many as the audience may open

KEYS = "b from the start · t type yourself · n new terminal · q quits"
TYPING = "Enter sends · Tab next terminal · Ctrl-C ends nc · Esc gives the keyboard back"


class Stopped(Exception):
    """The audience has had enough."""


class Again(Exception):
    """The session is to be played from its start."""


@dataclass(frozen=True)
class Scene:
    """All that there is to see at one moment."""

    title: str
    stage: object  # the classroom.course.Stage
    terminals: dict  # from each letter to (what stands in its window, (its state, a colour))
    typing: str  # the letter of the terminal in which the audience types, or ""
    standings: list  # where the server's threads stand
    log: str  # the server's
    caption: str
    keys: str  # what they do now


def pause_after(step):
    """Return how many seconds the audience needs for a step."""
    return max(LOOKING, READING * len(step.text)) if step.action == "remark" else LOOKING


def titled_sessions(chosen, live=False):
    """Return (stage, title, steps) for each session of the chosen stages.

    With `live` there is one for each stage: A and B connect, and the rest is the audience's.
    """
    if live:
        steps = [Step("connects", letter, "", f"{letter} connects", "live") for letter in "AB"]
        return [(stage, f"{stage.name}: {stage.title} (live)", steps) for stage in chosen]
    return [
        (stage, f"{stage.name}: {stage.title} ({number} of {len(sessions)})", steps)
        for stage in chosen
        for sessions in [stage.sessions()]
        for number, steps in enumerate(sessions, 1)
    ]


class Show:
    """The playing of all chosen sessions, one after the other."""

    def __init__(self, options, draw):
        """`options` are those of ./scripts/demo; `draw(scene)` is called when the scene changes."""
        self.options = options
        self.draw = draw
        # Of (name, character or None). In Python 3.10 a SimpleQueue may wait for ever at timeout 0.
        self.keys = queue.Queue()
        self.scene = None

    def run(self):
        """Play all. Returns when the audience has had enough, or --until is reached.

        Raises Mismatch or Breakdown when a session does not go as its lesson says.
        """
        sessions = titled_sessions(self.options.chosen, self.options.live)
        number = 0
        with contextlib.suppress(Stopped):
            while number < len(sessions):
                with contextlib.suppress(Again):
                    self.play(*sessions[number], is_last=number == len(sessions) - 1)
                    number += 1

    def play(self, stage, title, steps, is_last):
        """Play one session, and stay with it until the audience goes on."""
        self.stage, self.title, self.caption = stage, title, ""
        self.letters = letters_of(steps)
        self.actions = dict.fromkeys(self.letters, "")  # what was done last in each terminal
        self.typing = self.line = ""  # in which terminal the audience types, and what so far
        self.touched = False  # it has typed, so that the session cannot go on
        self.enter = "Enter goes on"
        with stage_set(stage, self.options.nc) as self.player:
            for step in self.player.steps(steps, before=self.pause_before):
                if step.action == "remark":
                    self.caption = step.text
                elif step.action != "stands":
                    self.actions[step.terminal] = step.action
                self.look()
                if step.line == self.options.until:
                    raise Stopped
            self.at_end(is_last)

    def pause_before(self, step):
        """Give the audience its time before a line, or only hear what it says."""
        if self.options.step:
            self.wait(None)
        else:
            hurry = self.options.fast or self.options.live
            self.wait(0 if hurry else pause_after(step))
        if self.touched:
            raise Again

    def at_end(self, is_last):
        """Stay until the audience goes on: to the next session, or, after the last, home."""
        self.enter = "Enter leaves" if is_last else "Enter next"
        if self.options.live:
            self.typing = "A"
        elif is_last:
            self.caption = "The end. q leaves, and tells how to try it by hand."
        if self.options.unattended:
            return
        if self.options.step or self.options.live or is_last:
            self.wait(None)
        else:
            self.wait(0 if self.options.fast else LOOKING)

    def wait(self, seconds):
        """Look at the server until the audience goes on, or so many seconds have passed.

        When the audience has typed, or does so, only its word counts.
        """
        deadline = time.monotonic() + seconds if seconds is not None else float("inf")
        while True:
            self.look()
            rest = max(0, deadline - time.monotonic())
            with contextlib.suppress(queue.Empty):
                if self.press(*self.keys.get(timeout=min(PERIOD, rest))):
                    return
            if not rest and not self.typing and not self.touched:
                return

    def press(self, key, character):
        """Do what a key says; return True if it says to go on."""
        if key == "quit":
            raise Stopped
        if self.typing:
            self.type(key, character)
        elif key in {"q", "ctrl+c", "ctrl+q"}:
            raise Stopped
        elif key == "b":
            raise Again
        elif key == "t":
            self.typing = self.letters[0]
        elif key == "n" and len(self.letters) < TERMINALS:
            self.typing = next(letter for letter in "ABCD" if letter not in self.letters)
            self.letters.append(self.typing)
            self.type("enter", None)
        return key in {"enter", "space"} and not self.typing

    def type(self, key, character):
        """Do what a key says in a terminal: nc runs there, or begins with Enter."""
        terminal = self.player.terminals.get(self.typing)
        is_open = terminal is not None and not terminal.left and not terminal.ended
        if key == "escape":
            self.typing = ""
        elif key == "tab":
            self.typing = self.letters[(self.letters.index(self.typing) + 1) % len(self.letters)]
        elif key == "ctrl+c" and not is_open:
            raise Stopped
        elif key == "ctrl+c":
            terminal.press_ctrl_c()
            terminal.left = True
            self.touch()
            self.actions[self.typing] = "leaves"
        elif key == "enter":
            self.touch()
            if not is_open:
                self.player.connect(self.typing)
            else:
                terminal.type(self.line)
            self.actions[self.typing] = "connects"
            self.line = ""
        elif key == "backspace":
            self.line = self.line[:-1]
        elif character and character.isprintable():
            self.line += character

    def touch(self):
        """Note that the session is the audience's now; before its end, it cannot go on."""
        self.touched = True
        if self.enter == "Enter goes on":
            self.enter = "Enter begins again"

    def look(self):
        """Draw what there is to see now, if it is not drawn already."""
        terminals = self.player.terminals
        for terminal in terminals.values():
            terminal.read()
        moment = self.player.moment()
        scene = Scene(
            self.title,
            self.stage,
            {
                letter: (
                    window(
                        terminals.get(letter),
                        self.actions.get(letter),
                        self.line if letter == self.typing else None,
                    ),
                    client_state(moment, letter),
                )
                for letter in self.letters
            },
            self.typing,
            moment.standings,
            self.player.server.log(),
            self.caption,
            TYPING if self.typing else f"{self.enter} · {KEYS}",
        )
        if scene != self.scene:
            self.scene = scene
            self.draw(scene)
