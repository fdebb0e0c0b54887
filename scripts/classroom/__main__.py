"""Runs one of the commands, as in: python -S scripts/classroom/__main__.py demo v0.2"""

import _signal  # the core of `signal`, which itself takes its time to load

# While the rest loads, Ctrl-C ends the command at once and quietly. With -S that is from the
# first moment on: `site`, which finds the libraries, comes after it.
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import contextlib  # noqa: E402
import importlib  # noqa: E402
import os  # noqa: E402
import site  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402


def main():
    """Run the command that the first argument names, with the arguments that follow."""
    with contextlib.suppress(OSError):  # started by hand, without the script
        os.dup2(3, 2)
        os.close(3)
    site.main()
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    command = importlib.import_module(f"classroom.{sys.argv.pop(1)}")
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    try:
        command.main()
    finally:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


if __name__ == "__main__":
    main()
