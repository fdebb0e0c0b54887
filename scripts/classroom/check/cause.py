"""Names the mistake in a server by what was observed when a behaviour did not hold.

This is the first sentence of a report. The kernel, the bytes and the server's own output tell it.
What to do next is in the behaviour's hint.
"""

import re
import select
import socket

from classroom import kernel
from classroom.play import Mismatch

PROBES = (  # what we send to learn what a server waits for, and its name in a sentence
    (b"\r", "\\r comes"),
    (b"x" * 1024, "1,024 more bytes come"),
    (b"x" * 50_000, "thousands of bytes come. Is its output flushed?"),
)
MOMENT = 0.3  # seconds in which a server answers that has got what it waits for
ADVICE = {  # what to say after an exception, by a part of it
    "Bad file descriptor": "It uses a socket that was closed already.",
    "bytes-like object": "Sockets send bytes: encode() makes bytes of a string.",
    "positional argument": "Look at the method's parameters, self first, and at args.",
    "group argument": "Thread() needs the names target= and args= before its arguments.",
    "must be an iterable": "args must be a tuple: (client,) has a comma, (client) has none.",
    "Invalid argument": "Is listen() called before accept()?",
    "can't decode": "Not all bytes are text.",
    "can't start new thread": "There is a limit of 200 processes and threads.",
    "MemoryError": "There is a limit of 2 GB.",
}
# Exceptions of a server that come from its code, whatever a client does.
SLIPS = "AssertionError", "AttributeError", "NameError", "OSError: [Errno 9]", "TypeError"


def exception_in(log):
    """Return the last exception in a log of Python, with an advice if there is one, or ""."""
    _, traceback, rest = log.rpartition("Traceback (most recent call last):\n")
    lines = [line for line in rest.split("\n") if line and not line.startswith(" ")]
    if not traceback or not lines:
        return ""
    exception = lines[0].removesuffix(".")
    advice = next((f" {advice}" for part, advice in ADVICE.items() if part in exception), "")
    return f"{exception}.{advice}"


def cause(error, facts, port, has_threads):
    """Return a sentence or two that name the mistake; "" if nothing more than `error` is known.

    `error` is what a behaviour has raised, and `facts` are those of the Candidate at that moment.
    If the server waits for more, find out what for at the `port`, if it is not None. `has_threads`
    says whether the stage has a thread for each client.
    """
    if facts.threads and not facts.listens:
        exception = exception_in(facts.log)
        raised = f"It raised {exception}" if exception else "What closes its listening socket?"
        return f"Your server does not listen any more. {raised}"
    if not isinstance(error, Mismatch) or not facts.threads:
        return ""
    if error.record and error.line[1:2] == "<":
        causes = _Terminals(error, facts, port, has_threads).causes()
    else:
        causes = causes_in_bytes(error, facts) if error.sent else []
    return next(iter(causes), "")


class _Terminals:
    """What a terminal and the others showed when it should have shown a line."""

    def __init__(self, error, facts, port, has_threads):
        self.facts, self.port, self.has_threads = facts, port, has_threads
        self.aftermath, self.unseen = error.aftermath, error.unseen
        # What comes at the end, after all that was expected, comes too often.
        self.letter, self.expected = error.extra or error.line[0], error.line[3:]
        self.client = error.record.clients[self.letter]
        self.others = {n: c for n, c in error.record.clients.items() if n != self.letter}
        self.is_echo = bool(self.expected) and typed_in(self.client)[-1:] == [self.expected]

    def causes(self):
        """Yield what may be wrong, the most certain first."""
        return self.other_answer() if self.unseen else self.no_answer()

    def other_answer(self):
        """Yield what may be wrong with an answer that came."""
        line = self.unseen.partition("\n")[0].rstrip("\r")
        if line == self.expected and line in typed_in(self.client):
            yield f"{self.letter} was answered twice."
        for name, other in self.others.items():
            if line and line in typed_in(other):
                yield f"{self.letter} got what {name} had typed. Which variables do threads share?"

    def no_answer(self):
        """Yield why there is no answer."""
        letter, facts, client = self.letter, self.facts, self.client
        answers = len(shown_in(client))  # in lines
        if exception := exception_in(facts.log):
            yield f"A thread of your server ended with {exception}"
        for name, other in self.others.items():
            # Of other responses than an echo, two clients may get the same.
            if self.is_echo and shown_in(other)[-1:] == [self.expected] != typed_in(other)[-1:]:
                yield f"The response to {letter} went to {name}. Which variables do threads share?"
        if client.connection != "open":
            when = "after" if answers else "before"
            when += f" it had answered{' once' if answers == 1 else ''}"
            yield f"Your server closed {letter}'s connection {when}. Where does it call close()?"
        if client.accepted is None:
            return
        if facts.reads_keyboard:
            accepts = client.accepted
            more = (
                f"and not for {letter}" if accepts else f"and has not called accept() for {letter}"
            )
            yield f"Your server waits for its keyboard, {more}. Where does it call input()?"
        served = [n for n, c in self.others.items() if c.connection == "open" and shown_in(c)]
        if len(served) > 1:
            *most, last = served
            yield f"Your server serves {', '.join(most)} and {last}, and {letter} must wait."
        yield self.where_the_line_is(answers)

    def where_the_line_is(self, answers):
        """Return what happened to the line, as far as the kernel and the server tell."""
        letter, client = self.letter, self.client
        if not client.accepted:
            return self.no_accept()
        if client.unread and answers:
            once = " once" if answers == 1 else ""
            return f"Your server has answered {letter}{once}, and reads nothing more."
        if client.unread:
            who = "none of its threads" if self.facts.threads > 1 else "nobody"
            more = "."
            if self.facts.threads == 1 and self.has_threads:
                more = ": it has started no thread."
            elif self.facts.threads == 1:
                more = ". Where does it call recv()?"
            return f"Your server has accepted {letter}, but {who} reads from {letter}{more}"
        read = f"Your server has read {letter}'s line"
        if any(is_printed(line, self.facts.log) for line in typed_in(client)[-1:] if line):
            return f"{read} and printed it, but sent nothing."
        if waits := self.is_echo and self.port and what_it_waits_for(self.port):
            return f"{read}, and answers only when {waits}"
        return f"{read}, and sends nothing."

    def no_accept(self):
        """Return why nobody has called accept()."""
        nobody = f"Nobody has called accept() for {self.letter}"
        there = [name for name, other in self.others.items() if other.connection == "open"]
        if not there and self.facts.is_busy and self.others:
            *_, last = self.others
            return (
                f"{nobody}: your server is busy, although {last} has left. Does its loop end when "
                'recv() returns b""?'
            )
        if not there:
            return f"{nobody}. Is accept() in a loop?"
        if not self.aftermath:
            return f"{nobody}: your server called it for {there[0]}, and never again."
        if self.facts.threads == 1:
            return f"{nobody}: the only thread of your server is busy with {there[0]}."
        return f"{nobody}: a thread serves {there[0]}, and the main thread waits for it."


def typed_in(client):
    """Return the lines that were typed in a terminal."""
    typed = "".join(text for kind, text in client.content if kind == "typed")
    return typed.splitlines()


def shown_in(client):
    """Return the lines that a terminal has shown."""
    return "".join(text for kind, text in client.content if kind == "shown").splitlines()


def is_printed(line, log):
    """Say whether a line of the log is this one, or ends with it, perhaps as Python shows it."""
    return re.search(rf"""(?m)(^|\W){re.escape(line)}(\\[rn])*['"]?$""", log)


def what_it_waits_for(port):
    """Return what more a server must get before it answers a line, or ""."""
    try:
        with socket.create_connection(("127.0.0.1", port), MOMENT) as client:
            client.sendall(b"hello\n")
            for data, name in PROBES:
                client.sendall(data)
                if select.select([client], [], [], MOMENT)[0] and client.recv(1):
                    return name if name.endswith("?") else f"{name}."
    except OSError:  # it serves nobody else
        pass
    return ""


def causes_in_bytes(error, facts):
    """Yield what may be wrong with a server that has sent these bytes back, or none."""
    sent, received, connection = error.sent, error.received, error.connection
    line = sent.rstrip(b"\r\n")
    exception = exception_in(facts.log)
    if not received and exception:
        yield f"A thread of your server ended with {exception}"
    if not received and connection and connection.accepted is not None:
        if not connection.accepted:
            yield "Nobody has called accept() for this client. Whom does your server wait for?"
        if connection.unread:
            yield "Your server has accepted the client, and has not read all that it sent."
        if connection.state == kernel.ESTABLISHED:
            yield "Your server has read all that the client sent, and sends nothing."
    if line and received == line != sent:
        yield "The line came back without its line end."
    if line and received == line + b"\r\n" != sent:
        yield "The line came back with \\r\\n at its end instead of \\n."
    if received == sent + sent:
        yield "Your server answered twice."
    if received.endswith(b"\n") and sent.startswith(received) and sent != received:
        yield "Your server has sent everything up to the last line end, and waits for another one."
