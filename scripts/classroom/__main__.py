"""Runs one of the commands, as in: python scripts/classroom demo v0.2"""

import importlib
import signal
import sys
from pathlib import Path

COMMANDS = {
    "check": "classroom.check.command",
    "demo": "classroom.demo.command",
    "draw": "classroom.pictures.command",
}


def main():
    """Run the command that the first argument names, with the arguments that follow."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the libraries load, Ctrl-C is quiet
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    name = sys.argv.pop(1)
    output = importlib.import_module("classroom.output")
    output.open_streams()
    command = importlib.import_module(COMMANDS[name])
    output.run(name, command.main)


if __name__ == "__main__":
    main()
