"""Where the stages and their lessons are: in stages/, or at the root of a checked-out tag."""

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from classroom.session import SessionError, at_prompt, sessions_of

ROOT = Path(__file__).resolve().parents[2]
SERVER = "simpleSocketServer.py"


@dataclass(frozen=True)
class Stage:
    """One stage of the course: its server and, beside it, its lesson."""

    folder: Path

    @property
    def server(self):
        return self.folder / SERVER

    @property
    def lesson(self):
        return self.folder / "README.md"

    @property
    def name(self):
        """The stage's name, "v0.2", as the lesson's first line has it."""
        return self._heading[0]

    @property
    def number(self):
        """Its place among the others; see number_of."""
        return number_of(self.name)

    @property
    def title(self):
        """What the lesson's first line says after the name."""
        return self._heading[1]

    @property
    def summary(self):
        """The first line of the server's docstring, without the name."""
        docstring = ast.get_docstring(ast.parse(self.server.read_text(encoding="utf-8"))) or ""
        return docstring.partition("\n")[0].removeprefix(f"{self.name}: ")

    def sessions(self):
        """Return the lesson's sessions, each a list of steps; raise SessionError."""
        return self._sessions

    def session(self):
        """Return the first session that is played on the stage's server."""
        return next(steps for steps in self.sessions() if not at_prompt(steps))

    # A lesson is read once: to parse its Markdown takes longer than to play a session.
    @functools.cached_property
    def _sessions(self):
        return list(sessions_of(self.lesson))

    @functools.cached_property
    def _heading(self):
        first_line = self.lesson.read_text(encoding="utf-8").partition("\n")[0]
        match = re.fullmatch(r"# (v\d+\.\d+): (.+)", first_line)
        if not match:
            raise SessionError(f"{self.lesson}:1: expected a heading like '# v0.2: title'")
        return match.groups()


def number_of(name):
    """Return the numbers in a stage's name, to be compared: (0, 10) of "v0.10", above (0, 9)."""
    return tuple(map(int, re.findall(r"\d+", name)))


@functools.cache
def stages():
    """Return the stages that are here, in order: all of them, or the one of a checked-out tag.

    Raises SessionError for a lesson that does not begin with its stage's name.
    """
    if not (ROOT / "stages").exists():  # at a tag
        return (Stage(ROOT),)
    here = [Stage(path.parent) for path in ROOT.glob(f"stages/*/{SERVER}")]
    return tuple(sorted(here, key=lambda stage: stage.number))
