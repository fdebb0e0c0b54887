"""Where each thread of a server stands: at which line of its source, and for which client."""

import contextlib
import functools
import json
import re
import socket
import tempfile
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

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._path = str(Path(self._folder.name) / "watch")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._path)
        self._listener.listen()

    def words(self, words):
        """Return the command that runs the Python server `words` (python, file, …) watched."""
        python, server, *options = words
        self._source = Path(server).read_text(encoding="utf-8").splitlines()
        return [python, WATCHED, self._path, server, *options]

    @functools.cached_property
    def _process(self):
        """The connection to the server's process, which asks for it before it runs the server."""
        self._listener.settimeout(SECONDS)
        connection, _ = self._listener.accept()
        with connection:  # which stays open for as long as the file
            connection.settimeout(SECONDS)
            return connection.makefile("rwb", buffering=0)

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
            served = re.findall(rf"^{re.escape(name)}: \S+:(\d+) connected$", log, re.MULTILINE)
            client = int(served[-1]) if served else None
        return Standing(name.partition(" ")[0], line, call, client)

    def close(self):
        self._listener.close()
        if "_process" in vars(self):
            self._process.close()
        self._folder.cleanup()
