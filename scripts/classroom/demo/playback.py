"""Plays sessions for an audience, which controls the playback by keys and may type itself.

It runs in a thread of its own, and calls `draw` with a Scene when there is something new to see.
"""

import contextlib
import queue
import time
from dataclasses import dataclass

from classroom.course import Stage
from classroom.drawing import letters_of
from classroom.play import Mismatch, started
from classroom.record import Record
from classroom.session import PROMPT, Step, at_prompt

# Seconds: for each letter of a remark, and for a line at least.
READING, LOOKING = 0.04, 1.2
PERIOD = 0.04  # seconds between two looks at the server
TERMINALS = 4  # as many as the audience may open

KEYS = ("← back", "PgUp/Dn session", "t type", "n terminal", "↑↓ code", "q quits")
TYPING = ("Tab next terminal", "Esc gives the keyboard back")


class Stopped(Exception):
    """The audience ends the demo."""


class Move(Exception):
    """Go on elsewhere: so many sessions further, and there after so many steps."""

    def __init__(self, sessions, steps=0):
        super().__init__(sessions, steps)
        self.sessions, self.steps = sessions, steps


@dataclass(frozen=True)
class Scene:
    """All that there is to see at one moment."""

    title: str
    stage: Stage
    source: str  # the server's, as it was when the server was started; "" at Python's prompt
    record: Record
    letters: tuple[str, ...]  # of the terminals
    typing: str  # the letter of the terminal in which the audience types, or ""
    line: str  # what it has typed there and not sent yet
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


class Playback:
    """The playing of all chosen sessions, one after the other."""

    def __init__(self, options, draw):
        """`options` are those of ./scripts/demo; `draw(scene)` is called when the scene changes."""
        self.options = options
        self.draw = draw
        # Of (name, character or None). In Python 3.10 a SimpleQueue may wait for ever at timeout 0.
        self.keys = queue.Queue()
        self.scene = None
        self.paused = False

    def run(self):
        """Play all. Returns when the audience ends the demo, or --until is reached.

        Raises Mismatch or Breakdown when a session does not go as its lesson says.
        """
        sessions = titled_sessions(self.options.chosen, self.options.live)
        number = steps = 0
        with contextlib.suppress(Stopped):
            while number < len(sessions):
                try:
                    self.play(*sessions[number], steps, is_last=number == len(sessions) - 1)
                    number, steps = number + 1, 0
                except Move as move:
                    number, steps = max(0, number + move.sessions), move.steps

    def play(self, stage, title, steps, begin, is_last):
        """Play one session, and wait at its end until the audience goes on.

        Nobody sees the first steps, `begin` in number, and they take no time.
        """
        self.stage, self.title, self.caption = stage, title, ""  # instead of the last remark
        self.letters = letters_of(steps)
        self.source = "" if at_prompt(steps) else stage.server.read_text(encoding="utf-8")
        self.typing = ""  # in which terminal the audience types
        # What it has typed in each, and not sent yet.
        self.lines = dict.fromkeys([*self.letters, *"ABCD"], "")
        self.touched = False  # it has typed, so the session must be played again to go on
        self.enter = "Enter goes on"
        self.begin, self.done = begin, 0  # steps
        self.stops = []  # after how many steps the audience can look
        with started(stage, steps, self.options.nc) as self.player:
            for record in self.player.steps(steps, before=self.pause_before):
                self.done += 1
                if self.done >= self.begin:
                    self.look()
                if record.step.line == self.options.until:
                    raise Stopped
            self.stops.append(self.done)
            self.at_end(is_last)

    def pause_before(self, step):
        """Give the audience its time before a line, or only handle its keys.

        An answer is there as soon as the line before it, and so is the line of a thread: nobody
        has to press Enter to have that checked, and an Enter is kept for the next line.
        """
        stops = step.action != "thread" and not (step.action == "shows" and self.options.step)
        if stops:
            self.stops.append(self.done)
        if self.done < self.begin:
            return
        if self.options.fast or self.options.live:
            self.wait(0)
        elif stops:
            self.wait(None if self.options.step else pause_after(step))
        if self.touched:
            raise Move(0, self.done)

    def at_end(self, is_last):
        """Wait until the audience goes on: to the next session, or, after the last, out."""
        self.enter = "Enter leaves" if is_last else "Enter next"
        if self.options.live:
            self.typing = "A"
        elif is_last:
            self.caption = "The end. q leaves, and says how to try it by hand."
        if not self.options.unattended:
            self.wait(0 if self.options.fast and not is_last else None)

    def wait(self, seconds):
        """Look at the server until the audience goes on, or so many seconds have passed.

        When the audience pauses, has typed, or is typing, only its keys count.
        """
        deadline = time.monotonic() + seconds if seconds is not None else float("inf")
        while True:
            self.look()
            rest = max(0, deadline - time.monotonic())
            with contextlib.suppress(queue.Empty):
                key = self.keys.get(timeout=min(PERIOD, rest))
                while not self.press(*key):
                    key = (
                        self.keys.get_nowait()
                    )  # drawing after each key would lag behind a fast typist
                return
            if not (rest or self.paused or self.typing or self.touched):
                return

    def press(self, key, character):
        """Do what a key says; return True if it says to go on."""
        if key == "quit":
            raise Stopped
        if self.typing:
            self.type(key, character)
            return False
        if key in {"q", "ctrl+c", "ctrl+q"}:
            raise Stopped
        if key == "space" and not (self.options.step or self.paused):
            self.paused = True
            return False
        if key == "left":
            raise Move(0, max([stop for stop in self.stops if stop < self.done], default=0))
        if key == "pageup":  # to the begin of this session, and from there to the one before
            raise Move(0 if self.done > self.stops[0] else -1)
        if key == "pagedown":
            raise Move(1)
        if key == "t":
            self.typing = self.letters[0]
        elif key == "n" and len(self.letters) < TERMINALS:
            self.typing = next(letter for letter in "ABCD" if letter not in self.letters)
            self.letters.append(self.typing)
            self.type("enter", None)
        if key == "space":
            self.paused = False
        return key in {"enter", "right", "space"}

    def type(self, key, character):
        """Do what a key says in a terminal, where Enter starts nc if it does not run.

        With the key "paste", `character` is any number of them.
        """
        if key == "paste":
            for each in character.replace("\r\n", "\n").replace("\r", "\n"):
                self.type("enter" if each == "\n" else "", each)
        elif key == "escape":
            self.typing = ""
        elif key == "tab":
            self.typing = self.letters[(self.letters.index(self.typing) + 1) % len(self.letters)]
        elif key == "backspace":
            self.lines[self.typing] = self.lines[self.typing][:-1]
        elif character and character.isprintable():
            self.lines[self.typing] += character
        elif not self.is_open(self.typing):
            if key == "enter":
                self.touch()
                with contextlib.suppress(Mismatch):  # it is seen: its nc has ended
                    self.player.connect(self.typing)
                self.player.actions[self.typing] = "connects"
        elif key == "ctrl+c":
            self.touch()
            self.player.terminals[self.typing].press_ctrl_c()
            if self.player.terminals[self.typing].left:
                self.player.actions[self.typing] = "leaves"
        elif key == "enter":
            self.touch()
            self.player.terminals[self.typing].type(self.lines[self.typing])
            self.player.actions[self.typing] = "connects"
            self.lines[self.typing] = ""

    def is_open(self, letter):
        """Say whether nc runs in a terminal."""
        terminal = self.player.terminals.get(letter)
        return terminal is not None and not terminal.ended

    def key_words(self):
        """Return what the keys do now, each in a few words."""
        if not self.typing:
            full = len(self.letters) == TERMINALS
            no_pause = self.options.step or self.options.live
            pause = [] if no_pause else [f"Space {'goes on' if self.paused else 'pauses'}"]
            keys = [words for words in KEYS if not (full and words[0] == "n")]
            return [self.enter, *pause, *keys]
        is_open = self.is_open(self.typing)
        if not is_open:
            return ["Enter connects", *TYPING]
        return [
            "Enter sends",
            f"Ctrl-C {'interrupts' if self.typing == PROMPT else 'ends nc'}",
            *TYPING,
        ]

    def touch(self):
        """Note that the audience has typed: the session is played again up to here, and goes on."""
        self.touched = True
        if not self.options.live:
            self.caption = "This is yours. Then the session goes on where it was."

    def look(self):
        """Draw what there is to see now, if it is not drawn already."""
        scene = Scene(
            self.title,
            self.stage,
            self.source,
            self.player.record(),
            tuple(self.letters),
            self.typing,
            self.lines.get(self.typing, ""),
            self.caption or self.player.remark,
            " · ".join(self.key_words()),
        )
        if scene != self.scene:
            self.scene = scene
            self.draw(scene)
