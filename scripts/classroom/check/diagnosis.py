"""What went wrong with a server, in plain words."""

import dataclasses
import itertools
import shlex

from classroom.check import candidate
from classroom.check.candidate import NoServer
from classroom.check.cause import SLIPS, cause, exception_in, typed_in
from classroom.play import Breakdown, Mismatch

MOST_LINES, MOST_CHARACTERS = 12, 400  # of what a terminal shows


def diagnosis_of(error, server, has_threads):
    """Return what is known of a failure: its cause, its problem, its aftermath, log and clients.

    `error` is what a behaviour has raised, and `server` the Candidate, which may have ended; None
    if there was none. `has_threads` says whether the stage has a thread for each client.
    """
    has_ended = isinstance(error, ConnectionError) and server.has_ended()
    record = getattr(error, "record", None)
    # What came later may be an effect of the check itself, which has closed its terminals.
    log = record.log if record else server.log() if server else ""
    first = ""
    if isinstance(error, NoServer):
        exception = exception_in(log)
        first = f"Your server ended with {exception}" if exception else ""
        if "sys.argv" in log and "IndexError" in exception:
            first += " Does it want its port as an argument? Check it with: -- python3 FILE {port}"
        is_python = bool(server) and any(word.endswith(".py") for word in server.words)
        if not first and is_python and server.child.exitstatus == 0:
            first = "Your program came to its last line. Is main() called there, with ()?"
    elif has_ended:
        first = ended(server, log)
    elif server and not isinstance(error, Breakdown):
        facts = getattr(error, "facts", None) or server.facts()
        first = cause(error, facts, server.port if facts.listens else None, has_threads)
    return {
        "cause": first,
        "problem": problem_of(error, server, log),
        "aftermath": getattr(error, "aftermath", ""),
        "log": log,
        "clients": {name: clipped(c) for name, c in record.clients.items()} if record else {},
        "ended": isinstance(error, Breakdown),
        "is_slip": exception_in(log).startswith(SLIPS),
    }


def clipped(client):
    """Return a Client whose terminal shows only the beginning of a long text."""
    content = []
    for kind, parts in itertools.groupby(client.content, key=lambda each: each[0]):
        text = "".join(part for _, part in parts)
        beginning = "".join(text.splitlines(keepends=True)[:MOST_LINES])[:MOST_CHARACTERS]
        if beginning != text and kind == "shown":
            beginning = f"{beginning.rstrip()} … ({len(text):,} characters)\n"
        content.append((kind, beginning))
    return dataclasses.replace(client, content=tuple(content[:MOST_LINES]))


def by_hand(words, clients, before=()):
    """Return what to type to see a failure without the check: a line for each terminal.

    `before` are the lines for what no nc can do, and what comes before the terminals.
    """
    command = candidate.command(words, 9000)
    if command[0] == candidate.real_python():
        command[0] = "python3"
    variable = "" if "9000" in " ".join(command) else "PORT=9000 "
    lines = [f"server: {variable}{shlex.join(command)}", *before]
    for letter, client in clients.items():
        typed = [repr(line) for line in typed_in(client)]
        then = f", then type {', '.join(typed)}" if typed else ""
        lines.append(f"{letter}: nc 127.0.0.1 9000{then}")
    return lines if clients else []


def problem_of(error, server, log):
    """Return what went wrong, in a sentence or two."""
    if isinstance(error, Mismatch) and error.line:
        what = error.what.replace("\n", " ")
        if error.line[1:2] == "<":
            answer = repr(error.line[3:]) if error.line[3:] else "with an empty line"
            last = server.last_event if server else ""
            after = f"After {last}, " if last.endswith(" had left") else ""
            return f"{after}{error.line[0]} should have been answered {answer}, but {what}."
        return f"{error.line!r} does not hold: {what}."
    if isinstance(error, Breakdown) and "but the server " in str(error):
        return ended(server, log)
    if isinstance(error, Mismatch | AssertionError | Breakdown):
        text = str(error).partition("\nassert ")[0].strip()
        return f"{text[:1].upper()}{text[1:]}."
    if isinstance(error, ConnectionError | TimeoutError):
        return f"A client could not connect or was thrown out: {error}."
    raise error


def ended(server, log):
    """Return how a server has ended, after what, and why, as far as its log says."""
    how = server.how_it_ended()
    after = f", after {server.last_event}" if server.last_event else ""
    exception = exception_in(log)
    why = f" It raised {exception}" if exception else ""
    loop = " Is accept() in a loop, and what ends it?" if "last line" in how else ""
    return f"Your server {how}{after}.{why}{loop}"
