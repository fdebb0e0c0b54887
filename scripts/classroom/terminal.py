"""A terminal with nc in it, and a server, each run by pexpect on a pty of its own.

The pty also ends them: when the program that holds it ends for any reason, the kernel sends
them a hang-up.
"""

import codecs
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from types import MappingProxyType

import pexpect

from classroom import interrupts, kernel
from classroom.output import Problem
from classroom.threads import Watch

NC_OF_OURS = [sys.executable, str(Path(__file__).resolve().parents[1] / "nc.py")]
PATIENCE = 5  # seconds to wait for what must come
QUIET = 0.3  # seconds without output that count as silence where the kernel cannot be asked


class Breakdown(Problem):
    """Something broke that has nothing to do with what a server answers."""


def find_nc():
    """Return the command that starts nc, as a list of words."""
    return ["nc"] if shutil.which("nc") else NC_OF_OURS


def with_crlf(nc):
    """Return the command for an nc that sends CRLF: this one, if its help has an option for it."""
    done = subprocess.run(
        [*nc, "-h"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    option = re.search(r"(-[Cc])\b.*CRLF", done.stdout + done.stderr)
    return [*nc, option[1]] if option else [*NC_OF_OURS, "-C"]


def wait_until(condition, seconds=PATIENCE):
    """Return the first true value of `condition()`, or its last one after `seconds`.

    It looks again and again, because neither the kernel nor a log file notifies us. The
    longer it has waited, the less often it looks, because looking has a cost, too.
    """
    begin = time.monotonic()
    while not (value := condition()) and (waited := time.monotonic() - begin) < seconds:
        time.sleep(0.001 + min(waited, 1) / 20)
    return value


class _Child(pexpect.spawn):
    """A command on a pty that also inherits some of our open files."""

    def __init__(self, words, descriptors, **options):
        self._descriptors = descriptors
        super().__init__(words[0], words[1:], echo=False, **options)

    def _spawnpty(self, args, **options):
        us = os.getpid()
        try:
            return super()._spawnpty(args, pass_fds=self._descriptors, **options)
        finally:
            # If we are killed in this moment, ptyprocess raises an exception in the child: its
            # terminal is gone. The child would catch it and go on as we would, with our terminals.
            if os.getpid() != us:
                os._exit(1)


def spawn(words, log=None, descriptors=(), prepare=lambda: None, env=None):
    """Start a command on a pty that changes no byte of its output and echoes nothing.

    With `log`, an open file, its output goes there instead. The `descriptors` stay open in it.
    `prepare()` is called in the new process before the command starts. Raises Breakdown.
    """

    def become_ready():
        restore_signals()
        if log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        prepare()

    keep = [*descriptors, *([log.fileno()] if log else [])]
    try:
        # Before exec, the child is a copy of us, and would handle Ctrl-C as we do.
        with interrupts.held:
            child = _Child(words, keep, preexec_fn=become_ready, env=env)
    except (pexpect.ExceptionPexpect, OSError) as error:
        raise Breakdown(f"cannot start {words[0]}: {error}") from error
    child.delaybeforesend = None
    child.ptyproc.delayafterclose = 0
    child.ptyproc.delayafterterminate = 0.02
    attributes = termios.tcgetattr(child.child_fd)
    attributes[1] &= ~termios.OPOST  # or the pty turns \n into \r\n
    termios.tcsetattr(child.child_fd, termios.TCSANOW, attributes)
    return child


def restore_signals():
    """Let signals do to the child what they do to a program that a shell starts.

    What a job in the background starts ignores the keyboard. What Python starts ignores SIGPIPE
    and SIGXFSZ, and would survive a write to a client that has left.
    """
    for number in (*interrupts.SIGNALS, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def end(child):
    """End a command at once, whatever it is doing."""
    if child.isalive():
        child.kill(signal.SIGKILL)
        child.wait()
    child.close()


class Terminal:
    """A window in which a student has typed `nc 127.0.0.1 PORT`."""

    def __init__(self, name, port, nc):
        self.name = name
        self.port = port
        self.content = []  # ("typed" or "shown", text), in order
        # A character may come in two parts.
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.unseen = b""  # what nc has shown and no session has checked yet
        self.page = ""  # the HTML that nc has shown, with which a session is not done yet
        self.typed = 0  # bytes that nc sends for it
        self._line_end = 2 if "-C" in nc else 1  # bytes; see docs/machines.md
        self.unanswered = 0  # lines that were typed and not answered yet
        self.line_open = False  # the last line came without its end, which may still come
        self.ended = False  # nc has
        self.left = False  # as its session has it
        self.client_port = None  # from which nc is connected; the server's log names it
        self.child = self._start(nc)

    def _start(self, nc):
        return spawn([*nc, "127.0.0.1", str(self.port)])

    def connection(self):
        """Return nc's connection as the kernel sees it, or None."""
        if self.client_port is None:
            self.client_port = kernel.client_port(self.child.pid, self.port)
        if self.ended or self.client_port is None:
            return None
        return kernel.connection(self.child.pid, self.client_port, self.port)

    def connected(self):
        """Say whether nc has been connected; the server may have closed already."""
        found = self.connection()
        return found is not None and found.state in {kernel.ESTABLISHED, kernel.CLOSE_WAIT}

    def closed_by_server(self):
        """Say whether the server has ended the connection. Some nc end then, others stay."""
        self.read()
        found = self.connection()
        return self.ended or found is None or found.state == kernel.CLOSE_WAIT

    def is_ready(self):
        """Say whether a line can be typed."""
        return True

    def has_more(self):
        """Say whether nc has shown something that no session has checked yet."""
        return bool(self.unseen)

    def with_port(self, text):
        """Return a session's text with the server's port, if this terminal shows it."""
        return text

    def is_done(self):
        """Say whether nc has shown all that it has received, and a session has checked all of it.

        What came just before the server closed the connection may be on its way to the terminal.
        """
        return self.is_at_rest() and not self.unseen

    def is_at_rest(self):
        """Say whether nc has shown all that it has received."""
        if kernel.LINUX and self.child.isalive() and not kernel.at_rest(self.child.pid):
            return False
        self.read(0 if kernel.LINUX else QUIET)
        return True

    def type(self, text):
        """Type `text` and Enter."""
        self.child.send(f"{text}\n".encode())
        self.typed += len(text.encode()) + self._line_end
        self.unanswered += 1
        self.content.append(("typed", f"{text}\n"))

    def delivered(self):
        """Say whether all that was typed is in the server's kernel; True if nobody can know."""
        found = self.connection()
        if found is None or found.received is None or found.state != kernel.ESTABLISHED:
            return True
        return found.received >= self.typed

    def read(self, seconds=0):
        """Read what nc shows within `seconds`; return as soon as there is something."""
        if self.ended:
            return
        try:
            try:
                shown = self.child.read_nonblocking(65536, seconds)
            except pexpect.EOF:
                # If nc ends while pexpect looks, its last words may still be there to read.
                shown = self.child.read_nonblocking(65536, 0)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            self.ended = True
            self._show(b"")
            return
        self.unseen += shown
        if self.line_open:
            self.unseen = self.unseen.removeprefix(b"\r").removeprefix(b"\n")
            self.line_open = False
        self._show(shown)

    def _show(self, shown):
        if text := self._decoder.decode(shown, final=self.ended):
            self.content.append(("shown", text))

    def press_ctrl_c(self):
        """End nc as a student does, and read what it still shows."""
        self.child.sendintr()
        if not wait_until(self._read_to_the_end):
            raise Breakdown(f"Ctrl-C does not end {self.name}'s nc")
        self.left = True

    def _read_to_the_end(self):
        self.read()
        return self.ended

    def close(self):
        end(self.child)
        self.ended = True


class Server:
    """A server process on a free port. It must log "listening on ADDRESS:PORT" and a line end."""

    foreign = False  # written by others: it may differ in what the course does not teach
    demands_headers = False  # an HTTP server that refuses a request without them
    may_sleep = False  # it may send more after a rest; a stage of the course never does
    patience = PATIENCE  # seconds to wait for an answer
    last_event = ""  # before it ended: what a client had done last, if one had done something

    def __init__(self, words, watched=False):
        """Start the command `words`; it becomes ready while the caller does something else.

        `watched`: it is a Python server, and the caller wants to see its threads; see Watch.
        """
        self.words = words
        self.watch = Watch(words) if watched else None
        # Its log goes to a file: a pty that nobody reads would block the server in the end. The
        # file has no name, so nothing is left of it, no matter how we end.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self.child = self._start()

    def _start(self, **options):
        """Start the process; the options are those of `spawn`."""
        if not self.watch:
            return spawn(self.words, self._log, **options)
        try:
            return spawn(self.watch.words(), self._log, [self.watch.descriptor], **options)
        finally:
            self.watch.started()

    @property
    def watched(self):
        return self.watch is not None

    @functools.cached_property
    def port(self):
        """The port that it listens on. Waits for it; raises Breakdown if it ends instead."""
        wait_until(lambda: self._listening() or not self.alive())
        if match := self._listening():
            return int(match[1])
        raise Breakdown(f"{' '.join(self.words)} does not listen; it says: {self.log().strip()!r}")

    def _listening(self):
        return re.search(r"listening on \S+:(\d+)\n", self.log())

    def log(self):
        """Return all that the server has written, to standard output and standard error."""
        return self._written().decode(errors="backslashreplace")

    def _written(self, most=1 << 40):
        """Return the last bytes that it has written, `most` at most."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), min(size, most), max(0, size - most))

    def plain(self, terminal):
        """Return what a terminal has shown and no session has checked; see also Candidate."""
        return terminal.unseen

    def alive(self):
        return self.child.isalive()

    def note(self, event):
        """Note what a client does now: if the server ends, it may be the reason."""
        if self.alive():
            self.last_event = event

    def has_ended(self):
        """Say whether a server that has closed a connection did so because it ends."""
        if kernel.LINUX:  # until it has ended, it does not sleep
            wait_until(self.at_rest, self.patience)
        else:
            wait_until(lambda: not self.alive(), 1)
        return not self.alive()

    def how_it_ended(self):
        """Return the end of a sentence about a server that is no longer alive."""
        if self.child.signalstatus:
            return f"was ended by {signal.Signals(self.child.signalstatus).name}"
        return f"ended with status {self.child.exitstatus}"

    def at_rest(self, look=lambda: True):
        """Return what `look()` sees if the server slept meanwhile; see kernel. Linux only.

        A server that has ended is at rest.
        """
        if not self.alive():
            return look()
        ours = {self.watch.thread_id} if self.watch else set()
        return kernel.at_rest(self.child.pid, look, ours)

    def wait_for_rest(self):
        """Wait until it has done and logged everything that it can do now."""
        if kernel.LINUX:
            wait_until(self.at_rest)
        else:
            time.sleep(QUIET)  # here the system does not tell when it is at rest

    def threads(self, letters=MappingProxyType({})):
        """Return its threads, oldest first, each a Thread; none if it is not watched.

        `letters` gives the letter of the terminal that is connected from a port.
        """
        return self.watch.look(self.log(), letters) if self.watch else []

    def todo_list(self):
        """Return its tasks at the last look at its threads; none if it is not watched."""
        return self.watch.todo_list if self.watch else {}

    def is_silent(self, terminal):
        """Say whether the server will send nothing more to the terminal by itself. Linux only.

        The server is at rest; after that nc is at rest; and after that nc has shown nothing.
        """
        return self.at_rest() and terminal.is_done()

    def close(self):
        end(self.child)
        self._log.close()
        if self.watch:
            self.watch.close()
