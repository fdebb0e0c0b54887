"""Crowds of clients. They are plain sockets: hundreds of nc would measure nc."""

import contextlib
import os
import resource
import selectors
import socket
import sys
import time

import psutil
import pytest
from classroom import kernel
from classroom.terminal import Server, wait_until

CROWD, IDLERS = 200, 1000


@pytest.fixture
def many_files():
    """Allow this process, and the servers that it starts, a file for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = max(soft, min(IDLERS + 200, hard) if hard != resource.RLIM_INFINITY else IDLERS + 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def crowd():
    """A list for connected sockets; they are closed with the test."""
    clients = []
    yield clients
    for client in clients:
        client.close()


def sent_again(client):
    """Return how many packets Linux had to send again (struct tcp_info, tcpi_total_retrans)."""
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[100:104], sys.byteorder)


@pytest.mark.stages(since="v0.3")
def test_a_crowd_is_answered_at_once(server, crowd, protocol):
    """200 clients connect and speak at once; all have their first answers within half a second.

    Of processor time, which load does not stretch. Who is not let into the queue tries again a
    second later, and that is seen as well.
    """
    process = psutil.Process(server.child.pid)

    def busy():
        return sum(process.cpu_times()[:2]) + sum(os.times()[:2])

    waiting = selectors.DefaultSelector()
    begin = busy()
    for _ in range(CROWD):
        client = socket.socket()
        crowd.append(client)
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", server.port))
        waiting.register(client, selectors.EVENT_WRITE)
    while waiting.get_map() and (ready := waiting.select(5)):
        for key, events in ready:
            if events == selectors.EVENT_WRITE:  # connected
                key.fileobj.send(protocol.request("hello").encode())
                waiting.modify(key.fileobj, selectors.EVENT_READ)
            else:
                assert key.fileobj.recv(1024)
                waiting.unregister(key.fileobj)
    assert not waiting.get_map(), "somebody got no answer"
    assert busy() - begin < 0.5
    if kernel.LINUX:
        assert not any(map(sent_again, crowd)), "somebody had to try again"


def cost(process, client, request):
    """Return the least processor time in seconds that 100 answers cost the server, of 20 tries."""

    def used():
        if sys.platform == "linux":  # where psutil counts in hundredths of a second
            return time.clock_gettime((~process.pid << 3) | 2)  # as clock_getcpuclockid() makes it
        return sum(process.cpu_times()[:2])

    costs = []
    for _ in range(20):
        before = used()
        for _ in range(100):
            client.send(request)
            client.recv(1024)
        costs.append(used() - before)
    return min(costs)


@pytest.mark.stages(since="v0.3")
def test_idle_clients_slow_nobody(many_files, start_server, crowd, protocol):
    """An answer costs as much beside 1,000 idle clients, and nothing is left of them."""
    server = start_server("--timeout", "60")  # not one that was started before many_files
    process = psutil.Process(server.child.pid)
    alone = socket.create_connection(("127.0.0.1", server.port))
    crowd.append(alone)
    request = protocol.request("hello").encode()
    before = cost(process, alone, request)
    files = process.num_fds()
    crowd += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(IDLERS)]
    last = socket.create_connection(("127.0.0.1", server.port))
    crowd.append(last)
    assert wait_until(lambda: process.num_threads() == IDLERS + 3)
    server.wait_for_rest()  # each thread has logged its client
    # Between two cores an answer costs up to five times as much as on one. Any work for each idle
    # client costs more: 50 times, if all that is done is to ask whether its thread is alive.
    assert cost(process, last, request) < 10 * before
    for client in crowd[1:]:
        client.close()
    assert wait_until(lambda: process.num_threads() == 2 and process.num_fds() == files)


@pytest.mark.stages(since="v0.3")
@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("ulimit -n 32", "[Errno 24] Too many open files"),
        pytest.param(
            "ulimit -s 500000; ulimit -v 3000000",  # kilobytes: threads whose stacks do not fit
            "can't start new thread",
            marks=pytest.mark.skipif(not kernel.LINUX, reason="macOS does not limit the memory"),
        ),
    ],
)
def test_out_of_files_or_threads(stage, crowd, limit, reason, protocol):
    """The server says so in one line, and goes on with the clients that it has.

    It accepts nobody after that: a limit of the design, which a lesson explains.
    """
    words = [sys.executable, str(stage.server), "--port", "0"]
    limited = ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh", *words]
    output = f"\ncannot accept more clients: {reason}; end this server and start it again\n"
    with contextlib.closing(Server(limited)) as server:
        crowd += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        assert wait_until(lambda: output in server.log())
        crowd[0].send(protocol.request("hello").encode())
        assert crowd[0].recv(1024)
        for client in crowd:
            client.close()
        assert wait_until(lambda: not server.alive())
        assert server.child.exitstatus == 1
        assert "Traceback" not in server.log()
