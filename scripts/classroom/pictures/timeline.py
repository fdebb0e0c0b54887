"""The timeline of a session: what happens to each client and in each thread at the same time.

Time runs downwards. Each line of the session takes one row, so that the same servers give the same
picture.
"""

import itertools
import re

from classroom.drawing import IDLE, SERVED, WAITING, client_state, letters_of
from classroom.output import printable
from classroom.pictures.replay import STYLES, sentence
from classroom.pictures.svg import CHARACTER, WIDTH, box, picture, text

ROW, TOP, LINES = 38, 66, 250  # pixels: a row, where the first begins, and the width of the lines


def client_lane(record, letter):
    """Return what a client's lane shows, in a few words, and a colour or ""."""
    state, style = client_state(record, letter)
    if style == SERVED:  # it may be silent, so nobody serves it at this moment
        return "accepted", style
    return state.replace(" bytes unread", " unread"), style


def thread_lane(thread):
    """Return where a thread is, in a few words, and a colour."""
    if thread is None:
        return "", ""
    where = f"{thread.call}()" if thread.call else f"line {thread.line}"
    return (f"{where}\nfor {thread.client}", SERVED) if thread.client else (where, IDLE)


def accepted(record, log):
    """Return the letter of the client that the main thread accepted since the log was `log`."""
    letters = {client.own_port: letter for letter, client in record.clients.items()}
    # From v0.3 on, other threads serve the clients, and have lanes of their own.
    found = re.search(r"^MainThread: .*:(\d+) accepted$", record.log[len(log) :], re.MULTILINE)
    return letters[int(found[1])] if found else ""


def lanes_of(records):
    """Return the lanes by their names: for each record a text and a colour."""
    letters = letters_of(record.step for record in records)
    names = dict.fromkeys(thread.name for record in records for thread in record.threads)
    lanes = {f"client {letter}": [client_lane(r, letter) for r in records] for letter in letters}
    for name in names:
        lanes[name] = [
            thread_lane(next((t for t in record.threads if t.name == name), None))
            for record in records
        ]
    log = ""
    for number, record in enumerate(records):
        if letter := accepted(record, log):  # also if the thread is back where it was
            state, style = lanes["MainThread"][number]
            first = state.partition("\n")[0]
            lanes["MainThread"][number] = f"accepted {letter},\n{first}", style
        log = record.log
    return lanes


def timeline(title, records):
    """Return the picture as an SVG."""
    records = [record for record in records if record.step.action != "remark"]
    lanes = lanes_of(records)
    width = (WIDTH - 20 - LINES) // len(lanes)
    parts = [text(20, 28, title, "title")]
    for row, record in enumerate(records):
        line = printable(record.step.line).removeprefix("server: ")
        most = int((LINES - 30) / CHARACTER)
        line = line if len(line) <= most else f"{line[: most - 1]}…"
        y = TOP + ROW * row
        parts.append(f'<line x1="20" y1="{y}" x2="{WIDTH - 20}" y2="{y}" class="rule"/>')
        parts.append(text(20, y + 24, line))
    for column, (name, states) in enumerate(lanes.items()):
        x, row = LINES + width * column, 0
        parts.append(text(x, TOP - 10, name, "faint"))
        for (words, style), run in itertools.groupby(states):
            rows = len(list(run))
            y = TOP + ROW * row
            if style:
                parts.append(box(x, y, width - 8, ROW * rows - 2, STYLES[style]))
            on = "on" if style else "faint"
            for number, part in enumerate(words.split("\n")):
                parts.append(text(x + 6, y + 16 + 16 * number, part, on))
            row += rows
    waits = [
        f"{name} waits from the line {records[states.index(state)].step.line}."
        for name, states in lanes.items()
        for state in dict.fromkeys(states)
        if state[1] == WAITING
    ]
    described = " ".join([*(sentence(record.step) for record in records), *waits])
    return picture((WIDTH, TOP + ROW * len(records) + 10), title, described, parts)
