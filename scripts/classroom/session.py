"""The notation of sessions: what is typed in which terminal, and what comes back.

    A> hello          text and Enter are typed in terminal A
    A< hello          the next thing A shows is this whole line
    A connects        A starts nc; implied by A's first line
    A waits           A has shown nothing although the server had its chance
    A leaves          A's nc is ended with Ctrl-C
    A is closed       the server ended A's connection
    server: MainThread in recv for A    a thread of the server waits in this call
    python> x = 1     text and Enter are typed at Python's prompt, which is this session's server
    python< 1         the next thing that Python shows is this whole line
    python waits      the prompt has not come back although Python had its chance
    # text            a remark, the demo's caption

A session is a fenced block of Markdown whose language is `session`; outside of a lesson,
`session v0.5` says for which stage it is.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from classroom.output import Problem

PROMPT = "python"  # the name of the terminal in which Python is at its prompt
TERMINAL = rf"(?P<terminal>[A-Z]|{PROMPT})"


class Kind(NamedTuple):
    """A kind of line: everything about it except how it is played."""

    pattern: str  # of the whole line
    example: str  # for error messages
    note: str = ""  # what its terminal's column shows where nothing is typed and nothing comes back
    checks: bool = False  # whether the server can fail it
    ends_a_wait: bool = False


KINDS = {
    "types": Kind(rf"{TERMINAL}>(?: (?P<text>.*))?", "A> text"),
    "shows": Kind(rf"{TERMINAL}<(?: (?P<text>.*))?", "A< text", checks=True, ends_a_wait=True),
    "connects": Kind(r"(?P<terminal>[A-Z]) connects", "A connects"),
    "waits": Kind(rf"{TERMINAL} waits", "A waits", "… waits", checks=True),
    "leaves": Kind(r"(?P<terminal>[A-Z]) leaves", "A leaves", "^C", ends_a_wait=True),
    "is closed": Kind(
        r"(?P<terminal>[A-Z]) is closed",
        "A is closed",
        "closed by the server",
        checks=True,
        ends_a_wait=True,
    ),
    "thread": Kind(
        r"server: (?P<text>\S+ in (accept|recv|readline|sendall))( for (?P<terminal>[A-Z]))?",
        "server: THREAD in recv for A",
        checks=True,
    ),
    "remark": Kind(r"#(?: (?P<text>.*))?", "# text"),
}


class SessionError(Problem):
    """A session that cannot be played; the message begins with its file and line."""


@dataclass(frozen=True)
class Step:
    """One line of a session."""

    action: str  # one of the names in KINDS
    terminal: str  # a capital letter, or "" where the line names none
    text: str  # what is typed, shown or remarked, or "MainThread in recv"; without its line end
    line: str  # the line as the lesson has it
    place: str  # its file and line: "stages/v0.2/README.md:31"


def sessions_of(path):
    """Yield each session of the Markdown file `path` as a list of steps; raise SessionError."""
    for token in MarkdownIt().parse(Path(path).read_text(encoding="utf-8")):
        if token.type == "fence" and token.info.split()[:1] == ["session"]:
            yield parse(token.content, os.path.relpath(path), first_line=token.map[0] + 2)


def at_prompt(steps):
    """Say whether a session types its server at Python's prompt, and needs no other one."""
    return any(step.terminal == PROMPT for step in steps)


def parse(text, path="session", first_line=1):
    """Return the steps of the session `text`, which begins at `first_line` of `path`."""
    steps = []
    for number, line in enumerate(text.splitlines(), first_line):
        if line.strip():
            steps.append(_parse_line(line.strip(), f"{path}:{number}"))
    _check_order(steps)
    if not any(KINDS[step.action].checks for step in steps):
        raise SessionError(
            f"{path}:{first_line}: this session checks nothing; add a line like A< …"
        )
    return steps


def _parse_line(line, place):
    for action, kind in KINDS.items():
        if match := re.fullmatch(kind.pattern, line):
            fields = match.groupdict()
            terminal, text = fields.get("terminal") or "", fields.get("text") or ""
            return Step(action, terminal, text, line, place)
    *examples, last = [kind.example for kind in KINDS.values()]
    raise SessionError(f"{place}: cannot read {line!r}; a line is {', '.join(examples)} or {last}")


def _ends_a_wait(step):
    """Say whether the wait in a step's terminal is over once the step is done."""
    prompt_is_back = step.terminal == PROMPT and step.action == "types"
    return KINDS[step.action].ends_a_wait or prompt_is_back


def _check_order(steps):
    """Refuse what no terminal can do, and a wait that nothing ends."""
    connected = {PROMPT}
    for index, step in enumerate(steps):
        if not step.terminal:
            continue
        if step.action == "connects" and step.terminal in connected:
            raise SessionError(f"{step.place}: {step.terminal} is connected already")
        if step.terminal not in connected and step.action not in {"connects", "types"}:
            raise SessionError(f"{step.place}: {step.terminal} is not connected")
        connected.add(step.terminal)
        if step.action in {"leaves", "is closed"}:
            connected.remove(step.terminal)
        if step.action == "waits" and not any(
            later.terminal == step.terminal and _ends_a_wait(later) for later in steps[index:]
        ):
            raise SessionError(
                f"{step.place}: nothing ends this wait; "
                f"let a line {step.terminal}< …, leaves or is closed follow"
            )
