"""What there is to see at one moment of a session: plain data, which JSON can hold."""

import dataclasses
import json
from dataclasses import dataclass

from classroom.session import Step


@dataclass(frozen=True)
class Thread:
    """A thread of the server, and the line of the server's source that it executes."""

    name: str  # "MainThread" or "Thread-1", as in the server's log
    line: int
    call: str  # the socket's method in this line: "accept", "recv", "readline", "sendall" or ""
    client: str  # the letter of the terminal that it serves there, or ""
    request: str = ""  # the first line of the HTTP request that it sees in the global `request`

    def __str__(self):
        client = f" for {self.client}" if self.client else ""
        return f"{self.name} in {self.call or f'line {self.line}'}{client}"


def serves(threads, letter):
    """Say whether one of these threads serves a client, as far as one can know.

    Of a server that somebody else wrote, nobody knows whom a thread serves.
    """
    return any(
        thread.client == letter or (thread.call not in {"", "accept"} and not thread.client)
        for thread in threads
    )


@dataclass(frozen=True)
class Client:
    """A terminal with an nc, and the kernel's view of its connection."""

    port: int  # the server's
    own_port: int | None  # by which the server's log names the client; None before it is connected
    content: tuple[tuple[str, str], ...]  # ("typed" or "shown", text), in order
    action: str  # what the session did last here, a key of classroom.session.KINDS
    has_ended: bool  # nc has
    connection: str  # "open", "closed by the server", "closed", or "" after Ctrl-C
    accepted: bool | None = None  # None where the kernel does not tell
    unread: int | None = None  # bytes that the server has not received yet
    waiting_since: float | None = None  # seconds since the session began

    def text(self):
        """Return all that the terminal shows."""
        return "".join(text for _, text in self.content)


@dataclass(frozen=True)
class Record:
    """All that there is to see once a step of a session holds, or between two steps."""

    step: Step | None  # None between two steps
    clients: dict[str, Client]  # by the letters of their terminals
    threads: list[Thread]  # oldest first; empty if nobody watches them
    todo_list: dict[str, str]  # the server's, if somebody watches it and it has one
    log: str  # the server's
    seconds: float = dataclasses.field(compare=False)  # since the session began

    def to_json(self):
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        """Return the record that `to_json` has written."""
        fields = json.loads(text)
        fields["step"] = fields["step"] and Step(**fields["step"])
        fields["threads"] = [Thread(**thread) for thread in fields["threads"]]
        for letter, client in fields["clients"].items():
            client["content"] = tuple(map(tuple, client["content"]))
            fields["clients"][letter] = Client(**client)
        return cls(**fields)
