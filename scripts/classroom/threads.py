"""Where each thread of a server stands: at which line of its source, and for which client."""

import contextlib
import functools
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path

WATCHED = str(Path(__file__).with_name("watched.py"))
SECONDS = 5  # at most, until the watched process answers
CALLS = re.compile(r"\.(accept|recv|sendall)\(")


@dataclass(frozen=True)
class Standing:
    """A thread, and where it stands."""

    thread: str  # "MainThread" or "Thread-1", as in the server's log
    line: int  # of the server's source
    call: str  # the socket's method that stands in this line: "accept", "recv", "sendall" or ""
    client: object  # that it serves there: the port, or the terminal's letter once that is known

    def __str__(self):
        client = f" for {self.client}" if self.client else ""
        return f"{self.thread} in {self.call or f'line {self.line}'}{client}"


class Watch:
    """The view into one server process; see classroom.watched, which runs the server for it."""

    def __init__(self, words):
        """`words` are the command of a Python server: python, file, …"""
        self._python, self._server, *self._options = words
        self._source = Path(self._server).read_text(encoding="utf-8").splitlines()
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(SECONDS)
        self._process = self._ours.makefile("rwb", buffering=0)
        self.descriptor = self._theirs.fileno()  # which the process must get

    def words(self):
        """Return the command that runs the server watched."""
        return [self._python, WATCHED, str(self.descriptor), self._server, *self._options]

    def started(self):
        """Note that the process has its end of the connection now, and that it alone has it."""
        self._theirs.close()

    @functools.cached_property
    def thread_id(self):
        """The number by which the kernel knows the thread in there that answers us."""
        return int(self._process.readline())

    def look(self, log):
        """Return a Standing for each thread that is in the server's source, oldest first.

        `log` is the server's; it says whom a thread serves. Empty when the server has ended.
        """
        places = []
        with contextlib.suppress(OSError, ValueError):
            if self.thread_id:  # what it tells first
                self._process.write(b"?")
                places = json.loads(self._process.readline())
        return [self._standing(name, line, log) for name, line in places if line]

    def _standing(self, name, line, log):
        match = CALLS.search(self._source[line - 1])
        call = match[1] if match else ""
        client = None
        if call in {"recv", "sendall"}:
            served = re.findall(rf"^{re.escape(name)}: \S+:(\d+) accepted$", log, re.MULTILINE)
            client = int(served[-1]) if served else None
        return Standing(name.partition(" ")[0], line, call, client)

    def close(self):
        self._process.close()
        self._ours.close()
        self._theirs.close()
