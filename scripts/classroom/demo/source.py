"""The server's source, with its threads at the lines that they execute."""

from typing import NamedTuple

from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

from classroom.output import printable
from classroom.threads import CALLS

NARROW = 60  # columns
ENDING = 12  # characters of a line that is too long, after its middle is cut out
HERE = "bold #000000 on #ffd33d"


class _Row(NamedTuple):
    text: Text
    has_thread: bool
    is_call: bool  # of a method in which a thread may wait
    is_comment: bool


def source(code, threads, size, colours, whole=False):
    """Return the lines of a server's source that matter, with its threads, as rich text.

    Return also the line that belongs in the middle of a panel of this `size`, its width and height.
    If the panel is too narrow or too low, comments are left out; if it is much too low, so is what
    lies between the threads, unless the source is wanted `whole`.
    """
    width, height = size
    syntax = Syntax(printable(code), "python", theme=colours.theme, background_color="default")
    highlighted = syntax.highlight(printable(code))
    highlighted.style = ""  # without the background of the theme, here and in each part
    highlighted.spans = [
        span._replace(style=Style.from_color(span.style.color))
        for span in highlighted.spans
        if isinstance(span.style, Style)
    ]
    lines = highlighted.split("\n")
    if width < NARROW:  # the methods of our stages without the indentation of their class
        first = code[: max(0, code.find("    def __init__"))].count("\n")
        last = code.partition("\n\n\ndef main")[0].count("\n") + 1
        lines[first:last] = [line[4:] if first else line for line in lines[first:last]]
    rows = [
        _row(line, [thread for thread in threads if thread.line == number], width)
        for number, line in enumerate(lines, 1)
    ]
    if width < NARROW or _extent(rows) > height:
        rows = [row for row in rows if not row.is_comment]
    marked = [at for at, row in enumerate(rows) if row.has_thread]
    if marked and marked[-1] - marked[0] >= height and not whole:
        shown = _around(rows, marked, height, Text("  ⋮", style=colours.faint))
        return shown, len(shown) / 2
    # Beside the threads, what they do before and after, if there is room for it.
    sight = [at for at, row in enumerate(rows) if row.has_thread or row.is_call]
    if marked and _extent(rows) > height:
        sight = marked
    return [row.text for row in rows], (sight[0] + sight[-1] + 1) / 2 if sight else 0


def _around(rows, marked, height, gap):
    """Return the rows with a thread and as many of their neighbours as fit, with gaps between."""
    shown = []
    for distance in range(height):
        near = [n for n in range(len(rows)) if min(abs(n - at) for at in marked) <= distance]
        wider = []
        for before, at in zip([-1, *near], near, strict=False):
            wider += [gap] * (at > before + 1) + [rows[at].text]
        wider += [gap] * (near[-1] < len(rows) - 1)
        if shown and len(wider) > height:
            break
        shown = wider
    return shown


def _extent(rows):
    """Return the number of lines from the first to the last that a thread is in, or may wait in."""
    sight = [at for at, row in enumerate(rows) if row.has_thread or row.is_call]
    return sight[-1] - sight[0] + 1 if sight else 0


def _row(line, here, width):
    """Return a line of the source with the threads that are in it."""
    code = line.plain.strip()
    is_call, is_comment = bool(CALLS.search(code)), code.startswith("#")
    room = width - 2
    if not here:
        if len(line) > room and not is_comment:  # .start() and other ends matter
            line = Text.assemble(line[: room - ENDING - 1], "…", line[-ENDING:])
        return _Row(Text.assemble("  ", line), False, is_call, is_comment)
    label = _label(here, room - len(line))
    # The indentation is the first to go, and the call in which the thread waits the last.
    line = line[max(0, min(len(line) + len(label) - room, len(line.plain) - len(code))) :]
    keep = max(12, room - len(label))
    call = CALLS.search(line.plain)
    if call and call.end() >= keep:
        line = Text.assemble("…", line[call.end() + 2 - keep : call.end() + 1])
    line.truncate(keep, overflow="ellipsis")
    line.append(label)
    line.pad_right(max(0, room - len(line)))
    line.stylize(HERE)
    return _Row(Text.assemble(("▶ ", HERE), line), True, is_call, is_comment)


def _label(threads, room):
    """Return the names of threads and clients for the end of a line with so much room."""
    if 0 < len(threads) < 3 and all(t.request for t in threads):  # more than the end of the line
        name = f"{threads[0].name} for " if len(threads) == 1 else ""
        requests = [printable(t.request).removesuffix(" HTTP/1.1") for t in threads]
        if len(threads) == 2 and len(set(requests)) == 1:
            both = " and ".join(thread.client for thread in threads)
            return f"  ◀ {both} see {requests[0]:.30}"
        each = [f"{t.client} sees {r:.30}" for t, r in zip(threads, requests, strict=True)]
        return f"  ◀ {name}{', '.join(each)}"
    each = [f"{t.name} for {t.client}" if t.client else t.name for t in threads]
    is_short = sum(map(len, each)) + 2 * len(each) + 2 <= room
    if not is_short and len(threads) > 1 and all(thread.client for thread in threads):
        numbers = ", ".join(thread.name.removeprefix("Thread-") for thread in threads)
        each = [f"Thread-{numbers} for {', '.join(thread.client for thread in threads)}"]
    label = f"  ◀ {', '.join(each)}"
    return label if len(label) <= 40 or len(threads) < 4 else f"  ◀ {len(threads)} threads"
