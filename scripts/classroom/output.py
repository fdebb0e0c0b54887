"""What a command writes and how it ends: text from others is only text, and errors are one line.

A server's output, the name of a file, a client's message: such text may hold markup, or control
characters that would move the reader's cursor, change colours or turn the writing direction.
"""

import io
import os
import sys
import unicodedata

from rich.console import Console

from classroom import interrupts

# They are format characters, but emoji and several scripts need them.
JOINERS = "\u200c\u200d"


class Problem(Exception):
    """One line for the user: what is wrong and what to do next."""

    status = 1  # the command's exit status


class Misuse(Problem):
    """A problem of the command line."""

    status = 2


def printable(text):
    """Return `text` with an escape sequence for each character that could control a terminal.

    Line ends, tabs, letters of all scripts and emoji stay as they are.
    """
    return "".join(map(_printable, text))


def _printable(character):
    steers = unicodedata.category(character) in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    if steers and character not in f"\n\t{JOINERS}":
        return ascii(character)[1:-1]
    return character


def one_line(text):
    """Return `text` as `printable` does, on one line."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


class Page(Console):
    """A rich console that treats no text as markup, as an emoji's name or as control characters.

    Its width is the terminal's, or `columns` where there is no terminal.
    """

    def __init__(self, columns=100, **options):
        width = None if sys.stdout.isatty() else columns
        super().__init__(**{"highlight": False, "width": width} | options)

    def render_str(self, text, **options):
        plain = {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **options | plain)

    def on_broken_pipe(self):
        """Let `run` handle that the reader has gone, as `head` does."""
        raise  # noqa: PLE0704 (rich calls it while it handles the BrokenPipeError)


class _Errors(io.TextIOWrapper):
    """Standard error; see `printable`."""

    def write(self, text):
        return super().write(printable(text))


def open_streams():
    """Replace closed standard streams by the null device, and let no character be an error.

    Otherwise the next file that is opened would become the stream.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stdout.reconfigure(errors="replace")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    raw = open(2, "wb", 0, closefd=False)  # noqa: SIM115
    sys.stderr = _Errors(raw, encoding, "backslashreplace", write_through=True)


def run(name, main):
    """Run a command's `main`, and end the process with the exit status that it returns.

    The status is 1 for a problem, 2 for misuse, 130 for Ctrl-C, 143 for SIGTERM, 129 for a hang-up.
    """
    try:
        try:
            interrupts.install()
            sys.exit(main())
        finally:
            interrupts.ignore()  # the rest takes a moment, and nothing may interrupt it
            sys.stdout.flush()  # here, because at the end of the process no error is handled
    except KeyboardInterrupt as interrupt:
        status = 128 + interrupts.number_of(interrupt)
    except BrokenPipeError:
        status = 1
    except (Problem, OSError) as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        status = getattr(problem, "status", 1)
    # Python would try again to write what could not be written before.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)
