"""What the servers do, each behaviour said once, with the stages that show it."""

import contextlib
import re
import selectors
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
from classroom.terminal import PATIENCE, Server, wait_until


def behaviour(text, **kwargs):
    """Mark a test as a behaviour of the stages from `since` to `until`.

    `flaw=True` says that it is a flaw which a lesson tells of: a server without it is no worse.
    """
    return pytest.mark.behaviour(text, **kwargs)


WHOLE_LIST = b"{'task_01': 'see someone', 'task_02': 'read book', 'task_03': 'play basketball'}"
ERROR_LINE = rb"error: [^\r\n]+\r\n"


# Echo.


@behaviour("the first message is echoed", until="v0.3")
def test_first_message(play):
    play("""
        A> hello
        A< hello
    """)


@behaviour("a second message waits in the kernel, never to be read", until="v0.1")
def test_second_message_waits(play):
    play("""
        A> hello
        A< hello
        A> are you there?
        A waits
        A leaves
    """)


@behaviour("an answered client is let go when the next one connects", until="v0.1", flaw=True)
def test_let_go(connect):
    first, second = connect(), connect()
    for client in (first, second):
        client.send(b"hello\n")
        client.expect(rb"hello\n")
    first.expect(b"")


@behaviour("every message is echoed", since="v0.2", until="v0.3")
def test_every_message(play):
    play("""
        A> one
        A< one
        A> two
        A< two
        A> three
        A< three
    """)


@behaviour("an empty line is echoed", until="v0.3")
def test_empty_line(play):
    play("""
        A>
        A<
    """)


@behaviour("text in any script is echoed", until="v0.3")
def test_any_script(play):
    play("""
        A> grüß dich, 世界
        A< grüß dich, 世界
    """)


@behaviour("bytes that are no UTF-8 are echoed as they are", until="v0.3")
def test_echo_of_bytes(connect):
    client = connect()
    client.send(b"\xff\x00\xfe\n")
    client.expect(rb"\xff\x00\xfe\n")


@behaviour("1,024 bytes are echoed", until="v0.3")
def test_1024_bytes(play):
    play(f"A> {'x' * 1023}\nA< {'x' * 1023}")


@behaviour("a message longer than one recv() is echoed whole", since="v0.2", until="v0.3")
def test_long_message(connect):
    client = connect()
    message = bytes(range(256)) * 200
    client.send(message)
    client.expect(re.escape(message))


# Who is served, and who waits.


@behaviour("a client that stays silent keeps the others waiting", until="v0.2")
def test_silent_client_blocks(play):
    play("""
        A connects
        B> hello
        B waits
        A leaves
        B< hello
    """)


@behaviour("a second client waits until the first has left", since="v0.2", until="v0.2")
def test_second_client_waits(play):
    play("""
        A> hello
        A< hello
        B> what I typed
        B> while I waited
        B waits
        A> still here
        A< still here
        B waits
        A leaves
        B< what I typed
        B< while I waited
    """)


@behaviour("a client is served while another one is silent", since="v0.3")
def test_served_beside_silent(play, answer):
    play(f"""
        A connects
        B> hello
        B< {answer("hello")}
    """)


@behaviour("a client is served while another one chats", since="v0.3")
def test_served_beside_chatting(play, answer):
    play(f"""
        A> one
        A< {answer("one")}
        B> two
        B< {answer("two")}
        A> three
        A< {answer("three")}
        B> four
        B< {answer("four")}
    """)


@behaviour("eight clients are served at once, each with its own answers", since="v0.3")
def test_eight_clients(play, answer):
    letters = "ABCDEFGH"
    lines = [f"{letter} connects" for letter in letters]
    for message in ("first", "second"):
        lines += [f"{letter}> {message} of {letter}" for letter in letters]
        lines += [f"{letter}< {answer(f'{message} of {letter}')}" for letter in letters]
    play("\n".join(lines))


@behaviour("a client that leaves makes room for the next one")
def test_next_client(play, answer):
    play(f"""
        A> hello
        A< {answer("hello")}
        A leaves
        B> hello
        B< {answer("hello")}
    """)


@behaviour("a client that leaves without a word makes room for the next one")
def test_next_client_after_silence(play, answer):
    play(f"""
        A connects
        A leaves
        B> hello
        B< {answer("hello")}
    """)


@behaviour("a client that breaks off with a reset makes room for the next one")
def test_next_client_after_reset(play, answer, connect, server):
    client = connect()
    assert wait_until(lambda: f":{client.port} connected" in server.log())
    client.reset()
    play(f"A> hello\nA< {answer('hello')}")
    assert re.search(rf":{client.port} left: .*[Rr]eset", server.log())


@behaviour("a client that has said all it wants still gets its answer")
def test_half_close(connect, answer):
    client = connect()
    client.send(b"hello\n")
    client.socket.shutdown(socket.SHUT_WR)
    client.expect(re.escape(answer("hello").encode()) + rb"(\r?\n)?")


@pytest.fixture(scope="session")
def idle(request):
    """Let a client of each stage sit silent, all at once, on servers with a timeout of one second.

    Returns {the stage's name: (seconds until the server closed, the server's log after that)}.
    """
    found = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for stage in request.config.stages:
            words = [sys.executable, str(stage.server), "--port", "0", "--timeout", "1"]
            server = stack.enter_context(contextlib.closing(Server(words)))
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            data = stage.name, server, time.monotonic()
            selector.register(client, selectors.EVENT_READ, data)
        while selector.get_map() and (ready := selector.select(PATIENCE)):
            for key, _ in ready:
                assert key.fileobj.recv(1) == b""
                selector.unregister(key.fileobj)
                name, server, begin = key.data
                seconds = time.monotonic() - begin
                wait_until(lambda server=server: " left: " in server.log())
                found[name] = seconds, server.log()
    return found


@behaviour("an idle client is let go after the timeout")
def test_idle_timeout(stage, idle):
    seconds, log = idle[stage.name]
    assert 0.9 < seconds < 4
    assert "left: timed out" in log


@behaviour("clients that have gone leave no thread, no open file and no work behind")
def test_nothing_left_behind(connect, server):
    process = psutil.Process(server.child.pid)
    files = process.num_fds()
    for way_to_leave in ("close", "reset") * 4:
        client = connect()
        client.send(b"hello\n")
        assert client.socket.recv(1)
        getattr(client, way_to_leave)()
    # v0.1 keeps its last client until the next one comes; hence the 1.
    assert wait_until(lambda: process.num_threads() == 1 and process.num_fds() <= files + 1)
    # A busy loop shows in time that passes, so there is nothing to wait for but time itself.
    before = process.cpu_times()
    time.sleep(0.1)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.02


# The ToDo list.


@behaviour("anything is answered with the whole list and no line end", since="v0.4", until="v0.4")
def test_whole_list(connect):
    client = connect()
    for message in (b"x" * 1024, b"hello\n", b"\xff\n", b"GET/task_01/status\n"):
        client.send(message)
        client.expect(re.escape(WHOLE_LIST))


@behaviour("GET gives a task's text", since="v0.5")
def test_get(play):
    play("""
        A> GET/task_01/status
        A< see someone
        A> GET/task_03/status
        A< play basketball
    """)


@behaviour("a request may be 1,024 bytes long", since="v0.5")
def test_long_request(connect):
    client = connect()
    client.send(b"GET/task_01/".ljust(1023, b"x") + b"\n")
    client.expect(rb"see someone\r\n")


@behaviour("GET of an unknown task says so", since="v0.5")
def test_get_unknown(play):
    play("""
        A> GET/task_99/status
        A< no key match
    """)


@behaviour("a message that is no request finds no data", since="v0.5")
def test_no_request(play):
    play("""
        A> hello
        A< data no found
        A>
        A< data no found
    """)


@behaviour("an answer ends in CRLF", since="v0.5")
def test_crlf(connect):
    client = connect()
    client.send(b"GET/task_01/status\n")
    client.expect(rb"see someone\r\n")
    client.send(b"hello\r\n")
    client.expect(rb"data no found\r\n")


@behaviour("a GET of another shape gets one error line, and the connection goes on", since="v0.5")
def test_get_of_another_shape(connect):
    client = connect()
    for message in (b"GET\n", b"GET/task_01\n", b"GET/task_01/status/x\n"):
        client.send(message)
        client.expect(ERROR_LINE)
        client.send(b"GET/task_01/status\n")
        client.expect(rb"see someone\r\n")


@behaviour("bytes that are no UTF-8 get one error line, and the connection goes on", since="v0.5")
def test_no_utf8(connect):
    client = connect()
    client.send(b"GET/\xff\xfe/status\n")
    client.expect(ERROR_LINE)
    client.send(b"GET/task_01/status\n")
    client.expect(rb"see someone\r\n")


@behaviour("POST stores a task, new or old, for every client", since="v0.6")
def test_post(play):
    play("""
        A connects
        B> POST/task_04=learn sockets/status
        B< submit success
        A> GET/task_04/status
        A< learn sockets
        A> POST/task_01=世界/status
        A< submit success
        A leaves
        B> GET/task_01/status
        B< 世界
        C> GET/task_04/status
        C< learn sockets
        C> GET/task_02/status
        C< read book
    """)


@behaviour("a POST of another shape gets one error line and stores nothing", since="v0.6")
def test_post_of_another_shape(connect):
    client = connect()
    for message in (b"POST\n", b"POST/task_01=x\n", b"POST/task_01/status\n"):
        client.send(message)
        client.expect(ERROR_LINE)
        client.send(b"GET/task_01/status\n")
        client.expect(rb"see someone\r\n")


# Flaws that a lesson tells of.


@behaviour("two requests in one packet are taken for one", since="v0.5", flaw=True)
def test_two_requests_in_one_packet(connect):
    client = connect()
    client.send(b"GET/task_01/status\nGET/task_02/status\n")
    client.expect(ERROR_LINE)
    client.send(b"GET/task_01/status\n")
    client.expect(rb"see someone\r\n")


@behaviour("one request in two packets is taken for two", since="v0.5", flaw=True)
def test_one_request_in_two_packets(connect):
    client = connect()
    client.send(b"GET/task")
    client.expect(ERROR_LINE)
    client.send(b"_01/status\n")
    client.expect(rb"data no found\r\n")


@behaviour("FORGET/task_01/status is taken for a GET", since="v0.5", flaw=True)
def test_forget(play):
    play("""
        A> FORGET/task_01/status
        A< see someone
    """)


@behaviour("a value cannot hold / or =", since="v0.6", flaw=True)
def test_value_with_a_separator(connect):
    client = connect()
    for value in (b"and/or", b"a=b"):
        client.send(b"POST/task_01=" + value + b"/status\n")
        client.expect(ERROR_LINE)
        client.send(b"GET/task_01/status\n")
        client.expect(rb"see someone\r\n")


# The program: its options, and how it ends.


def run(stage, *options):
    """Run a server that must end by itself; return its exit status and standard error."""
    done = subprocess.run(
        [sys.executable, str(stage.server), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@behaviour("a port in use is one clear line and exit status 1")
def test_port_in_use(stage, server):
    status, error = run(stage, "--port", str(server.port))
    assert status == 1
    assert re.fullmatch(r"127\.0\.0\.1:\d+: .*in use; try another --host or --port\n", error)


@behaviour("a bad option is told in one line")
@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("--port nine", 2),
        ("--port 70000", 1),
        ("--timeout 0", 2),
        ("--timeout nan", 2),
        ("--host ::1", 1),
        ("--colour red", 2),
    ],
)
def test_bad_option(stage, options, status):
    name, value = options.split()
    returned, error = run(stage, name, value)
    assert returned == status
    *usage, last = error.splitlines()
    assert not usage or usage[0].startswith("usage:")
    assert name in last or value in last
    assert "Traceback" not in error


@behaviour("it listens on loopback unless told otherwise")
def test_loopback(server):
    assert f"MainThread: listening on 127.0.0.1:{server.port}\n" in server.log()


@behaviour("Ctrl-C ends it at once and quietly, with clients connected")
def test_ctrl_c(server, connect, answer):
    for _ in range(3):
        connect()
    log = server.log()
    server.child.sendintr()
    assert wait_until(lambda: not server.alive(), 1)
    assert server.child.signalstatus == signal.SIGINT
    assert "Traceback" not in server.log()
    assert server.log().count("\n") <= log.count("\n") + 3  # "connected" may still come


@behaviour("its port is free again as soon as it has ended")
def test_port_is_free_again(server, connect, start_server):
    client = connect()
    client.send(b"hello\n")
    assert client.socket.recv(1024)
    server.child.sendintr()  # the server closes first: its end stays behind in TIME_WAIT
    assert client.socket.recv(1024) == b""
    client.close()
    assert start_server("--port", str(server.port)).port == server.port
