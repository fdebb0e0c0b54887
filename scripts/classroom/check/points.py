"""Reads how many points each behaviour is worth."""

import sys
from pathlib import Path

from classroom.output import Misuse, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_points(path):
    """Return {a behaviour's name: its points} from a file of TOML; raise Misuse if it is none.

    The names are not checked here.
    """
    place = one_line(str(path))
    try:
        points = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"{place} cannot be read: {one_line(str(error))}") from None
    for name, value in points.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            raise Misuse(f"{place}: {one_line(name)} is not a number from 0 on")
    return points
