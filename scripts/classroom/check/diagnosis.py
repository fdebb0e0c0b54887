"""What went wrong with a server, in plain words."""

import re

from classroom.play import Breakdown, Mismatch


def problem_of(error):
    """Return what went wrong, in a sentence or two."""
    if isinstance(error, Mismatch) and error.line:
        what = error.what.replace("\n", " ")
        if error.line[1:2] == "<":
            answer = repr(error.line[3:]) if error.line[3:] else "with an empty line"
            return f"{error.line[0]} should have been answered {answer}, but {what}."
        return f"{error.line!r} does not hold: {what}."
    if isinstance(error, Breakdown) and (ended := re.search(r"but the server (.*)\n", str(error))):
        loop = " Is accept() in a loop, and what ends it?" * ("last line" in ended[1])
        return f"Your server {ended[1]} in the middle of it.{loop}"
    if isinstance(error, Mismatch | AssertionError | Breakdown):
        text = str(error).partition("\nassert ")[0].strip()
        return f"{text[:1].upper()}{text[1:]}."
    if isinstance(error, ConnectionError | TimeoutError):
        return f"A client could not connect or was thrown out: {error}."
    raise error
