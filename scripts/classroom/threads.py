"""At which line of its source each thread of a server is, and which client it serves there."""

import contextlib
import functools
import json
import re
import socket
from pathlib import Path

from classroom.record import Thread

WATCHED = str(Path(__file__).with_name("watched.py"))
SECONDS = 5  # at most, until the watched process answers
CALLS = re.compile(r"\.(accept|recv|readline|sendall)\(")


class Watch:
    """Asks one server process about its threads; classroom.watched runs the server and answers."""

    def __init__(self, words):
        """`words` are the command of a Python server: python, file, …"""
        self._python, self._server, *self._options = words
        self._source = Path(self._server).read_text(encoding="utf-8").splitlines()
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(SECONDS)
        self.todo_list = {}  # the server's, at the last look
        self._answers = self._ours.makefile("rb")
        self.descriptor = self._theirs.fileno()  # which the process must inherit

    def words(self):
        """Return the command that runs the server watched."""
        return [self._python, WATCHED, str(self.descriptor), self._server, *self._options]

    def started(self):
        """Close our copy of the process's end of the connection, once the process has its own."""
        self._theirs.close()

    @functools.cached_property
    def thread_id(self):
        """The kernel's number of the thread that answers us."""
        return int(self._answers.readline())

    def look(self, log, letters):
        """Return a Thread for each thread that is in the server's source, oldest first.

        `log` is the server's; it says which port a thread serves. `letters` says which terminal
        has that port. Empty when the server has ended.
        """
        places = []
        with contextlib.suppress(OSError, ValueError):
            if self.thread_id:  # the process sends it first
                self._ours.sendall(b"?")
                places, self.todo_list = json.loads(self._answers.readline())
        return [self._thread(*place, log, letters) for place in places]

    def _thread(self, name, line, request, log, letters):
        match = CALLS.search(self._source[line - 1])
        call = match[1] if match else ""
        client = ""
        if call in {"recv", "readline", "sendall"}:
            served = re.findall(rf"^{re.escape(name)}: \S+:(\d+) accepted$", log, re.MULTILINE)
            client = letters.get(int(served[-1]), "") if served else ""
        request = (request or "").strip() if client else ""
        return Thread(name.partition(" ")[0], line, call, client, request)

    def close(self):
        self._answers.close()
        self._ours.close()
        self._theirs.close()
