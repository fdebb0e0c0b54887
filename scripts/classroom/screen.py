"""How a session looks: its terminals side by side, as text, in colour or as a picture."""

import io

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

TYPED, SHOWN, NOTE = "bold", "green", "yellow"
# What a step that types or shows nothing looks like in its terminal's column.
NOTES = {"waits": "… waits", "leaves": "^C", "is closed": "closed by the server"}
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


def window(terminal, state):
    """Return what stands in the window of a classroom.terminal.Terminal, as rich text."""
    text = Text(f"$ nc 127.0.0.1 {terminal.port}\n", style="dim")
    for kind, part in terminal.screen:
        text.append(part, style=TYPED if kind == "typed" else SHOWN)
    if state in NOTES:
        text.append(NOTES[state], style=NOTE)
    return text


def letters_of(steps):
    """Return the names of a session's terminals, in order."""
    return sorted({step.terminal for step in steps} - {""})


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
        if step.action == "remark":
            return Text(f"# {step.text}", style="italic cyan")
        text = Text()
        if step.terminal not in self.connected:  # by this line, or implied by it
            text.append(f"$ nc 127.0.0.1 {self.port}\n", style="dim")
            self.connected.add(step.terminal)
        if step.action in NOTES:
            text.append(NOTES[step.action], style=NOTE)
        else:
            text.append(step.text, style=TYPED if step.action == "types" else SHOWN)
        text.rstrip()
        if step.action in {"leaves", "is closed"}:
            self.connected.remove(step.terminal)
        return self._row({"server": Text(log, style="dim"), step.terminal: text})

    def _row(self, cells):
        grid = Table.grid(expand=True, padding=(0, 2))
        for name in self.columns:
            grid.add_column(ratio=3 if name == "server" else 2, overflow="fold")
        grid.add_row(*(cells.get(name, "") for name in self.columns))
        return grid


def picture(charts, width=56):
    """Return an SVG of charts side by side. `charts`: (title, [row, …]) each."""
    console = Console(record=True, width=width * len(charts), file=io.StringIO(), highlight=False)
    grid = Table.grid(expand=True, padding=(0, 2))
    for _ in charts:
        grid.add_column(ratio=1)
    grid.add_row(*(Group(Text(title, style="bold"), Text(), *rows) for title, rows in charts))
    console.print(grid)
    return console.export_svg(title="", code_format=FRAME, unique_id="chart")
