"""The player: it does one step of a session, and yields a record of what there is to see then.

What each kind of line demands of the server is decided here.
"""

import contextlib
import html
import re
import sys
import time

from classroom import kernel
from classroom.output import Problem, printable
from classroom.prompt import Prompt
from classroom.record import Client, Record, serves
from classroom.session import PROMPT, at_prompt
from classroom.terminal import PATIENCE, QUIET, Breakdown, Server, Terminal, wait_until

# Our servers skip these headers. Those of others may insist on them.
HOST = "Host: localhost"
FORM = "Content-Type: application/x-www-form-urlencoded"


class Mismatch(Problem, AssertionError):
    """The server did something else than the session says, or nothing.

    The message says what was expected, what came, what each terminal shows, and the server's log.
    Its parts, for callers that word it differently: the `line` of the session, `what` came instead,
    the `record` of that moment, what the terminal had shown that was not expected (`unseen`), and
    what happened when the other clients left (`aftermath`). If a terminal has shown something after
    all expected lines: its letter (`extra`). Of a client without a terminal: the bytes that it
    `sent` last and has `received`, and its `connection` as the kernel knows it. Of a server of
    others: its `facts`.
    """

    line = what = unseen = extra = aftermath = ""
    record = facts = connection = None
    sent = received = b""


def is_alike(line, expected):
    """Say whether a line of somebody else's server means the same as ours.

    They may word an error differently, and the reason after the status of an HTTP response.
    """
    free = re.compile(rb"(error: |HTTP/1\.1 \d+ ).*")
    found, ours = free.fullmatch(line), free.fullmatch(expected)
    return bool(found and ours) and found[1] == ours[1]


def shortened(data):
    """Return text or bytes as Python writes them; of much, the beginning and the end."""
    text = repr(data).removeprefix("b")
    size = f"({len(data):,} {'bytes' if isinstance(data, bytes) else 'characters'})"
    return text if len(text) < 100 else f"{text[:40]} … {text[-20:]} {size}"


class Play:
    """The playing of sessions against one server."""

    def __init__(self, server, nc, checks=True):
        """`server` is a classroom.terminal.Server, `nc` the words of the command that starts nc.

        Without `checks`, nothing that the server sends is wrong.
        """
        self.server = server
        self.nc = nc
        self.checks = checks
        self.terminals = {}  # by their letters
        if isinstance(server, Prompt):
            self.terminals[server.terminal.name] = server.terminal
        self.actions = {}  # what was done last in each of them; see classroom.record.Client
        self.waiting = {}  # since when its client has been waiting, by the letter
        self.begin = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for terminal in self.terminals.values():
            terminal.close()

    def steps(self, steps, before=lambda step: None):
        """Call `before(step)`, do the step, and yield its Record once it holds; then the next one.

        Raises Mismatch for the first step that does not hold, Breakdown if the server or nc broke.
        """
        _ = self.server.port  # the session begins when the server listens
        self.begin = time.monotonic()
        for step in steps:
            before(step)
            try:
                self._do(step)
            except Mismatch as mismatch:
                closed = any(t.closed_by_server() for t in self.terminals.values() if not t.left)
                if closed and self.server.has_ended():
                    ended = f"the server {self.server.how_it_ended()}"
                    record = self.record(step)
                    breakdown = Breakdown(self._report(record, ended))
                    breakdown.record = record
                    raise breakdown from mismatch
                raise self._explained(step, mismatch) from None
            if step.action not in {"remark", "thread"}:
                self.actions[step.terminal] = step.action
            seconds = time.monotonic() - self.begin
            if self.server.watched:
                self.server.wait_for_rest()  # or the record would show a thread on its way
            # Or a response on its way. Elsewhere than on Linux, this takes time for each terminal.
            if not self.checks or (self.server.watched and kernel.LINUX):
                for terminal in self.terminals.values():
                    wait_until(terminal.is_at_rest)
            yield self.record(step, seconds)
        for terminal in self.terminals.values():
            terminal.read()
            if self.checks and terminal.has_more():
                mismatch = self._explained(steps[-1], f"then {self._shown(terminal)}")
                mismatch.extra = terminal.name
                mismatch.unseen = terminal.unseen.decode(errors="backslashreplace")
                raise mismatch

    def run(self, steps):
        """Do all steps; see `steps`."""
        for _ in self.steps(steps):
            pass

    def record(self, step=None, seconds=None):
        """Return the Record of this moment; `seconds` is when the step held, if not now."""
        if seconds is None:
            seconds = time.monotonic() - self.begin
        letters = {terminal.client_port: name for name, terminal in self.terminals.items()}
        threads = self.server.threads(letters)
        clients = {
            name: self._client(name, seconds, is_read=self._is_read(name, threads))
            for name in self.terminals
        }
        tasks, log = self.server.todo_list(), self.server.log()
        return Record(step, clients, threads, tasks, log, seconds)

    @staticmethod
    def _is_read(name, threads):
        """Say whether a thread may be reading what is typed in a terminal."""
        if name == PROMPT:
            return not any(thread.call for thread in threads)
        return serves(threads, name) or not threads

    def _client(self, name, seconds, is_read):
        """Return a terminal's Client; `is_read` says whether a thread may be reading from it."""
        terminal = self.terminals[name]
        terminal.read()
        content, action = tuple(terminal.content), self.actions.get(name, "")
        # Before the last look at nc, which may end meanwhile.
        found = None if terminal.left else terminal.connection()
        seen = terminal.port, terminal.client_port, content, action, terminal.ended
        if found is None or found.state == kernel.CLOSE_WAIT:
            self.waiting.pop(name, None)
            closed = "closed by the server" if found else "closed"
            return Client(*seen, "" if terminal.left else closed)
        # Where the kernel does not tell what is unread, the threads tell who is not served.
        if found.accepted is False or found.unread or (found.accepted is None and not is_read):
            self.waiting.setdefault(name, seconds)
        else:
            self.waiting.pop(name, None)
        unread = None if found.accepted is None else found.unread
        return Client(*seen, "open", found.accepted, unread, self.waiting.get(name))

    def _do(self, step):
        match step.action:
            case "connects":
                self.connect(step.terminal)
            case "types":
                self._type(step.terminal, step.text)
            case "shows":
                terminal = self.terminals[step.terminal]
                self._expect_line(terminal, terminal.with_port(step.text))
            case "waits":
                self._expect_silence(self.terminals[step.terminal])
            case "leaves":
                self._leave(self.terminals[step.terminal])
            case "is closed" if self.server.foreign:
                pass  # v0.1 closes it only because Python deletes the socket; others need not
            case "is closed":
                self._expect_close(self.terminals[step.terminal])
            case "thread" if self.server.watched:
                self._expect_thread(step)
            case "thread" if self.server.foreign:
                pass  # we cannot see its threads
            case "remark":
                pass
            case _:
                raise ValueError(f"{step.place}: cannot play {step.line!r} on this server")

    def connect(self, name):
        """Start nc in the terminal of this name, and wait until it is connected."""
        if self.server.foreign and kernel.LINUX:  # if it ends of what came before, it ends now
            wait_until(self.server.at_rest, QUIET)
        self.server.note(f"{name} had connected")
        terminal = self.terminals[name] = Terminal(name, self.server.port, self.nc)
        # Clients are accepted in the order in which they are connected, not started.
        wait_until(lambda: terminal.connected() or not terminal.child.isalive(), PATIENCE)
        if self.checks and not terminal.connected():
            raise Mismatch(f"{name} could not connect")

    def _type(self, name, text):
        if name not in self.terminals or self.terminals[name].left:
            self.connect(name)
        terminal = self.terminals[name]
        if terminal.ended and not self.checks:
            return
        if terminal.ended:
            raise Mismatch(f"the server has closed {name}'s connection")
        if not wait_until(terminal.is_ready, PATIENCE):
            raise Mismatch(self._shown(terminal))
        for line in self._with_headers(text) if self.server.demands_headers else [text]:
            self.server.note(f"{name} had typed {shortened(line)}")
            terminal.type(terminal.with_port(line))
            if not wait_until(terminal.delivered, PATIENCE):
                raise Breakdown(f"{name}'s line did not reach the server's kernel")

    @staticmethod
    def _with_headers(text):
        """Return the lines to type for one of a session, with the headers that HTTP/1.1 demands."""
        if text == HOST:  # already typed
            return []
        if match := re.fullmatch(r"(GET|POST) \S+ HTTP/1\.1", text):
            return [text, HOST] + [FORM] * (match[1] == "POST")
        return [text]

    def _expect_line(self, terminal, text):
        expected = text.encode()
        if self.server.foreign and re.fullmatch(rb"[A-Z][A-Za-z-]+: .*", expected):
            return  # other servers may send other headers
        if self.server.foreign and text.startswith("<"):
            self._expect_on_page(terminal, text)
            return
        deadline = time.monotonic() + self.server.patience
        terminal.read()  # what comes next may have come with the line before
        while time.monotonic() < deadline:
            line, line_end, rest = self.server.plain(terminal).partition(b"\n")
            line = line.removesuffix(b"\r")
            if line_end and self.server.foreign and is_alike(line, expected):
                line = expected
            if terminal.unseen and line == expected:
                # A response without a line end (v0.4) is complete, too. If more than the line end
                # follows, the next check of this terminal finds it.
                terminal.unseen, terminal.line_open = rest, not line_end
                terminal.unanswered = max(0, terminal.unanswered - 1)
                return
            if line_end or not expected.startswith(line):
                break
            if not terminal.unseen:
                if terminal.closed_by_server() and terminal.is_done():
                    break
                if kernel.LINUX and not self.server.may_sleep and self.server.is_silent(terminal):
                    raise Mismatch(f"{self._shown(terminal)}{self._where_it_lies(terminal)}")
            terminal.read(seconds=0.01)
        else:
            waited = f"{self._shown(terminal)} after {self.server.patience} seconds"
            raise Mismatch(f"{waited}{self._where_it_lies(terminal)}")
        raise Mismatch(self._shown(terminal))

    def _expect_on_page(self, terminal, text):
        """Fail unless a task is on the page; the rest of a page is as its author likes."""
        if terminal.unseen:
            page = terminal.unseen.decode(errors="backslashreplace")
            terminal.page, terminal.unseen = html.unescape(page), b""
        task = text.removeprefix("<p>")
        if task not in terminal.page and task != text:
            raise Mismatch(f"the page does not contain {task!r}")

    def _expect_silence(self, terminal):
        """Fail unless the server is at rest and has not read the terminal's line.

        Elsewhere than on Linux, the terminal must show nothing for a while.
        """

        waits = False

        def settled():
            nonlocal waits
            terminal.read()
            found = self.server.at_rest(terminal.connection)
            # If no line of the terminal is without an answer, it is enough to be at rest.
            waits = bool(found) and bool(found.unread or not terminal.unanswered)
            was_read = found and not waits and not self.server.may_sleep
            return terminal.unseen or waits or (was_read and self.server.is_silent(terminal))

        if kernel.LINUX:
            wait_until(settled, self.server.patience)
        else:
            terminal.read(seconds=QUIET)
            waits = not terminal.closed_by_server()
        if terminal.unseen or (not waits and terminal.closed_by_server()):
            raise Mismatch(self._shown(terminal))
        if not waits:
            raise Mismatch(
                f"{terminal.name} got no answer, but its line does not wait in the kernel either: "
                "the server has read it, or is still busy"
            )

    def _leave(self, terminal):
        def settled():
            terminal.read()
            return terminal.unseen or self.server.is_silent(terminal)

        if terminal.unanswered:  # an answer may be on its way, and Ctrl-C could overtake it
            if kernel.LINUX:
                wait_until(settled, self.server.patience)
            else:
                terminal.read(seconds=QUIET)
        self.server.note(f"{terminal.name} had left")
        terminal.press_ctrl_c()
        if self.checks:
            self._expect_no_more(terminal)

    def _expect_close(self, terminal):
        if not wait_until(terminal.closed_by_server, self.server.patience):
            raise Mismatch(f"the server has not closed {terminal.name}'s connection")
        wait_until(lambda: terminal.is_done() or terminal.unseen)
        self._expect_no_more(terminal)
        terminal.left = True
        terminal.close()

    def _expect_thread(self, step):
        wanted = step.line.removeprefix("server: ")

        def threads():
            return [str(thread) for thread in self.record().threads]

        def settled():
            return self.server.at_rest(threads) if kernel.LINUX else wanted in threads()

        wait_until(settled)
        if wanted not in (found := threads()):
            raise Mismatch(f"the threads are: {'; '.join(found)}")

    def _expect_no_more(self, terminal):
        """Fail if the server sent something more; an nc that ends may print its own message."""
        if not re.fullmatch(rb"\s*((Ncat|nc|nc\.py): .*\s*)?", terminal.unseen):
            raise Mismatch(f"before that, {self._shown(terminal)}")
        terminal.unseen = b""

    def _explained(self, step, what):
        """Return the Mismatch of a step, with everything that is known."""
        if kernel.LINUX:  # what went to another client may be on its way
            for terminal in self.terminals.values():
                wait_until(terminal.is_at_rest)
        record = self.record(step)
        mismatch = Mismatch(self._report(record, what))
        mismatch.line, mismatch.what, mismatch.record = step.line, str(what), record
        if step.action == "shows":
            mismatch.unseen = self.terminals[step.terminal].unseen.decode(errors="backslashreplace")
        if self.server.foreign:
            mismatch.facts = self.server.facts()
        if self.server.foreign and step.action == "shows":
            mismatch.aftermath = self._aftermath(step.terminal)
        return mismatch

    def _aftermath(self, name):
        """End the other terminals, one by one, until the one without an answer gets it."""
        waiting = self.terminals[name]
        for other in self.terminals.values():
            if waiting.unseen or waiting.ended or other.ended or other is waiting:
                continue
            other.press_ctrl_c()
            wait_until(lambda: waiting.read() or waiting.unseen, QUIET)
            if waiting.unseen:
                answered = f"When {other.name} left, {name} was answered"
                one = ": your server serves one client at a time" * (len(self.terminals) == 2)
                return f"{answered}{one}."
        return ""

    def _where_it_lies(self, terminal):
        """Say what happened to the line that has no answer, if the kernel knows.

        Of a server of others, the check finds out more.
        """
        found = terminal.connection()
        if self.server.foreign or terminal.unseen or found is None or found.accepted is None:
            return ""
        if not found.accepted:
            return f"; nobody has called accept() for {terminal.name}"
        return f"; the server {'has not' if found.unread else 'has'} read its line"

    @staticmethod
    def _shown(terminal):
        shown = "nothing"
        if terminal.unseen:
            shown = shortened(terminal.unseen.decode(errors="backslashreplace"))
        closed = ", and its connection is closed" if terminal.closed_by_server() else ""
        return f"{terminal.name} shows {shown}{closed}"

    @staticmethod
    def _report(record, what):
        parts = [f"{record.step.place}: {record.step.line}", f"  but {what}"]
        for name, client in record.clients.items():
            parts.append(f"terminal {name}:")
            parts += [f"  {line}" for line in printable(client.text()).split("\n")]
        parts.append("the server's log:")
        parts += [f"  {line}" for line in printable(record.log).split("\n")]
        return "\n".join(parts)


@contextlib.contextmanager
def started(stage, steps, nc, checks=True):
    """Start the server of a session, watched, and give the Play for the session; end both after it.

    The server is the stage's, or Python at its prompt. For `checks`, see Play.
    """
    # An audience may talk for longer than the minute after which a silent client is disconnected.
    words = [sys.executable, str(stage.server), "--port", "0", "--timeout", "86400"]
    server = Prompt() if at_prompt(steps) else Server(words, watched=True)
    with contextlib.closing(server), Play(server, nc, checks) as player:
        yield player
