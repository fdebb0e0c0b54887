"""Python's prompt as a server, whose program a session types line by line, and its terminal."""

import contextlib
import os
import socket
import sys
from types import MappingProxyType

from classroom import kernel, shared
from classroom.record import Thread
from classroom.session import PROMPT
from classroom.terminal import Breakdown, Server, Terminal, spawn, wait_until
from classroom.threads import CALLS

PORTS = range(9000, 9100)  # sessions have the first one; if it is in use, the next one is typed
READY = b">>> "


class Prompt(Server):
    """Python at its prompt. Its terminal is `terminal`.

    What is typed comes through a pipe, and what it shows goes to a file. A pty would pass both on a
    moment later. So once it is at rest, it has read all that was typed, and all that it has shown
    is there.
    """

    watched = True

    def __init__(self):
        self._held = contextlib.ExitStack()
        self.port = self._free_port()
        self._reader, self._writer = os.pipe()
        # Without site, nothing imports readline, which would write its own characters.
        super().__init__([sys.executable, "-i", "-q", "-u", "-S"])
        self.terminal = PromptTerminal(self)

    def _free_port(self):
        for port in PORTS:
            with contextlib.suppress(OSError), socket.socket() as probe:
                self._held.enter_context(shared.lock(f"port-{port}", wait=False))
                probe.bind(("127.0.0.1", port))
                return port
        raise Breakdown(f"the ports {PORTS[0]} to {PORTS[-1]} are in use; end what uses one")

    def _start(self):
        # The prompt of Python 3.13 and newer draws in colour, and a user's start-up file may print.
        env = {name: text for name, text in os.environ.items() if name != "PYTHONSTARTUP"}
        env["PYTHON_BASIC_REPL"] = "1"
        ends = [self._reader]
        return spawn(self.words, self._log, ends, lambda: os.dup2(self._reader, 0), env)

    def send(self, line):
        os.write(self._writer, line)

    def shown(self, offset):
        """Return what it has shown, from this byte on."""
        return self._written()[offset:]

    def log(self):
        return ""  # a session types no program that has one

    def threads(self, letters=MappingProxyType({})):
        """Return its one thread, in the call that was typed last, or in none at the prompt."""
        self.terminal.read()
        match = CALLS.search(self.terminal.lines[0]) if self.terminal.lines else None
        return [Thread("MainThread", 0, match[1] if match else "", "")]

    def close(self):
        super().close()
        os.close(self._reader)
        os.close(self._writer)
        self._held.close()


class PromptTerminal(Terminal):
    """The window in which Python is at its prompt."""

    def __init__(self, server):
        self._server = server
        self._offset = 0  # of the first byte that was not read yet
        self.lines = []  # that were typed; Python is not done with the first one yet
        super().__init__(PROMPT, server.port, [])

    def _start(self, nc):
        return self._server.child

    def connection(self):
        """Return an open one, about which nothing is known: it is no client."""
        return None if self.ended else kernel.Connection(0, kernel.ESTABLISHED)

    def is_ready(self):
        """Say whether Python waits for a line, and has shown nothing but its prompt."""
        self.read()
        return self.unseen == READY

    def has_more(self):
        return bool(self.unseen) and self.unseen != READY

    def is_done(self):
        self.read()
        return not self.has_more()

    def with_port(self, text):
        return text.replace(str(PORTS[0]), str(self.port))

    def type(self, text):
        self.read()
        self.unseen = self.unseen.removesuffix(READY)
        self.lines.append(text)
        self.content.append(("typed", f"{text}\n"))
        self._server.send(f"{text}\n".encode())

    def read(self, seconds=0):
        ended = not self._server.alive()
        shown = wait_until(lambda: self._server.shown(self._offset), seconds)
        if shown:
            self._offset += len(shown)
            self.unseen += shown
            del self.lines[: shown.count(READY)]  # after each line, and after Ctrl-C
            self._show(shown)
        self.ended = ended and not shown

    def press_ctrl_c(self):
        """Interrupt what Python does. It goes on."""
        self.child.sendintr()

    def close(self):
        """Do nothing: the server ends it."""
