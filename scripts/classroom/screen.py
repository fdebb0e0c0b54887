"""How a session looks: its terminals side by side, as text, in colour or as a picture."""

import io

from rich.console import Group
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from classroom import kernel
from classroom.output import Page, printable
from classroom.session import KINDS
from classroom.threads import CALLS

TYPED, SHOWN, NOTE = "bold", "green", "yellow"
HERE = "bold yellow"
SERVED, WAITING, IDLE = "#000000 on green", "#000000 on yellow", "#000000 on cyan"
# Steps that happen in no terminal.
ASIDES = {"remark": "italic cyan", "stands": "magenta"}
# The frame of a picture; rich's own one fetches its font from the network.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-matrix {{ font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def window(terminal, action, line=None):
    """Return what stands in the window of a classroom.terminal.Terminal, as rich text.

    `action` is what the session did last in it; `line` what is being typed and not sent yet.
    """
    text = Text(overflow="fold")
    if terminal:
        text.append(f"$ nc 127.0.0.1 {terminal.port}\n", style="dim")
        for kind, part in terminal.screen:
            text.append(printable(part), style=TYPED if kind == "typed" else SHOWN)
        if action == "waits" and terminal.screen and terminal.screen[-1][0] == "shown":
            action = ""  # no more
    note = KINDS[action].note if action else ""
    if terminal and terminal.ended and not terminal.left:
        note = "nc has ended"
    if note:
        text.append(f"{note}\n", style=NOTE)
    if line is not None:
        text.append(f"{line}▏" if terminal and not terminal.ended else "Enter connects")
    if text.plain.endswith("\n"):
        text.right_crop(1)
    return text


def source(code, standings, width, height):
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
        here = [standing for standing in standings if standing.line == number]
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


def _label(standings, room):
    """Return what stands behind a line at which threads stand, in `room` columns if it can be."""
    each = [f"{s.thread} for {s.client}" if s.client else s.thread for s in standings]
    is_short = sum(map(len, each)) + 2 * len(each) + 2 <= room
    if not is_short and len(standings) > 1 and all(s.client for s in standings):
        numbers = ", ".join(s.thread.removeprefix("Thread-") for s in standings)
        each = [f"Thread-{numbers} for {', '.join(s.client for s in standings)}"]
    return f"  ◀ {', '.join(each)}"


def letters_of(steps):
    """Return the names of a session's terminals, in order."""
    return sorted({step.terminal for step in steps} - {""})


def client_state(moment, letter):
    """Return what a terminal's connection is at, and a colour: served, waiting, or neither."""
    connection = moment.connections.get(letter)
    if connection is None:
        return ("closed" if letter in moment.connections else ""), ""
    unread = f"{connection.unread} bytes unread" if connection.unread else ""
    served = any(standing.client == letter for standing in moment.standings)
    if connection.state == kernel.CLOSE_WAIT:
        state = "closed by the server", ""
    elif connection.accepted is None and moment.standings:  # the threads tell what they can
        state = ("is served", SERVED) if served else (f"nobody reads {letter}", WAITING)
    elif connection.accepted is None:
        state = "connected", ""
    elif not connection.accepted:
        state = f"not accepted\n{unread}".strip(), WAITING
    elif unread:
        state = unread, WAITING
    elif served or not moment.standings:
        state = "is served", SERVED
    else:
        state = f"no recv() for {letter}", IDLE
    return state


def thread_state(standing):
    """Return what a thread is at, and a colour."""
    if standing is None:
        return "", ""
    where = f"{standing.call}()" if standing.call else f"line {standing.line}"
    return (f"{where} for {standing.client}", SERVED) if standing.client else (where, IDLE)


def timeline(moments):
    """Return a chart of a session: time runs downwards, with a lane for each client and thread.

    `moments`: (step, seconds since the session began, the Moment when the server was at rest).
    """
    letters = letters_of(step for step, _, _ in moments)
    threads = {standing.thread: None for *_, moment in moments for standing in moment.standings}
    lanes = [*(f"client {letter}" for letter in letters), *threads]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()  # if the picture is too narrow, this one is cut
    for _ in lanes:
        grid.add_column(no_wrap=True)
    grid.add_row("", *(Text(name, style="bold underline") for name in ("session", *lanes)))
    before = [("", "")] * len(lanes)
    for step, seconds, moment in moments:
        standings = {standing.thread: standing for standing in moment.standings}
        states = [client_state(moment, letter) for letter in letters]
        states += [thread_state(standings.get(thread)) for thread in threads]
        texts = [
            "" if state == old else state[0] for state, old in zip(states, before, strict=True)
        ]
        height = max(text.count("\n") for text in texts)
        cells = [  # all of one height, or a lane has gaps
            Padding(text + "\n" * (height - text.count("\n")), (0, 1), style=style)
            for text, (_, style) in zip(texts, states, strict=True)
        ]
        before = states
        line = Text(printable(step.line), no_wrap=True, overflow="ellipsis")
        grid.add_row(Text(f"{seconds * 1000:6.0f} ms", style="dim"), line, *cells)
    return grid


class Chart:
    """A session as columns of text, a column a terminal; time runs downwards, a row a step."""

    def __init__(self, steps, server=True):
        """Take the steps that will come. `server` gives the server's log a column, too."""
        self.columns = [*(["server"] if server else []), *letters_of(steps)]
        self.connected = set()
        self.port = 9000  # that of a server which is started by hand

    def head(self):
        """Return the row with the columns' names."""
        return self._row({name: Text(name, style="bold underline") for name in self.columns})

    def row(self, step, log=""):
        """Return the row for a step that was done, and for what the server has logged with it."""
        if step.action in ASIDES:
            return Text(printable(step.line), style=ASIDES[step.action])
        text = Text()
        if step.terminal not in self.connected:  # by this line, or implied by it
            text.append(f"$ nc 127.0.0.1 {self.port}\n", style="dim")
            self.connected.add(step.terminal)
        if note := KINDS[step.action].note:
            text.append(note, style=NOTE)
        else:
            text.append(printable(step.text), style=TYPED if step.action == "types" else SHOWN)
        text.rstrip()
        if step.action in {"leaves", "is closed"}:
            self.connected.remove(step.terminal)
        return self._row({"server": Text(printable(log), style="dim"), step.terminal: text})

    def _row(self, cells):
        grid = Table.grid(expand=True, padding=(0, 2))
        for name in self.columns:
            grid.add_column(ratio=3 if name == "server" else 2, overflow="fold")
        grid.add_row(*(cells.get(name, "") for name in self.columns))
        return grid


def picture(drawing, width):
    """Return what rich can draw as an SVG of so many columns."""
    console = Page(record=True, width=width, file=io.StringIO())
    console.print(drawing)
    return console.export_svg(title="", code_format=FRAME, unique_id="chart")


def side_by_side(charts):
    """Return charts in columns. `charts`: (title, [row, …]) each."""
    grid = Table.grid(expand=True, padding=(0, 2))
    for _ in charts:
        grid.add_column(ratio=1)
    grid.add_row(*(Group(Text(title, style="bold"), Text(), *rows) for title, rows in charts))
    return grid
