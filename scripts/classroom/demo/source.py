"""The server's source, with its threads at the lines that they execute."""

from rich.syntax import Syntax
from rich.text import Text

from classroom.output import printable
from classroom.threads import CALLS

HERE = "bold yellow"


def source(code, threads, width, height):
    """Return the lines of a server's source that matter, with its threads, as rich text.

    Return also the line that belongs in the middle of a panel of this width and height. If the
    panel is too low for all threads, what lies between them is left out.
    """
    lines = Syntax(printable(code), "python", theme="ansi_dark").highlight(code).split("\n")
    # From listen() to main(); if somebody has renamed them, all of it.
    first = code[: max(0, code.find("    def listen"))].count("\n")
    last = code.partition("\n\n\ndef main")[0].count("\n") + 1
    shown, marked, calls = [], [], []
    for number, line in enumerate(lines[first:last], first + 1):
        here = [thread for thread in threads if thread.line == number]
        if CALLS.search(line.plain):
            calls.append(len(shown))
        if here:
            marked.append(len(shown))
            room = width + 4 - 2
            label = _label(here, room - len(line))
            line.truncate(max(20, room - len(label)), overflow="ellipsis")
            line.append(label, style=HERE)
        shown.append(Text.assemble(("▶ " if here else "  ", HERE), line[4:]))
    # Beside the threads, what they do before and after, if there is room for it.
    sight = sorted({*marked, *calls})
    if marked and sight[-1] - sight[0] >= height:
        sight = marked
    middle = (sight[0] + sight[-1] + 1) / 2 if sight else 0
    if marked and marked[-1] - marked[0] >= height:
        gap = [Text("  ⋮", style="dim")]
        shown = [part for at in marked for part in [*gap, shown[at]]] + gap
        middle = len(shown) / 2
    return shown, middle


def _label(threads, room):
    """Return the names of threads and clients for the end of a line with so much room."""
    if len(threads) == 1 and threads[0].request:  # more important than the end of the line
        thread = threads[0]
        request = printable(thread.request).removesuffix(" HTTP/1.1")
        return f"  ◀ {thread.name} for {thread.client}, request: {request:.40}"
    each = [f"{t.name} for {t.client}" if t.client else t.name for t in threads]
    is_short = sum(map(len, each)) + 2 * len(each) + 2 <= room
    if not is_short and len(threads) > 1 and all(thread.client for thread in threads):
        numbers = ", ".join(thread.name.removeprefix("Thread-") for thread in threads)
        each = [f"Thread-{numbers} for {', '.join(thread.client for thread in threads)}"]
    return f"  ◀ {', '.join(each)}"
