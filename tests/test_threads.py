"""Where the servers' threads stand, step by step, and what it costs to look."""

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import psutil
import pytest
from classroom import kernel
from classroom.play import Play
from classroom.session import parse
from classroom.terminal import Server, wait_until


@pytest.fixture
def watched(stage):
    words = [sys.executable, str(stage.server), "--port", "0"]
    with contextlib.closing(Server(words, watched=True)) as server:
        yield server


def seen(server, nc, session):
    """Play a session; return for each step (its line, where the threads stand, bytes unread)."""
    found = []
    with Play(server, nc) as player:
        for step in player.steps(parse(session)):
            assert wait_until(server.at_rest)
            moment = player.moment()
            unread = {name: c.unread for name, c in moment.connections.items() if c and c.unread}
            found.append((step.line, [str(standing) for standing in moment.standings], unread))
    assert wait_until(lambda: server.at_rest(server.standings))
    return [*found, ("all have left", [str(standing) for standing in server.standings()], {})]


@pytest.mark.stages(until="v0.1")
def test_one_thread_is_back_in_accept(watched, nc):
    session = "A> hello\nA< hello\nA> more\nA waits\nB> hello\nB< hello\nA is closed"
    accept = ["MainThread in accept"]
    unread = {"A": 5} if kernel.LINUX else {}
    assert seen(watched, nc, session) == [
        ("A> hello", accept, {}),
        ("A< hello", accept, {}),
        ("A> more", accept, unread),
        ("A waits", accept, unread),
        ("B> hello", accept, {}),
        ("B< hello", accept, {}),
        ("A is closed", accept, {}),
        ("all have left", accept, {}),
    ]


@pytest.mark.stages(since="v0.2", until="v0.2")
def test_one_thread_stays_with_its_client(watched, nc):
    session = "A> hello\nA< hello\nB> hello\nB waits\nA leaves\nB< hello"
    for_a, for_b = ["MainThread in recv for A"], ["MainThread in recv for B"]
    unread = {"B": 6} if kernel.LINUX else {}
    assert seen(watched, nc, session) == [
        ("A> hello", for_a, {}),
        ("A< hello", for_a, {}),
        ("B> hello", for_a, unread),
        ("B waits", for_a, unread),
        ("A leaves", for_b, {}),
        ("B< hello", for_b, {}),
        ("all have left", ["MainThread in accept"], {}),
    ]


@pytest.mark.stages(since="v0.3")
def test_a_thread_for_each_client(watched, nc, answer):
    session = f"A connects\nB> hello\nB< {answer('hello')}\nA leaves\nC connects"
    main, a = "MainThread in accept", "Thread-1 in recv for A"
    b, c = "Thread-2 in recv for B", "Thread-3 in recv for C"
    assert seen(watched, nc, session) == [
        ("A connects", [main, a], {}),
        ("B> hello", [main, a, b], {}),
        (f"B< {answer('hello')}", [main, a, b], {}),
        ("A leaves", [main, b], {}),
        ("C connects", [main, b, c], {}),
        ("all have left", [main], {}),
    ]


def test_processes_may_end_while_one_looks():
    """A script starts program after program; each may be gone between two looks at it."""
    words = ["/bin/sh", "-c", "while :; do (/bin/true | /bin/true) & wait; done"]
    with subprocess.Popen(words, start_new_session=True) as script:
        try:
            for _ in range(300):
                kernel.listeners(kernel.family(script.pid))
                kernel.client_port(script.pid, 1)
                if kernel.LINUX:
                    kernel.at_rest(script.pid)
        finally:
            os.killpg(script.pid, signal.SIGKILL)


def test_a_watched_server_is_the_server(stage, tmp_path):
    """Its arguments, its exit status and its last words are those of the server itself."""
    with contextlib.closing(Server([sys.executable, str(stage.server), "--port", "0"])) as other:
        words = [sys.executable, str(stage.server), "--port", str(other.port)]
        with contextlib.closing(Server(words, watched=True)) as server:
            assert wait_until(lambda: not server.alive())
            assert server.child.exitstatus == 1
            assert server.log().endswith("in use; try another --host or --port\n")
            assert server.log().count("\n") == 1
            assert server.standings() == []
    words = [sys.executable, str(stage.server), "--port", "0"]
    with contextlib.closing(Server(words, watched=True)) as server:
        assert server.port
        server.child.sendintr()
        assert wait_until(lambda: not server.alive())
        assert server.child.signalstatus == 2
        assert server.log().count("\n") == 1


def round_trips(connection):
    """Return the seconds that a hundred round trips take."""
    begin = time.perf_counter()
    for _ in range(100):
        connection.send(b"hello\n")
        connection.recv(1024)
    return time.perf_counter() - begin


@pytest.fixture
def one_core():
    """Keep this process, and the servers that it starts, on one core where the system can.

    An echo between two cores takes four times as long as one that stays, and who runs where is
    the scheduler's choice.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        yield
        os.sched_setaffinity(0, cores)
    else:
        yield


@pytest.mark.alone
@pytest.mark.stages(since="v0.3", until="v0.3")
def test_watching_costs_little(one_core, stage, watched):
    """With 20 looks a second, an echo takes less than 10 % longer, side by side in one run."""
    stop = threading.Event()

    def look():
        while not stop.wait(0.05):
            watched.standings()

    looker = threading.Thread(target=look)
    with (
        contextlib.closing(Server([sys.executable, str(stage.server), "--port", "0"])) as plain,
        socket.create_connection(("127.0.0.1", plain.port)) as to_plain,
        socket.create_connection(("127.0.0.1", watched.port)) as to_watched,
    ):
        looker.start()
        try:
            ratios = [round_trips(to_watched) / round_trips(to_plain) for _ in range(100)]
        finally:
            stop.set()
            looker.join()

    assert statistics.median(ratios) < 1.1


@pytest.mark.alone
@pytest.mark.stages(since="v0.3", until="v0.3")
def test_watching_an_idle_server_costs_next_to_nothing(watched):
    process = psutil.Process(watched.child.pid)
    watched.standings()
    before = sum(process.cpu_times()[:2])
    for _ in range(20):
        watched.standings()
        time.sleep(0.05)  # the time between two looks
    assert sum(process.cpu_times()[:2]) - before < 0.05
