"""The suite's options, its fixtures, and the table of behaviours and stages that it prints.

A behaviour is a test with the mark `behaviour`. It runs on every stage. From its first stage to
its last it must pass; on every other stage it must fail, and for one reason only: the server
answered something else, or nothing (a Mismatch). So no behaviour is a test that cannot fail.
"""

import contextlib
import fcntl
import ipaddress
import os
import re
import select
import shlex
import shutil
import socket
import stat
import statistics
import struct
import subprocess
import sys
import threading
import time

import pytest
from classroom import interrupts, kernel, shared
from classroom.check.candidate import Candidate, sweep
from classroom.course import ROOT, stages
from classroom.play import Mismatch, Play
from classroom.session import SessionError, parse
from classroom.terminal import Breakdown, Server, find_nc

# At a tag, one stage stands at the root; what is about all of them and their pages is not there.
collect_ignore = (
    [] if (ROOT / "stages").exists() else ["test_nc.py", "test_pages.py", "test_tags.py"]
)
# From a behaviour's line and text to {the stage's name: "yes", "no" or "FAILED"}.
outcomes = {}
durations = []  # of the sessions that were played, in seconds
unchecked = []  # the places of blocks in pages that no test checks


def pytest_addoption(parser):
    group = parser.getgroup("classroom")
    group.addoption("--stage", action="append", help="a stage to test, v0.3 for example")
    group.addoption("--nc", help="the command that starts nc, with its options")
    group.addoption("--server", help="test the server that this command starts, not the stage's")


def pytest_configure(config):
    """Learn which stages and which nc to use, and stop at once if they are not there."""
    interrupts.install()  # so that what the tests have started ends with them
    try:
        here = {stage.name: stage for stage in stages()}
    except SessionError as problem:
        raise pytest.UsageError(str(problem)) from None
    wanted = config.getoption("stage") or list(here)
    if unknown := [name for name in wanted if name not in here]:
        raise pytest.UsageError(f"no stage {unknown[0]} here; there is {', '.join(here)}")
    config.stages = [here[name] for name in here if name in wanted]
    config.server = shlex.split(config.getoption("server") or "")
    option = config.getoption("nc")
    config.nc = shlex.split(option) if option else find_nc()
    if config.pluginmanager.hasplugin("hypothesispytest"):  # scripts/check does not load it
        load_hypothesis_profile()


def load_hypothesis_profile():
    """Draw the same 100 examples on every run, or 5,000 new ones with the profile "thorough".

    The option --hypothesis-profile=thorough selects it; hypothesis reads the option after this.
    """
    from hypothesis import HealthCheck, settings  # noqa: PLC0415 (scripts/check does not need it)
    from hypothesis.configuration import set_hypothesis_home_dir  # noqa: PLC0415

    # Its files do not belong in the project, which may be read-only.
    set_hypothesis_home_dir(shared.folder() / "hypothesis")
    settings.register_profile(
        "repeatable",
        max_examples=100,
        derandomize=True,
        database=None,
        deadline=None,  # a busy computer is not a bug
        suppress_health_check=[HealthCheck.too_slow],
        report_multiple_bugs=False,
    )
    repeatable = settings.get_profile("repeatable")
    settings.register_profile("thorough", repeatable, max_examples=5000, derandomize=False)
    settings.load_profile("repeatable")


class Listeners(threading.Thread):
    """Looks, while the tests run, at which addresses the processes that they start listen."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.elsewhere = set()  # "ADDRESS:PORT" of each that is not loopback

    def run(self):
        while not self.stop.wait(0.2):
            for address, port in kernel.listeners(kernel.family(os.getpid())):
                if not ipaddress.ip_address(address).is_loopback:
                    self.elsewhere.add(f"{address}:{port}")


def pytest_sessionstart(session):
    session.config.listeners = Listeners()
    # A server of somebody else's may listen where it likes.
    if not hasattr(session.config, "workerinput") and not session.config.server:
        session.config.listeners.start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Fail the run if somebody on the network could have reached what it had started."""
    listeners = session.config.listeners
    listeners.stop.set()
    if listeners.is_alive():
        listeners.join()
    if listeners.elsewhere:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config):
    """End what the checks have left that were killed, in this run or in one before."""
    if not hasattr(config, "workerinput"):
        sweep()


def pytest_report_header(config):
    return f"stages: {' '.join(stage.name for stage in config.stages)}; nc: {' '.join(config.nc)}"


def pytest_generate_tests(metafunc):
    """Run what needs a session on every session, and what needs a stage on every stage.

    A behaviour is a strict expected failure on the stages that must not show it.
    """
    if "session" in metafunc.fixturenames:
        sessions = [
            (stage, steps)
            for stage in metafunc.config.stages
            # The further ones show the flaws of our servers, which others need not have.
            for steps in stage.sessions()[: 1 if metafunc.config.server else None]
        ]
        ids = [steps[0].place for _, steps in sessions]
        metafunc.parametrize(("stage", "session"), sessions, ids=ids)
        return
    if "stage" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("behaviour")
    expected_failure = pytest.mark.xfail(raises=Mismatch, reason="not in this stage", strict=True)
    metafunc.parametrize(
        "stage",
        [
            pytest.param(
                stage,
                id=stage.name,
                marks=[expected_failure] if mark and not shows(mark, stage.name) else [],
            )
            for stage in metafunc.config.stages
        ],
    )


def pytest_collection_modifyitems(config, items):
    """Leave out what is for other stages, or not demanded of a server; put the rest in order."""
    out = [
        item
        for item in items
        for mark in [*item.iter_markers("stages"), *item.iter_markers("behaviour")]
        if (mark.name == "stages" or config.server)
        and not (shows(mark, item.callspec.params["stage"].name) and is_demanded(mark, config))
    ]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
    # First those for which all others stop, and then the long ones, or one process would be alone
    # with them at the end.
    items.sort(
        key=lambda item: (not item.get_closest_marker("alone"), item.path.stem != "test_check")
    )


def shows(mark, stage_name):
    """Say whether the stage must show the behaviour. The names sort as they should: v0.1 … v0.6."""
    return mark.kwargs.get("since", "") <= stage_name <= mark.kwargs.get("until", "v1")


def is_demanded(mark, config):
    """Say whether a server that somebody else wrote must show the behaviour."""
    return not config.server or not (mark.kwargs.get("flaw") or mark.kwargs.get("ours"))


@pytest.fixture(autouse=True)
def turn(request, tmp_path_factory):
    """Let a test with the mark `alone` run while no other process of this run runs one."""
    if not hasattr(request.config, "workerinput"):  # there is one process
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent  # which all processes share
    kind = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    with (folder / "gate").open("w") as gate, (folder / "room").open("w") as room:
        fcntl.flock(gate, fcntl.LOCK_EX)  # or those who share the room would never let one in alone
        fcntl.flock(room, kind)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture
def nc(request):
    return request.config.nc


@pytest.fixture(scope="session")
def spares():
    """A server of each stage that was started ahead, so that the next test need not wait for it."""
    spares = {}
    yield spares
    for server in spares.values():
        server.close()


@pytest.fixture
def start_server(stage, spares, request):
    """Return a function that starts the stage's server, with further options if given.

    Or the one of the option --server, which knows no options of ours, and cannot be watched.
    """
    words = [sys.executable, str(stage.server), "--port", "0"]
    servers = request.node.servers = []

    def new(*options, watched=False):
        candidate = request.config.server
        return Candidate(candidate) if candidate else Server([*words, *options], watched)

    def start(*options, watched=False):
        plain = not (options or watched)
        spare = spares.pop(stage.name, None) if plain else None
        servers.append(spare or new(*options, watched=watched))
        if plain:
            _ = servers[-1].port  # one that never listens may burn a core, a second one another
            spares[stage.name] = new()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def play(server, nc, record_property):
    """Return a function that plays a session, given as text or as steps, on the test's server."""

    def run(session):
        steps = parse(session) if isinstance(session, str) else session
        begin = time.perf_counter()
        with Play(server, nc) as player:
            player.run(steps)
        record_property("session", time.perf_counter() - begin)

    return run


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

    def accepted(self):
        """Say whether the server has picked up the connection, as far as the kernel tells."""
        found = kernel.connection(os.getpid(), self.port, self.server.port)
        return found is None or found.accepted is not False

    def send(self, data):
        """Send bytes; raise Mismatch if the server does not read them."""
        self.sent.append(data)
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass  # what comes, or does not, tells the rest
        except TimeoutError:
            raise Mismatch(
                f"a client sent {self.last_sent()}, and after {self.SECONDS} seconds the server "
                "has not read all of it"
            ) from None

    def last_sent(self):
        """Return what it has sent last, and before that, for the answer may depend on it."""
        return ", then ".join(map(shortened, self.sent[-2:]))

    def expect_error(self):
        """Read one error line; see `expect`."""
        self.expect(rb"error: [^\r\n]+\r\n", r"one line 'error: …\r\n'")

    def expect(self, pattern, described=None):
        """Read until what came matches the regular expression `pattern` (bytes) as a whole.

        An empty pattern expects the end of the connection. `described` is the pattern in words.
        Raises Mismatch when something else came, or nothing and the server is at rest; Breakdown
        when the server has ended.
        """
        received, more = b"", True
        deadline = time.monotonic() + self.SECONDS
        while more and not (pattern and re.fullmatch(pattern, received, re.DOTALL)):
            if not self.wait() or len(received) > self.MOST or time.monotonic() > deadline:
                break
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:  # it has closed with bytes of ours unread
                more = b""
            received += more
        if not re.fullmatch(pattern, received, re.DOTALL) or (more and not pattern):
            if not more and self.server.has_ended():
                raise Breakdown(
                    f"a client sent {self.last_sent()}, but the server "
                    f"{self.server.how_it_ended()}\nthe server's log:\n{self.server.log()}"
                )
            end = [] if more else ["the end of the connection"]
            if len(received) > self.MOST:
                end = ["more and more after that"]
            got = " and ".join([shortened(received)] * bool(received) + end)
            raise Mismatch(
                f"a client sent {self.last_sent()} and should have got "
                f"{described or shortened(literal(pattern))}, but got {got or 'nothing'}"
            )

    def wait(self):
        """Wait for something to read; return False if the server is at rest and nothing came."""
        if self.server.may_sleep:
            return self._readable(self.server.patience)
        while not self._readable(0.01 if kernel.LINUX else 1):
            if not kernel.LINUX or self.server.at_rest(self._all_has_arrived):
                return self._readable(0)
        return True

    def _all_has_arrived(self):
        """Say whether nothing is on the way: a long message waits for acknowledgements."""
        found = kernel.connection(os.getpid(), self.port, self.server.port)
        return found is None or not found.on_the_way

    def _readable(self, seconds):
        return bool(select.select([self.socket], [], [], seconds)[0])

    def close(self):
        self.socket.close()

    def reset(self):
        """Close so that the other end gets a reset instead of a polite goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def literal(pattern):
    """Return the bytes that a pattern without operators stands for."""
    return re.sub(rb"\\(.)", rb"\1", pattern, flags=re.DOTALL)


def shortened(data):
    """Return bytes as one would write them, and of many the first and the last ones."""
    text = repr(data)[1:]
    return text if len(text) < 100 else f"{text[:40]} … {text[-20:]} ({len(data)} bytes)"


@pytest.fixture
def connect(server):
    """Return a function that connects a Client."""
    clients = []

    def connect(to=server):
        clients.append(Client(to))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def answer(stage):
    """What the stage answers to a message that is no request: to "hello", say."""

    def answer(message):
        if stage.name < "v0.4":
            return message
        if stage.name < "v0.5":
            return (
                "{'task_01': 'see someone', 'task_02': 'read book', 'task_03': 'play basketball'}"
            )
        return "data no found"

    return answer


# Clones of the project, for what is about git, or must change nothing here.


def command(*words, input=None, **options):
    """Run a command that must end by itself; return it with its output as text."""
    options = {"stdin": subprocess.PIPE if input else subprocess.DEVNULL, "cwd": ROOT} | options
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes, **options) as process:
        try:
            output, errors = process.communicate(input, timeout=120)
        finally:
            # A command that is still running is killed only if it does not end by itself.
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=10)
                process.kill()
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


def run(folder, *words, status=0):
    """Run a command, which must end with `status`; return what it prints."""
    done = command(*words, cwd=folder)
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + done.stderr


def commit(folder, name="Student"):
    run(folder, "git", "config", "user.name", name)
    run(folder, "git", "config", "user.email", f"{name}@localhost")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", f"{name}'s commit")


def copy(folder):
    """Copy the project as it stands here, with our .venv and without git."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".ruff_cache")
    shutil.copytree(ROOT, folder, ignore=ignored)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)  # ours may be read-only
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture
def project(tmp_path):
    return copy(tmp_path / "project")


@pytest.fixture(scope="session")
def committed(tmp_path_factory):
    """The project in a repository with one commit, to be copied."""
    folder = copy(tmp_path_factory.mktemp("committed") / "project")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


@pytest.fixture
def repository(committed, tmp_path):
    return shutil.copytree(committed, tmp_path / "project", symlinks=True)


@pytest.fixture(scope="session")
def with_tags(committed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with_tags") / "project"
    shutil.copytree(committed, folder, symlinks=True)
    run(folder, "./scripts/tag")
    return folder


@pytest.fixture
def tagged(with_tags, tmp_path):
    return shutil.copytree(with_tags, tmp_path / "project", symlinks=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write into the report which behaviour it is about, and on which stage."""
    report = yield
    if mark := item.get_closest_marker("behaviour"):
        report.behaviour = mark.args[0], item.callspec.params["stage"].name
    return report


def pytest_runtest_logreport(report):
    """Gather the reports. They come from several processes, in any order."""
    if report.when == "call":
        for name, value in report.user_properties:
            {"session": durations, "unchecked": unchecked}[name].append(value)
    if hasattr(report, "behaviour") and (report.when == "call" or report.failed):
        text, stage_name = report.behaviour
        outcome = "FAILED" if report.failed else "no" if hasattr(report, "wasxfail") else "yes"
        row = outcomes.setdefault((report.location[1], text), {})
        if row.get(stage_name) != "FAILED":
            row[stage_name] = outcome


def table(rows, names):
    """Return the lines of a table in Markdown: a row a behaviour, a column a stage."""
    width = max(map(len, rows))
    marks = {"yes": "yes", "no": "–", "FAILED": "FAILED"}
    lines = [
        "| " + " | ".join(["behaviour".ljust(width), *names]) + " |",
        "| " + " | ".join(["-" * width, *(":--:" for _ in names)]) + " |",
    ]
    for text, row in rows.items():
        cells = [marks[row[name]].center(4) if name in row else "    " for name in names]
        lines.append("| " + " | ".join([text.ljust(width), *cells]) + " |")
    return lines


def pytest_terminal_summary(terminalreporter, config):
    if outcomes:
        terminalreporter.section("behaviours and stages")
        rows = {text: row for (_, text), row in sorted(outcomes.items())}
        for line in table(rows, [stage.name for stage in config.stages]):
            terminalreporter.write_line(line)
    if elsewhere := sorted(config.listeners.elsewhere):
        terminalreporter.write_line(f"ERROR: a test listened at {', '.join(elsewhere)}", red=True)
    if durations:
        median = statistics.median(durations) * 1000
        terminalreporter.write_line(f"{len(durations)} sessions, {median:.0f} ms at the median")
    if (ROOT / "stages").exists():
        places = ": ".join(["", *sorted(unchecked)])
        terminalreporter.write_line(f"{len(unchecked)} blocks of the pages are unchecked{places}")
