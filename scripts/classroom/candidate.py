"""A server that somebody else wrote, in whatever language, as the checker runs it.

It is code that one does not trust. It runs as the user who calls, within limits, and whatever it
has started ends with it.
"""

import contextlib
import fcntl
import functools
import os
import random
import resource
import shlex
import signal
import socket
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil

from classroom import kernel
from classroom.terminal import Breakdown, Server, restore_signals, spawn, wait_until

START = 3.5  # seconds until it must listen
ELSEWHERE = 1  # seconds for which it may listen elsewhere before it listens where it should
MARK = "CHECKED_SERVER"  # an environment variable by which all its processes are known
LIMITS = {
    resource.RLIMIT_CPU: 60,  # seconds of processor time for each process
    resource.RLIMIT_DATA: 2 << 30,  # bytes of memory for each process
    resource.RLIMIT_FSIZE: 10 << 20,  # bytes in each file that it writes, its output among them
    resource.RLIMIT_CORE: 0,
}
PROCESSES = 200  # and threads, at most
ADDRESSES = {"127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"}  # at which 127.0.0.1 is heard


class Candidate(Server):
    """A server process that need not say where it listens: it is told, and watched."""

    may_sleep = True
    patience = 2

    def __init__(self, words):
        """Start the command `words`; see `command` for how it learns its port."""
        self.number = next(_ports())
        self.mark = uuid.uuid4().hex
        self._cgroup = _make_cgroup(self.mark)
        super().__init__(command(words, self.number))

    def _start(self, words):
        environment = os.environ | {MARK: self.mark, "PORT": str(self.number)}
        environment.pop("PYTHONPATH", None)
        return spawn(words, env=environment, preexec_fn=self._limit)

    def _limit(self):
        restore_signals()
        for what, limit in LIMITS.items():
            resource.setrlimit(what, (limit, limit))
        if self._cgroup:
            (self._cgroup / "cgroup.procs").write_text(str(os.getpid()))
        elif os.getuid():
            resource.setrlimit(resource.RLIMIT_NPROC, (self._allowed, self._allowed))

    @functools.cached_property
    def _allowed(self):
        """How many threads the user may have, who has some already."""
        return PROCESSES + sum(
            process.info["num_threads"] or 0
            for process in psutil.process_iter(["uids", "num_threads"])
            if process.info["uids"] and process.info["uids"].real == os.getuid()
        )

    @functools.cached_property
    def port(self):
        """The port that it listens on. Waits for it; raises Breakdown if it does not come."""
        deadline = time.monotonic() + START
        there, elsewhere = [], None
        while time.monotonic() < deadline and self.alive():
            there = kernel.listeners(kernel.family(self.child.pid))
            if any(port == self.number and address in ADDRESSES for address, port in there):
                return self.number
            if there:
                elsewhere = elsewhere or time.monotonic()
                deadline = min(deadline, elsewhere + ELSEWHERE)
            time.sleep(0.01)  # nobody tells us when it listens
        raise Breakdown(self._why_not(there))

    def _why_not(self, there):
        """Say what is wrong with a server that does not listen where it should."""
        if not self.alive():
            words = shlex.join(["python3" if w == sys.executable else w for w in self.words])
            return (
                f"your server {self.how_it_ended()}, before it listened; it was run as: "
                f"PORT={self.number} {words}"
            )
        if at := [address for address, port in there if port == self.number]:
            told = "IPv6 alone" if at == ["::1"] else "not at 127.0.0.1"
            return f"your server listens at {at[0]}, {told}; let it listen at 127.0.0.1"
        if there:
            ports = ", ".join(sorted({str(port) for _, port in there}))
            return (
                f"your server listens on port {ports}, and was told {self.number}; let it bind() "
                "to the port from --port or the environment's PORT, or write {port} into its "
                "command"
            )
        forks = f", and has started {PROCESSES} processes or threads" if self._is_full() else ""
        return f"your server does not listen within {START} seconds{forks}"

    def _is_full(self):
        """Say whether it was refused a process or a thread, as far as the control group tells."""
        try:
            return "max 0\n" not in (self._cgroup / "pids.events").read_text()
        except (OSError, TypeError):  # there is none
            return False

    def how_it_ended(self):
        if Path(self._log.name).stat().st_size >= LIMITS[resource.RLIMIT_FSIZE]:
            return "wrote more than 10 MB, and had to end"
        if self.child.exitstatus == 0:
            return "came to its last line and ended, or went into the background"
        return super().how_it_ended()

    def log(self):
        with open(self._log.name, "rb") as file:  # noqa: PTH123 (of a flood, the end is enough)
            with contextlib.suppress(OSError):
                file.seek(-10000, os.SEEK_END)
            return file.read().decode(errors="backslashreplace")

    def close(self):
        """End it and all that it has started, wherever that has gone."""
        # First all are stopped: a fork bomb starts new ones as fast as one kills the old ones.
        found = set()
        while new := set(self._processes()) - found:
            _signal(new, signal.SIGSTOP)
            found |= new
        _signal(found, signal.SIGKILL)
        super().close()
        if self._cgroup and wait_until(self._remove_cgroup):
            self._cgroup = None

    def _processes(self):
        """Return those in the control group; without one, those that bear our mark.

        One that has ended bears nothing.
        """
        if self._cgroup:
            return [int(pid) for pid in (self._cgroup / "cgroup.procs").read_text().split()]
        return [pid for pid in psutil.pids() if self.mark in _environment(pid)]

    def _remove_cgroup(self):
        try:
            self._cgroup.rmdir()
        except OSError:  # its last process is still ending
            return False
        return True


def _signal(pids, number):
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.kill(pid, number)


def _environment(pid):
    """Return the environment of a process as text; nothing if we may not see it."""
    try:
        if kernel.LINUX:  # psutil takes ten times as long
            return Path(f"/proc/{pid}/environ").read_text(errors="replace")
        return str(psutil.Process(pid).environ())
    except (OSError, psutil.Error):
        return ""


@functools.cache
def _ports():
    """Yield ports that are free, and that no other check takes while this process lives.

    They lie below those that the system gives to whoever asks for any port at all.
    """
    # A byte of this file for each port; whoever has locked it has the port.
    path = Path(tempfile.gettempdir()) / f"checked-servers-{os.getuid()}"
    locks = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    first, last = 10000, 31999
    begin = random.randint(first, last)
    for port in [*range(begin, last + 1), *range(first, begin)]:
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        yield port


def command(words, port):
    """Return the command `words` with its port.

    `{port}` in it becomes the number. A Python file gets --port if that word is in it. Any other
    command finds it in the environment, as PORT.
    """
    if any("{port}" in word for word in words):
        return [word.replace("{port}", str(port)) for word in words]
    if len(words) == 1 and words[0].endswith(".py"):
        path = Path(words[0])
        takes_port = path.exists() and "--port" in path.read_text(errors="replace")
        return [sys.executable, words[0], *(["--port", str(port)] if takes_port else [])]
    return words


def _make_cgroup(name):
    """Return a control group that limits the number of processes, or None.

    The kernel's limit for a user does not hold for root; this one does.
    """
    for folder in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        cgroup = Path(folder) / f"check-{name}"
        with contextlib.suppress(OSError):
            cgroup.mkdir()
            try:
                (cgroup / "pids.max").write_text(str(PROCESSES))
                return cgroup
            except OSError:
                cgroup.rmdir()
    return None
