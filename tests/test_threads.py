"""The lines at which the servers' threads are, step by step, and what it costs to look."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from classroom import kernel
from classroom.play import Play
from classroom.record import Record
from classroom.session import parse
from classroom.terminal import Server, wait_until


@pytest.fixture
def watched(stage):
    words = [sys.executable, str(stage.server), "--port", "0"]
    with contextlib.closing(Server(words, watched=True)) as server:
        yield server


def seen(server, nc, session):
    """Play a session; return for each step (its line, the threads, bytes unread)."""
    found = []
    with Play(server, nc) as player:
        for record in player.steps(parse(session)):
            assert Record.from_json(record.to_json()) == record
            unread = {name: c.unread for name, c in record.clients.items() if c.unread}
            found.append((record.step.line, [str(thread) for thread in record.threads], unread))
    assert wait_until(lambda: server.at_rest(server.threads))
    return [*found, ("all have left", [str(thread) for thread in server.threads()], {})]


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
def test_a_thread_for_each_client(watched, nc, protocol, stage):
    talk = protocol.talks("B", "hello")
    call = "readline" if stage.number >= (0, 8) else "recv"
    main, a = "MainThread in accept", f"Thread-1 in {call} for A"
    b, c = f"Thread-2 in {call} for B", f"Thread-3 in {call} for C"
    assert seen(watched, nc, f"A connects\n{talk}\nA leaves\nC connects") == [
        ("A connects", [main, a], {}),
        *((line.rstrip(), [main, a, b], {}) for line in talk.splitlines()),
        ("A leaves", [main, b], {}),
        ("C connects", [main, b, c], {}),
        ("all have left", [main], {}),
    ]


@pytest.mark.stages(since="v0.8")
def test_the_request_that_each_thread_sees(watched, nc, stage):
    """In v0.8, A's thread sees what B has asked."""
    session = (
        "A> GET /task_01 HTTP/1.1\nB> GET /task_02 HTTP/1.1\nserver: Thread-2 in readline for B"
    )
    with Play(watched, nc) as player:
        *_, record = player.steps(parse(session))
    requests = {thread.client: thread.request for thread in record.threads}
    for_a = "GET /task_02 HTTP/1.1" if stage.name == "v0.8" else "GET /task_01 HTTP/1.1"
    assert requests == {"": "", "A": for_a, "B": "GET /task_02 HTTP/1.1"}


@pytest.mark.stages(since="v0.4")
def test_the_tasks_of_the_server(watched, nc, protocol, stage):
    """They are in each record, as they are at that moment."""
    tasks = {"task_01": "see someone", "task_02": "read book", "task_03": "play basketball"}
    session = f"{protocol.asks('A', 'hello')}\n{protocol.gets('A', 'hello')}"
    if stage.name == "v0.6":
        session += "\nA> POST/task_04=sleep/now\nA< submit success"
        tasks["task_04"] = "sleep"
    with Play(watched, nc) as player:
        *_, record = player.steps(parse(session))
    assert record.todo_list == tasks


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
            assert server.threads() == []
    words = [sys.executable, str(stage.server), "--port", "0"]
    with contextlib.closing(Server(words, watched=True)) as server:
        assert server.port
        server.child.sendintr()
        assert wait_until(lambda: not server.alive())
        assert server.child.signalstatus == 2
        assert server.log().count("\n") == 2


@pytest.mark.parametrize("linux", [kernel.LINUX, False])
def test_what_the_kernel_tells_of_a_connection(linux, monkeypatch):
    """It is one of several of the process. A FIN is no byte."""
    monkeypatch.setattr(kernel, "LINUX", linux)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = listener.getsockname()
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(3)]
        numbers = [client.getsockname()[1] for client in clients]
        assert kernel.connection(os.getpid(), 1, address[1]) is None
        clients[1].send(b"hello")
        clients[1].shutdown(socket.SHUT_WR)

        def look():
            found = [kernel.connection(os.getpid(), number, address[1]) for number in numbers]
            return [(each.unread, each.received) for each in found]

        expected = [(0, 0), (5, 5), (0, 0)] if linux else [(None, None)] * 3
        assert wait_until(lambda: look() == expected), look()
        stack.enter_context(listener.accept()[0])
        server = stack.enter_context(listener.accept()[0])
        assert (server.recv(10), server.recv(10)) == (b"hello", b"")
        assert look()[1] == ((0, 5) if linux else (None, None))


@pytest.mark.skipif(not kernel.LINUX, reason="only Linux counts how often a thread was woken up")
@pytest.mark.stages(since="v0.3", until="v0.3")
def test_nothing_runs_between_two_looks(watched):
    """While nobody asks, the thread that answers sleeps, so a watched server is as fast as another.

    It counts how often the kernel woke the thread up, not seconds, which load would stretch.
    """

    def times_woken():
        task = f"/proc/{watched.child.pid}/task/{watched.watch.thread_id}/status"
        return re.findall(r"_switches:\s+(\d+)", Path(task).read_text(encoding="ascii"))

    def echo():
        client.send(b"hello\n")
        assert client.recv(1024)

    with socket.create_connection(("127.0.0.1", watched.port)) as client:
        echo()  # while they start, threads wait for each other, and seem to be at rest
        assert watched.threads()
        assert wait_until(lambda: kernel.at_rest(watched.child.pid))
        before = times_woken()
        for _ in range(1000):
            echo()
        assert times_woken() == before
        assert watched.threads()
        assert times_woken() != before


@pytest.mark.skipif(not kernel.LINUX, reason="psutil counts in hundredths of a second")
@pytest.mark.stages(since="v0.3", until="v0.3")
def test_a_look_costs_little(watched):
    """The demo looks 20 times a second: at a millisecond a look, that is 2 % of a core."""
    processor_clock = (~watched.child.pid << 3) | 2  # as clock_getcpuclockid() makes it
    assert watched.port  # it listens, so it is in its own source
    costs = []
    for _ in range(20):
        before = time.clock_gettime(processor_clock)
        assert watched.threads()
        costs.append(time.clock_gettime(processor_clock) - before)
    assert min(costs) < 0.001  # other programs can make a look more expensive, never cheaper
