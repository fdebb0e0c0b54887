"""How a record of a session looks, as rich text: its terminals, its clients, and its steps."""

import itertools
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from classroom.output import one_line, printable
from classroom.record import serves
from classroom.session import KINDS, PROMPT

TYPED = "bold"
SERVED, WAITING, IDLE = "#000000 on green", "#000000 on yellow", "#000000 on cyan"


class Colours(NamedTuple):
    """Those of a terminal's window and of a server's source."""

    shown: str  # what a client has received
    note: str  # what happens to a client
    faint: str
    theme: str  # of the source, a name of Pygments


ANY = Colours("green", "yellow", "dim", "ansi_dark")  # of a terminal whose background nobody knows
DARK = Colours("#7ee787", "#ffd33d", "#9e9e9e", "github-dark")
LIGHT = Colours("#0a5223", "#6b4100", "#4f4f4f", "xcode")
# Steps that happen in no terminal.
ASIDES = {"remark": "italic cyan", "thread": "magenta"}


def command(letter, port, colours=ANY):
    """Return what is typed first in a terminal, as rich text."""
    words = "python3" if letter == PROMPT else f"nc 127.0.0.1 {port}"
    return Text(f"$ {words}\n", style=colours.faint)


def is_open(client):
    """Say whether nc runs in a terminal; its `client` is None before the first one."""
    return client is not None and not client.has_ended


def window(letter, client, line=None, colours=ANY):
    """Return what a terminal shows, as rich text; `client` is its Client, None before its first nc.

    `line` is what is being typed and not sent yet.
    """
    text = Text(overflow="fold")
    if client:
        text.append(command(letter, client.port, colours))
        begins = letter != PROMPT  # a line, which gets a mark
        for kind, parts in itertools.groupby(client.content, key=lambda each: each[0]):
            # A terminal does not show the CR at the end of a line either.
            shown = "".join(part for _, part in parts).replace("\r\n", "\n")
            mark, style = ("> ", TYPED) if kind == "typed" else ("< ", colours.shown)
            for part in printable(shown).splitlines(keepends=True):
                text.append(mark if begins else "", style=colours.faint)
                text.append(part, style=style)
                begins = letter != PROMPT and part.endswith("\n")
        note = KINDS[client.action].note if client.action else ""
        if client.action == "waits" and client.content and client.content[-1][0] == "shown":
            note = ""  # the wait is over
        if client.has_ended and client.connection:
            note = "nc has ended"
        if note:
            text.append(f"{note}\n", style=colours.note)
    if line is not None:
        text.append(f"{line}▏" if is_open(client) else f"{line} Enter connects".lstrip())
    if text.plain.endswith("\n"):
        text.right_crop(1)
    return text


def letters_of(steps):
    """Return the names of a session's terminals, in order."""
    return sorted({step.terminal for step in steps} - {""}, key=lambda name: (name != PROMPT, name))


def _bytes(unread):
    return f"{unread} byte{'s' * (unread != 1)} unread"


def client_state(record, letter):
    """Return the state of a terminal's connection in a few words, and a colour or ""."""
    client = record.clients.get(letter)
    if letter == PROMPT and client and record.threads:
        call = record.threads[0].call
        return (f"blocked in {call}()", WAITING) if call else ("", "")
    if client is None or client.connection != "open":
        return (client.connection if client else ""), ""
    unread = _bytes(client.unread) if client.unread else ""
    served = serves(record.threads, letter)
    if client.accepted is None and record.threads:  # the threads tell what they can
        state = ("is served", SERVED) if served else (f"nobody reads {letter}", WAITING)
    elif client.accepted is None:
        state = "connected", ""
    elif not client.accepted:
        state = f"not accepted\n{unread}".strip(), WAITING
    elif unread:
        state = unread, WAITING
    elif served or not record.threads:
        state = "is served", SERVED
    else:
        state = f"no recv() for {letter}", IDLE
    return state


def kernel_view(record, letter, seconds, width):
    """Return what the kernel knows about a client, in up to three lines, and a colour or "".

    `seconds` is how long the session has been played by now.
    """
    client = record.clients.get(letter)
    state, style = client_state(record, letter)
    head = f"{letter} is served" if style == SERVED else f"{letter}: {state}" if state else ""
    if client is None or client.connection != "open":
        return head, style
    if client.waiting_since is not None:
        head = f"{letter} waits {max(0, seconds - client.waiting_since):.0f} s"
    if client.accepted is None:
        return head if style != WAITING else f"{head}\n{state}", style
    accepted = "accepted" if client.accepted else "not accepted"
    words = _bytes(client.unread)
    words = words if len(words) <= width else f"{client.unread} unread"
    bar = "█" * min(client.unread, max(0, width - len(words) - 1))
    return f"{head}\n{accepted}\n{bar} {words}".replace("\n ", "\n"), style


def tasks(record):
    """Return the tasks of the server, as rich text; empty if it has none."""
    each = [one_line(f"{task_id}: {value}") for task_id, value in record.todo_list.items()]
    return Text.assemble(("todo_list ", "bold"), " · ".join(each)) if each else Text()


class Chart:
    """A session as columns of text, a column for each terminal; each step is a row."""

    def __init__(self, letters, server=True):
        """Take the letters of the terminals. `server` gives the server's log a column, too."""
        self.columns = [*(["server"] if server else []), *letters]
        self.connected = set()
        self.logged = 0  # characters of the log that are in a row already

    def head(self):
        """Return the row with the columns' names."""
        return self._row({name: Text(name, style="bold underline") for name in self.columns})

    def row(self, record, port=None):
        """Return the row for a step; `port` is shown instead of the server's."""
        step = record.step
        if step.action in ASIDES:  # they have no column for the log
            return Text(printable(step.line), style=ASIDES[step.action])
        text = Text()
        if step.terminal not in self.connected:  # by this line, or implied by it
            port = port or record.clients[step.terminal].port
            text.append(command(step.terminal, port))
            self.connected.add(step.terminal)
        if note := KINDS[step.action].note:
            text.append(note, style=ANY.note)
        else:
            ready = ">>> " if step.terminal == PROMPT and step.action == "types" else ""
            text.append(ready, style=ANY.shown)
            text.append(printable(step.text), style=TYPED if step.action == "types" else ANY.shown)
        text.rstrip()
        if step.action in {"leaves", "is closed"}:
            self.connected.remove(step.terminal)
        log, self.logged = record.log[self.logged :].rstrip("\n"), len(record.log)
        return self._row({"server": Text(printable(log), style="dim"), step.terminal: text})

    def _row(self, cells):
        grid = Table.grid(expand=True, padding=(0, 2))
        for name in self.columns:
            grid.add_column(ratio=3 if name == "server" else 2, overflow="fold")
        grid.add_row(*(cells.get(name, "") for name in self.columns))
        return grid
