"""The suite's options, on which stages each test runs, and what the tests need to drive a server.

A behaviour is a test with the mark `behaviour`. It runs on every stage. From its first stage to
its last it must pass; on every other stage it must fail, and for one reason only: the server
answered something else, or nothing (a Mismatch). So none is a test that cannot fail. What all
stages show fails on the servers of tests/broken/, or on the mutants of .ci/mutate.
"""

import contextlib
import os
import shlex
import sys
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from classroom import interrupts, shared
from classroom.check import candidate
from classroom.check.candidate import SWITCHING, Candidate, is_python_file, sweep
from classroom.course import ROOT, number_of, stages
from classroom.play import Mismatch, Play
from classroom.session import SessionError, parse
from classroom.terminal import Breakdown, Server, find_nc
from client import Client

# These test one stage after the other. The rest test our commands and pages.
OF_A_STAGE = {
    "test_behaviours.py",
    "test_browser.py",
    "test_lessons.py",
    "test_load.py",
    "test_properties.py",
}
pytest_plugins = ["browser", "clones", "listeners", "summary"]


def pytest_addoption(parser):
    group = parser.getgroup("classroom")
    group.addoption("--stage", action="append", help="a stage to test, v0.3 for example")
    group.addoption("--nc", help="the command that starts nc, with its options")
    group.addoption("--draw", action="store_true", help="draw the picture of v1.0's page anew")
    group.addoption("--server", help="test the server that this command starts, not the stage's")


def pytest_ignore_collect(collection_path, config):
    """With --stage, and at a tag, leave out all that is not about one stage.

    pytest does not ask about a file that is named on the command line.
    """
    one_stage = config.getoption("stage") or not (ROOT / "stages").exists()
    if one_stage and collection_path.suffix == ".py" and collection_path.name not in OF_A_STAGE:
        return True
    return None


def pytest_configure(config):
    """Learn which stages and which nc to use, and stop at once if they are not there."""
    interrupts.install()  # so that what the tests have started ends with them
    try:
        here = {stage.name: stage for stage in stages()}
        for stage in here.values():
            stage.sessions()
    except SessionError as problem:
        raise pytest.UsageError(str(problem)) from None
    wanted = config.getoption("stage") or list(here)
    if unknown := [name for name in wanted if name not in here]:
        raise pytest.UsageError(f"no stage {unknown[0]} here; there is {', '.join(here)}")
    config.stages = [here[name] for name in here if name in wanted]
    config.server = shlex.split(config.getoption("server") or "")
    option = config.getoption("nc")
    words = shlex.split(option) if option else find_nc()
    # Some tests start nc in another folder.
    config.nc = [str(Path(word).absolute()) if "/" in word else word for word in words]
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


@pytest.hookimpl(optionalhook=True)  # scripts/check does not load xdist
def pytest_xdist_auto_num_workers():
    """Run one test more than there are cores: many of them wait for a server."""
    return (os.cpu_count() or 1) + 1


def pytest_keyboard_interrupt(excinfo):
    """Let nothing interrupt the rest, in which the servers are closed."""
    if type(excinfo.value) is KeyboardInterrupt:  # pytest has subclasses for its own ends
        interrupts.ignore()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    """Interrupt the workers, too: xdist would let their tests go on, and kill them at last."""
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        for worker in workers(session.config):
            with contextlib.suppress(psutil.Error):
                worker.terminate()


def pytest_unconfigure(config):
    """Remove what killed checks have left behind, in this run or in an earlier one."""
    if not hasattr(config, "workerinput"):
        psutil.wait_procs(workers(config), 10)  # one that was killed holds its locks until its end
        sweep()


def workers(config):
    """Return the processes in which xdist runs the tests."""
    return psutil.Process().children() if config.pluginmanager.hasplugin("dsession") else []


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
            # The others show the flaws of our servers, which those of others need not have.
            for steps in ([stage.session()] if metafunc.config.server else stage.sessions())
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
        if not is_demanded(mark, config)
        or (
            (mark.name == "stages" or config.server)
            and not shows(mark, item.callspec.params["stage"].name)
        )
    ]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
    # The long ones first, or one process would still run them when the others have ended. The
    # silence has begun before, so that nobody waits for all of it.
    items.sort(
        key=lambda item: (item.path.stem != "test_check", item.originalname == "test_long_silence")
    )


def shows(mark, stage_name):
    """Say whether the stage must show the behaviour."""
    since, until = mark.kwargs.get("since", "v0.1"), mark.kwargs.get("until", stage_name)
    return number_of(since) <= number_of(stage_name) <= number_of(until)


def is_demanded(mark, config):
    """Say whether our servers, or the one that somebody else wrote, must show the behaviour."""
    if config.server:
        return not (mark.kwargs.get("flaw") or mark.kwargs.get("ours"))
    return not mark.kwargs.get("theirs")


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


@pytest.fixture(scope="session")
def silence(request):
    with contextlib.closing(Silence(request.config.server)) as silence:
        yield silence


class Silence:
    """A client that stays silent while the other behaviours are checked, on a server of its own."""

    def __init__(self, words):
        self._words = words
        self._server = self._client = None
        self.until = None  # in the seconds of time.monotonic()

    def begin(self):
        """Start the server, and connect when it is called again: by then the server listens."""
        if self._server:
            with contextlib.suppress(Breakdown):  # test_long_silence tries again, and reports it
                self.client()
        else:
            self._server = Candidate(self._words)

    def client(self):
        """Return the Client; connect it if it is not connected yet."""
        self._server = self._server or Candidate(self._words)
        if not self._client:
            self._client = Client(self._server)
            self.until = time.monotonic() + candidate.SILENCE
        return self._client

    def close(self):
        for each in (self._client, self._server):
            if each:
                each.close()


@pytest.fixture
def start_server(stage, spares, silence, request):
    """Return a function that starts the stage's server, with further options if given.

    Or the one of the option --server, which knows no options of ours, and cannot be watched.
    """
    theirs = request.config.server
    servers = request.node.servers = []

    def new(*options, watched=False, switching=False):
        if theirs:
            return Candidate(theirs, switching=switching)
        runner = [SWITCHING] if switching else []
        words = [sys.executable, *runner, str(stage.server), "--port", "0", *options]
        return Server(words, watched)

    def start(*options, watched=False, switching=False):
        # In other languages, threads take turns as they like.
        switching = switching and (not theirs or is_python_file(theirs))
        plain = not (options or watched or switching)
        spare = spares.pop(stage.name, None) if plain else None
        servers.append(spare or new(*options, watched=watched, switching=switching))
        if plain:
            _ = servers[
                -1
            ].port  # if it never listens, a second server would only use one more core
            spares[stage.name] = new()
            if theirs:
                silence.begin()
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
def protocol(stage):
    return Protocol(stage)


class Protocol:
    """What a client of a stage says that asks for nothing special, and what it must get."""

    def __init__(self, stage):
        self.number = stage.number
        self.is_echo = self.number < (0, 4)

    def request(self, text):
        """Return what a client sends; `text` is unknown to the server."""
        if self.number >= (0, 8):
            return f"GET /{quote(text)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        return f"{text}\n"

    def response(self, text):
        """Return what it gets, without a last line end."""
        if self.number < (0, 4):
            return text
        if self.number < (0, 5):
            return (
                "{'task_01': 'see someone', 'task_02': 'read book', 'task_03': 'play basketball'}"
            )
        if self.number < (0, 8):
            return "data no found"
        kind = "plain" if self.number < (1, 0) else "html"
        return (
            f"HTTP/1.1 404 Not Found\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
            "Content-Length: 14\r\n\r\nno key match"
        )

    def own_request(self, client, message):
        """Return the bytes that a client sends; `client` and `message` are numbers."""
        if self.number < (0, 5):
            return f"client {client}, message {message}\n".encode()
        if self.number < (0, 8):
            return f"GET/{self._task(client)[0]}/status\n".encode()
        return self.request(self._task(client)[0]).encode()

    def expect_own_response(self, connected, client, message):
        """Let a Client read its response; where the stage can tell, not another client's."""
        if self.number < (0, 4):
            connected.expect(self.own_request(client, message))
        elif self.number < (0, 8):
            text = self._task(client)[1]
            expected = self.response("") if self.number < (0, 5) else f"{text}\r\n"
            connected.expect(expected.encode())
        else:
            connected.expect_response(200, self._task(client)[1])

    def _task(self, client):
        """Return the key and the text of the task that a client asks for."""
        tasks = ("task_01", "see someone"), ("task_02", "read book"), ("task_03", "play basketball")
        # All threads of v0.8 share one request.
        return tasks[0 if self.number == (0, 8) else client % 3]

    def asks(self, letter, text):
        """Return the lines of a session in which a terminal asks."""
        lines = self.request(text).splitlines()
        return "\n".join(f"{letter}> {line}" for line in lines)

    def gets(self, letter, text):
        """Return the lines of a session in which a terminal gets its response."""
        lines = self.response(text).split("\r\n")
        return "\n".join(f"{letter}< {line}" for line in lines)

    def talks(self, letter, text):
        """Return both."""
        return f"{self.asks(letter, text)}\n{self.gets(letter, text)}"
