"""Plays sessions for an audience, which controls the playback by keys and may type itself.

It runs in a thread of its own, and calls `draw` with a Scene when there is something new to see.
"""

import contextlib
import queue
import shlex
import time
from dataclasses import dataclass

from classroom.check import candidate
from classroom.course import Stage
from classroom.drawing import letters_of
from classroom.play import Mismatch, started
from classroom.record import Record
from classroom.session import KINDS, PROMPT, Step, at_prompt

# Seconds: for each letter of a remark, and for a line at least.
READING, LOOKING = 0.04, 1.2
PERIOD = 0.04  # seconds between two looks
TERMINALS = 4  # as many as the audience may open
GO_ON = {"enter", "right", "space"}  # the keys
TYPED = {"connects", "types", "leaves"}  # what a client does in a session

KEYS = ("← back", "PgUp/Dn session", "t type", "n terminal", "↑↓ code", "q quits")
TYPING = ("Tab next terminal", "Esc stops typing")


class Stopped(Exception):
    """The audience ends the demo."""


class Move(Exception):
    """Go on elsewhere: so many sessions further, and there after so many steps."""

    def __init__(self, sessions, steps=0):
        super().__init__(sessions, steps)
        self.sessions, self.steps = sessions, steps


@dataclass(frozen=True)
class View:
    """What there is to see of one server."""

    stage: Stage
    name: str  # of the server's file, or the command that starts it
    port: int
    source: str  # the server's, as it was when the server was started; "" at Python's prompt
    record: Record


@dataclass(frozen=True)
class Scene:
    """All that there is to see at one moment."""

    title: str
    views: tuple[View, ...]  # two when stages are compared
    letters: tuple[str, ...]  # of the terminals
    typing: str  # the letter of the terminal in which the audience types, or ""
    line: str  # what it has typed there and not sent yet
    caption: str  # the last remark
    done: str  # the last line that was done after it
    upcoming: str  # what comes next, if the audience decides when
    keys: str  # what they do now


def pause_after(step):
    """Return how many seconds the audience needs for a step."""
    return max(LOOKING, READING * len(step.text)) if step.action == "remark" else LOOKING


def titled_sessions(chosen, live=False, unchecked=False):
    """Return (stages, title, steps) for each session of the chosen stages.

    With `live` there is one for each stage: A and B connect, and the rest is the audience's. With
    `unchecked` there is one for all stages: what is typed in the first session of the first one.
    """
    connects = [Step("connects", letter, "", f"{letter} connects", "live") for letter in "AB"]
    if unchecked:
        names = " and ".join(stage.name for stage in chosen)
        typed = [step for step in chosen[0].session() if step.action in TYPED]
        title = (
            f"{names} get the same lines"
            if len(chosen) > 1
            else f"Your server, and {names}'s lines"
        )
        return [(chosen, title, connects if live else typed)]
    if live:
        return [([stage], f"{stage.name}: {stage.title} (live)", connects) for stage in chosen]
    return [
        ([stage], f"{stage.name}: {stage.title} ({number} of {len(sessions)})", steps)
        for stage in chosen
        for sessions in [stage.sessions()]
        for number, steps in enumerate(sessions, 1)
    ]


def responses(stage):
    """Return what the first session of a stage shows next after each line that is typed.

    The keys are the numbers of the typed lines, from 1.
    """
    lines, typed = {}, 0
    for step in stage.session():
        typed += step.action in TYPED
        if KINDS[step.action].checks and step.action != "thread":
            lines.setdefault(typed, step.line)
    return lines


def source_of(program):
    """Return the source of a server that is a Python file, "" for any other."""
    return candidate.read_program(str(program)) if str(program).endswith(".py") else ""


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
        options = self.options
        sessions = titled_sessions(options.chosen, options.live, options.unchecked)
        number = steps = 0
        with contextlib.suppress(Stopped):
            while number < len(sessions):
                try:
                    self.play(*sessions[number], steps, is_last=number == len(sessions) - 1)
                    number, steps = number + 1, 0
                except Move as move:
                    number, steps = max(0, number + move.sessions), move.steps

    def play(self, chosen, title, steps, begin, is_last):
        """Play one session, and wait at its end until the audience goes on.

        Nobody sees the first steps, `begin` in number, and they take no time.
        """
        self.chosen, self.title, self.steps = chosen, title, steps
        self.caption = self.done = self.upcoming = ""  # see Scene
        self.letters = letters_of(steps)
        self.sources = ["" if at_prompt(steps) else source_of(stage.server) for stage in chosen]
        self.names = [stage.server.name for stage in chosen]
        if self.options.server:
            self.sources = [source_of(self.options.server[0])]
            self.names = [" ".join(self.options.server)]
        self.lesson = responses(chosen[0]) if self.options.server else {}
        self.typing = ""  # in which terminal the audience types
        # What it has typed in each, and not sent yet.
        self.lines = dict.fromkeys([*self.letters, *"ABCD"], "")
        self.touched = False  # it has typed, so the session must be played again to go on
        self.enter = "Enter goes on"
        self.begin, self.position, self.is_last = begin, 0, is_last  # the first two in steps
        self.stops = []  # after how many steps the audience can look
        unchecked, nc = self.options.unchecked, self.options.nc
        servers = [started(stage, steps, nc, not unchecked) for stage in chosen]
        if self.options.server:
            servers = [candidate.started(self.options.server, nc)]
        with contextlib.ExitStack() as stack:
            self.players = [stack.enter_context(server) for server in servers]
            first, *others = self.players
            played = [
                first.steps(steps, self.pause_before),
                *(each.steps(steps) for each in others),
            ]
            for record, *_ in zip(*played, strict=True):
                self.position += 1
                self.describe(record.step)
                if self.position >= self.begin:
                    self.look()
                if record.step.line == self.options.until:
                    raise Stopped
            self.stops.append(self.position)
            self.at_end()

    def describe(self, step):
        """Note the remark or the line: after a line, the remark before it may no longer be true."""
        if step.action == "remark":
            self.caption, self.done = step.text, ""
        elif step.action in TYPED | {"is closed"}:
            self.done = step.line
            if line := self.lesson.get(self.position):
                self.done += f" (expected: {line})"

    def pause_before(self, step):
        """Give the audience its time before a line, or only handle its keys.

        An answer comes with the line before it, and so do silence and the line of a thread: nobody
        has to press Enter to have that checked, and an Enter is kept for the next line.
        """
        follows = step.action in {"shows", "waits"}
        stops = step.action != "thread" and not (follows and self.options.step)
        if stops:
            self.stops.append(self.position)
            self.upcoming = f"Next: {self.next_line()}"
        if self.position < self.begin:
            return
        if self.options.fast or self.options.live:
            self.wait(0)
        elif stops:
            self.wait(None if self.options.step else pause_after(step))
            if step.action in TYPED:  # it may take seconds until it is clear what a server does
                self.upcoming = f"Playing: {step.line}"
                self.look()
        if self.touched:
            raise Move(0, self.position)

    def next_line(self):
        """Return the line that will be played next; if it is a remark, the one after it, too."""
        step, *later = self.steps[self.position :]
        if step.action == "remark":
            return f"a remark, then {later[0].line}" if later else "a remark"
        return f"{step.line} (an empty line)" if step.line == f"{step.terminal}>" else step.line

    def at_end(self):
        """Wait until the audience goes on: to the next session, or, after the last, out."""
        self.enter = "Enter leaves" if self.is_last else "Enter next session"
        if self.options.live:
            self.typing = "A"
        self.upcoming = ""
        if self.options.server:
            words = ["./scripts/check", self.chosen[0].name, "--", *self.options.server]
            self.upcoming = f"The end. Is each response right? {shlex.join(words)}"
        elif self.is_last and not self.options.live:
            self.upcoming = "The end. q leaves, and says how to try it by hand."
        if self.is_last:
            self.forget_early_keys()
        if not self.options.unattended:
            self.wait(0 if self.options.fast and not self.is_last else None)

    def forget_early_keys(self):
        """Let no Enter that was meant for the last line leave the demo before its end is seen."""
        early = []
        with contextlib.suppress(queue.Empty):
            while True:
                early.append(self.keys.get_nowait())
        if any(name not in GO_ON for name, _ in early):
            for key in early:
                self.keys.put(key)

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
        if key == "space" and not self.options.step:
            if self.enter != "Enter goes on":  # the session is at its end
                return False
            self.paused = not self.paused
            return not self.paused
        if key == "left":
            raise Move(0, max([stop for stop in self.stops if stop < self.position], default=0))
        if key == "pageup":  # to the beginning of this session, and from there to the one before
            raise Move(0 if self.position > self.stops[0] else -1)
        if key == "pagedown" and not self.is_last:
            raise Move(1)
        if key == "t":
            self.typing = self.letters[0]
        elif key == "n" and len(self.letters) < TERMINALS:
            self.typing = next(letter for letter in "ABCD" if letter not in self.letters)
            self.letters.append(self.typing)
            self.type("enter", None)
        return key in GO_ON and not self.options.live

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
        elif key == "enter" or (key == "ctrl+c" and self.is_open(self.typing)):
            self.touch()
            act = self.leave if key == "ctrl+c" else self.connect
            if key == "enter" and self.is_open(self.typing):
                act = self.send
            for player in self.players:
                act(player)
            if act == self.send:
                self.lines[self.typing] = ""

    def connect(self, player):
        with contextlib.suppress(Mismatch):  # it is seen: its nc has ended
            player.connect(self.typing)
        player.actions[self.typing] = "connects"

    def send(self, player):
        if not player.terminals[self.typing].ended:
            player.terminals[self.typing].type(self.lines[self.typing])
            player.actions[self.typing] = "connects"

    def leave(self, player):
        if not player.terminals[self.typing].ended:
            player.terminals[self.typing].press_ctrl_c()
            if player.terminals[self.typing].left:
                player.actions[self.typing] = "leaves"

    def is_open(self, letter):
        """Say whether nc runs in a terminal, of one server at least."""
        terminals = [player.terminals.get(letter) for player in self.players]
        return any(terminal and not terminal.ended for terminal in terminals)

    def key_words(self):
        """Return what the keys do now, each in a few words."""
        if not self.typing:
            full = len(self.letters) == TERMINALS
            no_pause = self.options.step or self.options.live or self.enter != "Enter goes on"
            pause = [] if no_pause else [f"Space {'goes on' if self.paused else 'pauses'}"]
            keys = [words for words in KEYS if not (full and words[0] == "n")]
            if self.options.live:  # nothing is played
                return [words for words in keys if words != KEYS[0]]
            back = self.touched and self.enter == "Enter goes on"
            return ["Enter goes back" if back else self.enter, *pause, *keys]
        is_open = self.is_open(self.typing)
        if not is_open:
            return ["Enter connects", *TYPING]
        return [
            "Enter sends",
            f"Ctrl-C {'interrupts' if self.typing == PROMPT else 'ends nc'}",
            *TYPING,
        ]

    def waits_for_enter(self):
        """Say whether nothing more is played until the audience wants it."""
        return self.options.step or self.paused or self.enter != "Enter goes on"

    def touch(self):
        """Note that the audience has typed: the session is played again up to here, and goes on."""
        self.touched, self.done = True, ""
        if self.enter == "Enter goes on":
            self.caption = "This is yours. Then the session goes on where it was."
        elif not self.options.live:
            self.caption = "This is yours."

    def look(self):
        """Draw what there is to see now, if it is not drawn already."""
        if self.options.server and not self.players[0].server.alive():
            self.caption = f"The server {self.players[0].server.how_it_ended()}."
        scene = Scene(
            self.title,
            tuple(
                View(stage, name, player.server.port, source, player.record())
                for stage, name, source, player in zip(
                    self.chosen, self.names, self.sources, self.players, strict=True
                )
            ),
            tuple(self.letters),
            self.typing,
            self.lines.get(self.typing, ""),
            self.caption,
            self.done,
            self.upcoming if self.waits_for_enter() else "",
            " · ".join(self.key_words()),
        )
        if scene != self.scene:
            self.scene = scene
            self.draw(scene)
