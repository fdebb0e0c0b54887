"""A server that somebody else wrote, in any language, as the checker runs it.

Nobody has read its code. It runs with the rights of the user, within limits, and everything that
it has started ends with it.
"""

import atexit
import contextlib
import fcntl
import functools
import os
import random
import re
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil

from classroom import interrupts, kernel, shared
from classroom.check.response import first_response
from classroom.output import Problem, one_line
from classroom.play import Play
from classroom.terminal import QUIET, Breakdown, Server, wait_until

SILENCE = 5  # seconds for which a client says nothing
START = 3.5  # seconds until it must listen
ELSEWHERE = 1  # seconds for which it may listen elsewhere before it listens where it should
MARK = "CHECKED_SERVER"  # an environment variable by which all its processes are known
LIMITS = {
    resource.RLIMIT_CPU: 60,  # seconds of processor time for each process
    resource.RLIMIT_DATA: 2 << 30,  # bytes of memory for each process
    resource.RLIMIT_FSIZE: 10 << 20,  # bytes in each file that it writes; its output is one of them
    resource.RLIMIT_CORE: 0,
}
SWITCHING = str(Path(__file__).with_name("switching.py"))
PROCESSES = 200  # and threads, at most
LONGEST_PROGRAM = 1_000_000  # bytes
RUNNERS = {
    ".c": "gcc -pthread -o server",
    ".go": "go build -o server",
    ".java": "java",
    ".js": "node",
    ".php": "php",
    ".pl": "perl",
    ".rb": "ruby",
    ".rs": "rustc -o server",
    ".sh": "sh",
}  # what runs or compiles a file, by the end of its name
ADDRESSES = {
    "127.0.0.1",
    "0.0.0.0",
    "::",
    "::ffff:127.0.0.1",
}  # at which a server gets connections to 127.0.0.1


class NoServer(Breakdown):
    """The command has not become a server: it ended, or it does not listen where it should."""


class Facts(NamedTuple):
    """What is known of a server at the moment of a failure."""

    threads: int  # of all its processes; 0 if it has ended
    listens: bool
    reads_keyboard: bool
    is_busy: bool  # it does not come to rest
    log: str


class Candidate(Server):
    """A server process that need not log where it listens: it gets a port, and we look there."""

    foreign = demands_headers = True
    may_sleep = True
    patience = 2
    _processes = None  # see _processes_of_the_user

    def __init__(self, words, watched=False, switching=False):
        """Start the command `words`; see `command` for how it learns its port. Raises Breakdown.

        `watched`: it is a Python file, and the caller wants to see its threads. `switching`: it is
        one, and its threads take turns after each step; see classroom.check.switching.
        """
        self.number = next(_ports())
        self.mark = f"{_whose()}:{self.number}:{uuid.uuid4().hex}"
        with interrupts.held:
            self._group = ControlGroup.make()
            _open.add(self)
            words = command(words, self.number)
            if switching:
                words.insert(1, SWITCHING)
            super().__init__(words, watched)

    def _start(self):
        environment = os.environ | {MARK: self.mark, "PORT": str(self.number)}
        environment["PYTHONUNBUFFERED"] = "1"  # or what it printed would be lost at its end
        environment.pop("PYTHONPATH", None)
        if not self._group and os.getuid():  # for root, only the limit of a group holds
            self._processes = _processes_of_the_user()

        def limit():
            for what, most in LIMITS.items():
                resource.setrlimit(what, (most, most))
            if self._group:
                self._group.enter()
            elif self._processes:
                resource.setrlimit(resource.RLIMIT_NPROC, self._processes)

        return super()._start(prepare=limit, env=environment)

    @functools.cached_property
    def port(self):
        """The port on which it listens. Waits until it does; raises NoServer if it never does."""
        deadline = time.monotonic() + START
        there, elsewhere = [], None
        # A fork bomb is ended before the deadline, because it takes the processor from all others.
        while time.monotonic() < deadline and self.alive() and not self._forks_without_end():
            there = kernel.listeners(kernel.family(self.child.pid))
            at = {address for address, port in there if port == self.number}
            # At :: a server may get all connections, or only those by IPv6.
            if at & ADDRESSES and (at != {"::"} or not _is_free(self.number)):
                self._allow_more()
                return self.number
            if there:
                elsewhere = elsewhere or time.monotonic()
                deadline = min(deadline, elsewhere + ELSEWHERE)
            time.sleep(0.01)  # nothing notifies us when it listens
        raise NoServer(self._why_not(there))

    def _why_not(self, there):
        """Say what is wrong with a server that does not listen where it should."""
        if there:
            return self._where_it_listens(there)
        pids = kernel.family(self.child.pid)
        reason = f"does not listen within {START} seconds"
        if not self.alive():
            reason = (
                f"{self.how_it_ended()}, before it listened; it was run as: PORT={self.number} "
                f"{shlex.join(self.words)}"
            )
        elif any(map(kernel.reads_keyboard, pids)):
            reason = "waits for its keyboard, and does not listen"
        elif self.number in kernel.udp_ports(pids):
            reason = "uses UDP (SOCK_DGRAM); let it use TCP (SOCK_STREAM)"
        elif self._forks_without_end():
            reason = "started too many processes or threads before it listened"
        return f"your server {reason}"

    def _where_it_listens(self, there):
        if at := [address for address, port in there if port == self.number]:
            which = "IPv6 only" if all(":" in each for each in at) else "not at 127.0.0.1"
            return f"your server listens at {at[0]}, {which}; let it listen at 127.0.0.1"
        ports = ", ".join(sorted({str(port) for _, port in there}))
        return (
            f"your server listens on port {ports} instead of {self.number}; let it bind() to the "
            "port from --port or from PORT in the environment, or write {port} into its command"
        )

    def _forks_without_end(self):
        if self._group:
            return self._group.is_full()
        # Half of them, because the user's other processes count towards the limit as well.
        return len(kernel.family(self.child.pid)) > PROCESSES // 2

    def _allow_more(self):
        if self._processes and hasattr(resource, "prlimit"):  # Linux has it
            most = self._processes[1]
            with contextlib.suppress(OSError):  # it has just ended
                resource.prlimit(self.child.pid, resource.RLIMIT_NPROC, (most, most))

    def how_it_ended(self):
        if self.child.signalstatus == signal.SIGXCPU:
            return "was ended because it used more than 60 seconds of processor time"
        if os.fstat(self._log.fileno()).st_size >= LIMITS[resource.RLIMIT_FSIZE]:
            return "was ended because it wrote more than 10 MB"
        if self.child.exitstatus == 0:
            return "came to its last line and ended, or went into the background"
        return super().how_it_ended()

    def log(self):
        return self._written(10000).decode(
            errors="backslashreplace"
        )  # the end of it, if it is very long

    def facts(self):
        """Return the Facts of this moment."""
        pids = kernel.family(self.child.pid) if self.alive() else []
        threads = 0
        for pid in pids:
            with contextlib.suppress(psutil.Error):  # it has just ended
                threads += psutil.Process(pid).num_threads()
        listens = any(port == self.number for _, port in kernel.listeners(pids))
        reads_keyboard = any(map(kernel.reads_keyboard, pids))
        is_busy = kernel.LINUX and not wait_until(self.at_rest, QUIET)
        return Facts(threads, listens, reads_keyboard, is_busy, self.log())

    def plain(self, terminal):
        """Return what a terminal has shown; of an HTTP response only the first line and the body.

        Servers of others send other headers, in another order and case, and the body in chunks. A
        response that is not complete is nothing.
        """
        if not terminal.unseen.startswith(b"HTTP/1."):
            return terminal.unseen
        found = first_response(terminal.unseen, terminal.closed_by_server())
        return b"%s\r\n\r\n%s%s" % (found.status_line, found.body, found.rest) if found else b""

    def close(self):
        """End it and all that it has started, wherever that has gone."""
        with interrupts.held:
            if self in _open:
                _end_all(self._group.processes if self._group else self._marked)
                super().close()
                if self._group:
                    self._group.remove()
                _open.remove(self)

    def _marked(self):
        """Return the processes that have our mark. One that has ended has no environment."""
        return [pid for pid in psutil.pids() if self.mark in _environment(pid)]


@contextlib.contextmanager
def started(words, nc):
    """Start somebody's server, and give a Play for it that checks nothing; end both after it.

    Raises Breakdown if it does not listen, with what it has printed.
    """
    with (
        contextlib.closing(Candidate(words, is_python_file(words))) as server,
        Play(server, nc, False) as player,
    ):
        try:
            _ = server.port
        except Breakdown as breakdown:
            raise Breakdown(f"{breakdown}\n{server.log()}".rstrip()) from None
        yield player


_open = set()  # of the Candidates that are not closed yet


@atexit.register
def _close_all():
    """Close the servers that were not closed because of an interrupt."""
    for candidate in list(_open):
        candidate.close()


class ControlGroup:
    """Limits the number of its processes, and knows all of them. The kernel's limit for a user
    does not hold for root; this one does.

    It is locked for as long as the process that made it lives.
    """

    FOLDERS = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")

    def __init__(self, path):
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    @classmethod
    def make(cls):
        """Return a new group; None if this user or this system cannot have one."""
        # In a plain folder we could create others, too, but they would limit nothing.
        for folder in [folder for folder in cls.FOLDERS if (folder / "cgroup.procs").exists()]:
            path = folder / f"check-{uuid.uuid4().hex}"
            with contextlib.suppress(OSError), shared.lock("groups"):
                path.mkdir()
                try:
                    (path / "pids.max").write_text(str(PROCESSES))
                    group = cls(path)
                    group.lock()
                    return group
                except OSError:
                    path.rmdir()
        return None

    @classmethod
    def abandoned(cls):
        """Yield the groups of this user whose makers were killed; the caller removes them."""
        for folder in cls.FOLDERS:
            for path in folder.glob("check-*"):
                with contextlib.suppress(OSError):
                    group = cls(path)
                    if path.stat().st_uid == os.getuid() and group.lock():
                        yield group
                    else:
                        group.close()

    def lock(self):
        """Lock the group until it is closed; return False if another process has done so."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self):
        os.close(self._descriptor)

    def enter(self):
        """Put this process, and all that it will start, into the group."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def processes(self):
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def is_full(self):
        """Say whether a process or a thread was refused."""
        return "max 0\n" not in (self.path / "pids.events").read_text()

    def remove(self):
        """Remove the group, once its last process has ended."""

        def removed():
            with contextlib.suppress(OSError):
                self.path.rmdir()
            return not self.path.exists()

        wait_until(removed)
        self.close()


def sweep():
    """End the servers that the check of a killed process has left, and remove their groups."""
    with interrupts.held, shared.lock("groups"):
        for group in ControlGroup.abandoned():
            _end_all(group.processes)
            group.remove()
        _end_all(_orphans)


def _orphans():
    """Yield the processes whose mark names a port that no living process has locked."""
    begin = f"{MARK}={_whose()}:"
    for pid in psutil.pids():
        for variable in _environment(pid).split("\0"):
            if variable.startswith(begin):
                port = int(variable.removeprefix(begin).partition(":")[0])
                if _lock_port(port):
                    _unlock_port(port)
                    yield pid


def _end_all(processes):
    """End the processes whose numbers `processes()` returns, and those that they start meanwhile.

    First all are stopped: a fork bomb starts new processes as fast as we kill the old ones.
    """
    found = set()
    while new := set(processes()) - found:
        _signal(new, signal.SIGSTOP)
        found |= new
    _signal(found, signal.SIGKILL)


def _signal(pids, number):
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.kill(pid, number)


def _processes_of_the_user():
    """Return how many processes and threads this user may run before the server listens, and after.

    The limit counts everything that the user runs, also the other servers of a class. A fork bomb
    stops at the lower number, and a server that listens may go on up to the higher one.
    """
    others = sum(
        process.info["num_threads"] or 0
        for process in psutil.process_iter(["uids", "num_threads"])
        if process.info["uids"] and process.info["uids"].real == os.getuid()
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    hard = float("inf") if hard == resource.RLIM_INFINITY else hard
    return min(others + PROCESSES, hard), min(others + 10 * PROCESSES, hard)


def _whose():
    """Return a name for the folder in which our ports are locked, for our marks.

    It is not the path: in a chroot, another folder may have the same path.
    """
    folder = shared.folder().stat()
    return f"{folder.st_dev}-{folder.st_ino}"


def _environment(pid):
    """Return a process's variables as NAME=VALUE, NUL between them; "" if we may not see them."""
    try:
        if kernel.LINUX:  # psutil takes ten times as long
            return Path(f"/proc/{pid}/environ").read_text(errors="replace")
        variables = psutil.Process(pid).environ()
        return "\0".join(f"{name}={value}" for name, value in variables.items())
    except (OSError, psutil.Error):
        return ""


@functools.cache
def _ports():
    """Yield ports that are free, and that no other check takes while this process lives.

    They are below the ports that the system chooses for port 0.
    """
    first, last = 10000, 31999
    begin = random.randint(first, last)
    for port in [*range(begin, last + 1), *range(first, begin)]:
        if _lock_port(port) and _is_free(port):
            yield port


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# A file with a byte for each port. Open once: when it is closed, all its locks are gone.
_port_file = functools.cache(lambda: shared.open_file("ports"))


def _lock_port(port):
    """Lock a port for as long as this process lives; return False if another one has."""
    try:
        fcntl.lockf(_port_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _unlock_port(port):
    fcntl.lockf(_port_file(), fcntl.LOCK_UN, 1, port)


def read_program(path):
    """Return the text of a program; raise Problem if it is not a regular file, or too long.

    A device or a pipe may give bytes without an end, or block.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Problem(f"{path} is not a file; name the file in which your program is")
        program = file.read(LONGEST_PROGRAM + 1)
    if len(program) > LONGEST_PROGRAM:
        raise Problem(f"{path} is longer than {LONGEST_PROGRAM:,} bytes; is it your program?")
    return program.decode(errors="replace")


def is_python_file(words):
    """Say whether a command is only the name of a Python file."""
    return len(words) == 1 and words[0].endswith(".py")


def command(words, port):
    """Return the command `words` with its port.

    `{port}` in it becomes the number. A Python file gets --port if it contains that word. Any other
    command finds it in the environment as PORT.
    """
    if any("{port}" in word for word in words):
        return [word.replace("{port}", str(port)) for word in words]
    if is_python_file(words):
        (path,) = words
        takes_port = ["--port", str(port)] if "--port" in read_program(path) else []
        # Python would take a name that begins with - for an option.
        return [python_of(path), f"./{path}" if path.startswith("-") else path, *takes_port]
    return words


def python_of(path):
    """Return the Python that runs a file for its author: of its first line, or of the PATH.

    Ours has not the libraries that the author has installed.
    """
    first_line = read_program(path).partition("\n")[0].strip()
    words = first_line.removeprefix("#!").split() if first_line.startswith("#!") else []
    names = [Path(word).name for word in words]  # of no folder: it would not run within our limits
    wanted = next((name for name in names if re.fullmatch(r"python[\d.]*", name)), "python3")
    return real_python(wanted) or real_python("python3") or sys.executable


@functools.cache
def real_python(name="python3"):
    """Return the path of a Python; "" if there is none.

    What the PATH has may be a script that takes long to find the real one, as with pyenv.
    """
    path = shutil.which(name)
    if not path:
        return ""
    with Path(path).open("rb") as program:
        if program.read(2) != b"#!":
            return path
    tell = [name, "-c", "import sys; print(sys.executable)"]
    try:
        done = subprocess.run(tell, capture_output=True, text=True, timeout=START, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def remedy_for(program):
    """Return how to run a file that is no program, by the language that its name tells."""
    runner = RUNNERS.get(Path(program).suffix)
    if runner and " -o " in runner:
        return f"compile it with {runner} {program}, and name the result: -- ./server"
    return f"name the program that runs it, as in: -- {runner or 'node'} {program} {{port}}"


def problem_of_first_line(program):
    """Return why the first line of a script does not start it; "" if it does, or is none."""
    with Path(program).open("rb") as file:
        first_line = file.readline(1000)
    if not first_line.startswith(b"#!"):
        return ""
    if first_line.endswith(b"\r\n"):
        return f"{program} has the line ends of Windows, and cannot be run; convert it to LF"
    interpreter, *words = first_line[2:].decode(errors="replace").split() or [""]
    wanted = words[0] if interpreter.endswith("/env") and words else interpreter
    if not shutil.which(wanted):
        return f"the first line of {program} names {wanted}, which is not there"
    return ""


def problem_of_command(program, *arguments):
    """Return why a command cannot be run; "" if it can."""
    path, on_the_path = Path(program), shutil.which(program)
    problem = ""
    try:
        if not on_the_path and not path.exists():
            problem = f"there is no {program}"
        elif path.is_dir():
            problem = f"{program} is a folder; name the file in it"
        elif program.endswith(".py") and not arguments:
            read_program(program)
        elif program.endswith(".py") and not on_the_path:
            problem = "one file at a time; --each takes a pattern of many"
        elif not on_the_path:
            problem = f"{program} cannot be run; {remedy_for(program)}"
        elif "/" in program:
            problem = problem_of_first_line(program)
    except PermissionError:
        problem = f"{program} cannot be read; look at its permissions"
    except Problem as found:
        problem = str(found)
    return one_line(problem)
