"""The timeline of a session: what happens to each client and in each thread at the same time."""

import re

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from classroom.drawing import IDLE, SERVED, client_state, letters_of
from classroom.output import printable


def thread_state(thread):
    """Return where a thread is, in a few words, and a colour."""
    if thread is None:
        return "", ""
    where = f"{thread.call}()" if thread.call else f"line {thread.line}"
    return (f"{where} for {thread.client}", SERVED) if thread.client else (where, IDLE)


def accepted(record, log):
    """Return the letter of the client that the main thread accepted since the log was `log`."""
    letters = {client.own_port: letter for letter, client in record.clients.items()}
    # From v0.3 on, other threads serve the clients, and have lanes of their own.
    found = re.search(r"^MainThread: .*:(\d+) accepted$", record.log[len(log) :], re.MULTILINE)
    return letters[int(found[1])] if found else ""


def timeline(records):
    """Return a chart of a session: time runs downwards, with a lane for each client and thread."""
    letters = letters_of(record.step for record in records)
    names = list({thread.name: None for record in records for thread in record.threads})
    lanes = [*(f"client {letter}" for letter in letters), *names]
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()  # if the picture is too narrow, this one is cut
    for _ in lanes:
        grid.add_column(no_wrap=True)
    grid.add_row("", *(Text(name, style="bold underline") for name in ("session", *lanes)))
    before, log = [("", "")] * len(lanes), ""
    for record in records:
        threads = {thread.name: thread for thread in record.threads}
        states = [client_state(record, letter) for letter in letters]
        states += [thread_state(threads.get(name)) for name in names]
        texts = [
            "" if state == old else state[0] for state, old in zip(states, before, strict=True)
        ]
        if letter := accepted(record, log):  # also if the thread is back where it was
            lane = lanes.index("MainThread")
            texts[lane] = f"accepted {letter}\n{states[lane][0]}"
        height = max(text.count("\n") for text in texts)
        cells = [  # all of one height, or a lane has gaps
            Padding(text + "\n" * (height - text.count("\n")), (0, 1), style=style)
            for text, (_, style) in zip(texts, states, strict=True)
        ]
        before, log = states, record.log
        line = Text(printable(record.step.line), no_wrap=True, overflow="ellipsis")
        grid.add_row(Text(f"{record.seconds * 1000:6.0f} ms", style="dim"), line, *cells)
    return grid
