"""A client of a server that is no nc: a plain socket, for bytes that cannot be typed."""

import os
import re
import select
import socket
import struct
import time

from classroom import kernel
from classroom.check.response import first_response
from classroom.play import Mismatch, shortened
from classroom.terminal import Breakdown


class Client:
    """A plain socket to a server, for bytes that cannot be typed.

    It never waits without an end: some servers do not accept, do not read, or send for ever.
    """

    SECONDS = 10  # for each thing that it waits for
    MOST = 1_000_000  # bytes that it reads while it expects less

    def __init__(self, server):
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port), self.SECONDS)
        self.port = self.socket.getsockname()[1]
        self.sent = []
        self.early = b""  # what came after an HTTP response, and belongs to the next one

    def accepted(self):
        """Say whether the server has picked up the connection, as far as the kernel knows."""
        found = kernel.connection(os.getpid(), self.port, self.server.port)
        return found is None or found.accepted is not False

    def send(self, data):
        """Send bytes; raise Mismatch if the server does not read them."""
        self.sent.append(data)
        self.server.note(f"a client had sent {shortened(data)}")
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass  # the response, or its absence, shows the rest
        except TimeoutError:
            raise Mismatch(
                f"a client sent {self.last_sent()}, and after {self.SECONDS} seconds the server "
                "has not read all of it"
            ) from None

    def ask(self, line, *headers, body=b""):
        """Send an HTTP request: "GET /task_01", any headers, and a body of bytes."""
        lines = [f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def last_sent(self):
        """Return what it has sent last, and before that, for the answer may depend on it."""
        return ", then ".join(map(shortened, self.sent[-2:]))

    def expect_error(self):
        """Read one error line; see `expect`."""
        self.expect(re.compile(rb"error: [^\r\n]+\r\n"), r"one line 'error: …\r\n'")

    def expect(self, expected, described=None):
        """Read until what came is `expected`: these bytes, or all that this pattern matches.

        b"" is the end of the connection. `described` is a pattern in words. Raises Mismatch when
        something else came, or nothing and the server is at rest; Breakdown when the server has
        ended.
        """

        def is_expected(received):
            if isinstance(expected, re.Pattern):
                return expected.fullmatch(received)
            return received == expected

        received, more = self._read_until(lambda so_far: expected and is_expected(so_far))
        if not is_expected(received) or (more and not expected):
            raise self._mismatch(described or shortened(expected), received, more)

    def expect_response(self, status, text=None):
        """Read one HTTP response, of this status and with this text, and return it; see `expect`.

        Its headers may be any, in any order and case, but they must say where the body ends, if the
        connection does not. The text comes as a string, without its last line end.
        """
        received, more = self._read_until(lambda so_far: first_response(so_far, False), self.early)
        described = f"an HTTP response with the status {status}"
        described += f" and the text {text!r}" if text else ""
        found = first_response(received, closed=not more)
        if not found:
            raise self._mismatch(described, received, more)
        self.early = found.rest
        body = found.body.decode(errors="backslashreplace").removesuffix("\n").removesuffix("\r")
        # Servers of others say more exactly what is wrong: 405, for example.
        right = range(400, 500) if self.server.foreign and status == 400 else [status]
        if found.status not in right or text not in {None, body}:
            raise self._mismatch(described, received, more)
        if found.has_bare_lf:
            raise Mismatch("a line in the head of its response ends in LF, and not in CRLF")
        return found._replace(body=body)

    def _read_until(self, complete, received=b""):
        """Return what came until it is complete, or nothing more will; and the last part of it."""
        more = True
        deadline = time.monotonic() + self.SECONDS
        while more and not complete(received):
            if not self.wait() or len(received) > self.MOST or time.monotonic() > deadline:
                break
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:  # it has closed with bytes of ours unread
                more = b""
            received += more
        return received, more

    def _mismatch(self, described, received, more):
        """Return the error for something else than expected; `more` is false at the end of all."""
        if not more and self.server.has_ended():
            return Breakdown(
                f"a client sent {self.last_sent()}, but the server "
                f"{self.server.how_it_ended()}\nthe server's log:\n{self.server.log()}"
            )
        end = [] if more else ["the end of the connection"]
        if len(received) > self.MOST:
            end = ["more and more after that"]
        got = " and ".join([shortened(received)] * bool(received) + end)
        mismatch = Mismatch(
            f"a client sent {self.last_sent()} and should have got {described}, "
            f"but got {got or 'nothing'}"
        )
        mismatch.sent, mismatch.received = self.sent[-1] if self.sent else b"", received
        mismatch.connection = kernel.connection(os.getpid(), self.port, self.server.port)
        return mismatch

    def wait(self):
        """Wait for something to read; return False if nothing came.

        It is known as soon as the server is at rest. One in an endless loop never is.
        """
        if self.server.may_sleep:
            return self._readable(self.server.patience)
        deadline = time.monotonic() + self.SECONDS
        while not self._readable(0.01 if kernel.LINUX else 1):
            if not kernel.LINUX or self.server.at_rest(self._all_has_arrived):
                return self._readable(0)
            if time.monotonic() > deadline:
                return False
        return True

    def _all_has_arrived(self):
        """Say whether nothing is on the way: a long message waits for acknowledgements."""
        found = kernel.connection(os.getpid(), self.port, self.server.port)
        return found is None or not found.on_the_way

    def _readable(self, seconds):
        return bool(select.select([self.socket], [], [], seconds)[0])

    def close(self):
        self.server.note("a client had left")
        self.socket.close()

    def reset(self):
        """Close so that the other end gets a reset instead of a polite goodbye."""
        self.server.note("a client had reset its connection")
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
