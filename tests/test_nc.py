"""The table of docs/machines.md, cell by cell, and what else scripts/nc.py must do."""

import contextlib
import fcntl
import itertools
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios

import psutil
import pytest
from classroom import kernel
from classroom.course import ROOT
from classroom.play import Play
from classroom.terminal import NC_OF_OURS, PATIENCE, Terminal, wait_until
from clones import command
from missing import leave_out
from test_pages import tokens_of

# From the column of the table to the command, and to the Debian package that contains it.
FLAVOURS = {
    "openbsd": (["nc.openbsd"], "netcat-openbsd"),
    "traditional": (["nc.traditional"], "netcat-traditional"),
    "ncat": (["ncat"], "ncat"),
    "busybox": (["busybox", "nc"], "busybox"),
    "scripts/nc.py": (NC_OF_OURS, "python3"),
}


@pytest.fixture
def listener():
    """A server socket of the test's own, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


def accept(listener):
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def readable(connection):
    return bool(select.select([connection], [], [], 0)[0])


# The table.


def cells():
    """Return the table as a dict from (row, column) to the words of the cell."""
    rows = []
    for token, following in itertools.pairwise(tokens_of(ROOT / "docs" / "machines.md")):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            rows[-1].append(following.content.strip("`"))
    (_, *columns), *rows = rows
    return {
        (row, column): cell
        for row, *words in rows
        for column, cell in zip(columns, words, strict=True)
    }


@contextlib.contextmanager
def connected(nc, listener):
    """Start nc in a terminal and type a line. Give the terminal and the server's connection.

    The line has arrived, but the server has not read it yet.
    """
    terminal = Terminal("A", listener.getsockname()[1], nc)
    with contextlib.closing(terminal), accept(listener) as connection:
        assert wait_until(terminal.connected)
        terminal.type("hello")
        assert wait_until(lambda: readable(connection))
        yield terminal, connection


def ended(terminal):
    terminal.read()
    return terminal.ended


def ends(terminal, condition=lambda: False):
    """Wait until nc has ended, or rests while `condition()` holds. Return whether it has ended."""

    def rests():
        return condition() and kernel.at_rest(terminal.child.pid, terminal.child.isalive)

    assert wait_until(lambda: ended(terminal) or rests()), "nc has not ended, and does not rest"
    return terminal.ended


def how_it_ended(terminal):
    # The traditional nc shows an empty line, which is not a word.
    return "ends, and says why" if terminal.unseen.strip() else "ends without a word"


def ctrl_d(nc, listener):
    with connected(nc, listener) as (terminal, connection):
        assert connection.recv(1024) == b"hello\n"
        terminal.child.sendeof()
        terminal.type("more")
        assert wait_until(lambda: readable(connection) or no_longer_reads(terminal, b"more\n"))
        connection.sendall(b"news\n")
        assert wait_until(lambda: terminal.read() or terminal.unseen == b"news\n")
        # To show the news, nc woke up when "more" was already there. It sleeps again, so what it
        # has not sent by now, it will never send.
        assert not ends(terminal, lambda: True)
        if not readable(connection):
            return "nothing; goes on showing"
        assert connection.recv(1024) == b""
        return "tells the server that you have finished; goes on showing"


def no_longer_reads(terminal, line):
    """Say whether nc has closed its input, or `line` waits there and nobody has read it."""
    try:
        keyboard = os.open(f"/proc/{terminal.child.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)
    except FileNotFoundError:
        return True
    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(keyboard, termios.FIONREAD, bytes(4)))
    finally:
        os.close(keyboard)
    return waiting == len(line)


def ctrl_c(nc, listener):
    with connected(nc, listener) as (terminal, connection):
        terminal.press_ctrl_c()
        assert connection.recv(1024) == b"hello\n"
        assert connection.recv(1024) == b""
        return how_it_ended(terminal)


def close(nc, listener):
    with connected(nc, listener) as (terminal, connection):
        assert connection.recv(1024) == b"hello\n"
        connection.close()
        if ends(terminal, terminal.closed_by_server):
            return how_it_ended(terminal)
        terminal.type("are you there?")
        # The server's kernel answers this line with a reset, and then the connection is gone.
        if ends(terminal, lambda: terminal.connection() is None):
            return f"stays until your next line, then {how_it_ended(terminal)}"
        terminal.type("are you there?")
        assert ends(terminal)
        return f"stays until the line after the next, then {how_it_ended(terminal)}"


def reset(nc, listener):
    with connected(nc, listener) as (terminal, connection):
        connection.close()  # The line is still unread, so the kernel sends a reset.
        assert ends(terminal)
        return how_it_ended(terminal)


def refused(nc, listener):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # Nobody else can take this port, and nobody listens on it.
        with contextlib.closing(Terminal("A", silent.getsockname()[1], nc)) as terminal:
            assert ends(terminal)
            return how_it_ended(terminal)


def crlf(nc, listener):
    """Which option makes nc send CRLF. busybox knows none, and only prints its help."""
    with contextlib.closing(Terminal("A", listener.getsockname()[1], [*nc, "-C"])) as terminal:
        assert wait_until(lambda: readable(listener) or ended(terminal))
        if terminal.ended:
            return "not possible"
        with accept(listener) as connection:
            terminal.type("hello")
            assert connection.makefile("rb").readline() == b"hello\r\n"
            assert wait_until(terminal.delivered)
        return "-C"


# From the row of the table to the function that tries it, and returns the words of the cell.
ROWS = {
    "you press Ctrl-D": ctrl_d,
    "you press Ctrl-C": ctrl_c,
    "the server closes the connection": close,
    "the server resets the connection": reset,
    "no server listens on the port": refused,
    "you want CRLF at the end of each line": crlf,
}


def nc_of(flavour):
    """Return the command of a flavour. If it is missing, skip the test, or fail it on CI."""
    words, package = FLAVOURS[flavour]
    if not shutil.which(words[0]):
        leave_out(f"{words[0]} is missing; install Debian's package {package}")
    return words


def test_a_terminal_shows_the_last_words_of_an_nc_that_ends_meanwhile(monkeypatch):
    terminal = Terminal("A", 9, ["sh", "-c", "read line; echo bye", "sh"])
    with contextlib.closing(terminal):

        def isalive():  # Answer as pexpect does when nc ends just after it has looked.
            monkeypatch.undo()
            terminal.child.send("\n")
            process = psutil.Process(terminal.child.pid)
            return wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)

        monkeypatch.setattr(terminal.child, "isalive", isalive)
        assert wait_until(lambda: ended(terminal))
        assert terminal.unseen == b"bye\n"


def test_a_character_may_come_in_two_parts(listener, nc):
    """The second one never comes, the second time."""
    with contextlib.closing(Terminal("A", listener.getsockname()[1], nc)) as terminal:
        client, _ = listener.accept()
        for part in (b"\xe4\xb8", b"\x96\n", b"\xe4"):
            client.sendall(part)
            assert wait_until(lambda: terminal.read() or terminal.unseen)
            terminal.unseen = b""
        client.close()
        terminal.press_ctrl_c()
        assert terminal.content[0] == ("shown", "世\n")
        assert terminal.content[1] == ("shown", r"\xe4")


def test_the_table_is_complete():
    assert list(cells()) == list(itertools.product(ROWS, FLAVOURS))


@pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells whether nc is at rest")
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_cell(row, flavour, listener):
    observed = ROWS[row](nc_of(flavour), listener)
    assert observed == cells()[row, flavour]


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_nc_is_reported(ci, outcome, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="netcat-traditional"):
        nc_of("traditional")


# scripts/nc.py


def test_our_nc_in_a_session(stage, start_server):
    with Play(start_server(watched=True), NC_OF_OURS) as player:
        player.run(stage.session())


@pytest.mark.stages(since="v0.2")
def test_our_nc_in_a_pipe(server, protocol):
    words = [*NC_OF_OURS, "127.0.0.1", str(server.port)]
    typed = protocol.request("hello").encode()
    done = subprocess.run(words, input=typed, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_help_of_our_nc():
    done = command(*NC_OF_OURS, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nc.py [-C] HOST PORT: ")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], r"usage: nc.py \[-C\] HOST PORT"),
        (["-C", "127.0.0.1"], r"usage: nc.py \[-C\] HOST PORT"),
        (["127.0.0.1", "nine"], r"usage: nc.py \[-C\] HOST PORT"),
        (["127.0.0.1", "²"], r"usage: nc.py \[-C\] HOST PORT"),
        (["127.0.0.1", "70000"], "nc.py: 127.0.0.1:70000: "),
        (["a..host", "9000"], "nc.py: a..host:9000: "),
        (["127.0.0.1", "1"], "nc.py: 127.0.0.1:1: .*Connection refused"),
    ],
)
def test_our_nc_with_bad_arguments(arguments, problem):
    done = command(*NC_OF_OURS, *arguments)
    assert done.returncode == 1
    assert re.match(problem, done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.fixture
def start(listener):
    """Return a function that starts nc.py, and gives its process and the server's connection."""
    with contextlib.ExitStack() as stack:

        def start(redirections="", **options):
            port = str(listener.getsockname()[1])
            words = ["sh", "-c", f'exec "$@" {redirections}', "sh", *NC_OF_OURS, "127.0.0.1", port]
            options = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE) | options
            process = stack.enter_context(subprocess.Popen(words, **options))
            stack.callback(process.kill)
            return process, stack.enter_context(accept(listener))

        yield start


@pytest.fixture
def long_input():
    """A file that is longer than all buffers on the way to a server."""
    with tempfile.TemporaryFile() as file:
        file.truncate(200_000_000)
        yield file


def assert_ends(process, status, problem=b""):
    """Wait for the end of nc.py, which must say nothing, or the problem in one line."""
    assert process.wait(timeout=PATIENCE) == status
    said = process.stderr.read()
    assert re.fullmatch(rb"(nc\.py: 127\.0\.0\.1:\d+: .*%b.*\n)?" % problem, said)
    assert bool(said) == bool(problem)


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("kind", ["pipe", "file", "closed"])
def test_our_nc_goes_on_showing_at_the_end_of_its_input(kind, start, tmp_path):
    said, shown = bytes(range(256)) * 400, bytes(reversed(range(256))) * 400
    (tmp_path / "input").write_bytes(said)
    with (tmp_path / "input").open() as file, (tmp_path / "output").open("wb") as output:
        options = {"stdin": file} if kind == "file" else {}
        process, connection = start("<&-" if kind == "closed" else "", stdout=output, **options)
        if kind == "pipe":
            process.stdin.write(said)
            process.stdin.close()
    assert read_all(connection) == (b"" if kind == "closed" else said)
    connection.sendall(shown)
    connection.close()
    assert_ends(process, 0)
    assert (tmp_path / "output").read_bytes() == shown


def test_our_nc_ends_with_the_connection_although_its_input_is_open(start):
    process, connection = start()
    connection.close()
    assert_ends(process, 0)


def test_our_nc_shows_all_although_it_cannot_send_any_more(start):
    process, connection = start()

    def type_a_line():
        process.stdin.write(b"hello\n")
        process.stdin.flush()

    type_a_line()
    assert connection.recv(1024) == b"hello\n"
    connection.sendall(bytes(100_000))  # more than the pipe holds: nc.py waits until we read
    ports = connection.getpeername()[1], connection.getsockname()[1]
    assert wait_until(lambda: not kernel.connection(process.pid, *ports).on_the_way)
    connection.close()
    # The thread that sends the input ends when it fails to send.
    assert wait_until(lambda: type_a_line() or psutil.Process(process.pid).num_threads() == 1)
    assert process.stdout.read() == bytes(100_000)
    assert_ends(process, 0)


def test_our_nc_reports_a_reset(start):
    process, connection = start()
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert wait_until(lambda: readable(connection))
    connection.close()
    assert_ends(process, 1, b"Connection reset by peer")


def test_our_nc_reports_a_reset_while_it_sends(start, long_input):
    for _ in range(10):  # Only one of the two threads gets the error, and not always the same one.
        long_input.seek(0)
        process, connection = start(stdin=long_input)
        assert connection.recv(1024)
        connection.close()
        assert_ends(process, 1, b"Connection reset by peer")


def test_our_nc_reports_input_that_it_cannot_read(start, tmp_path):
    process, connection = start(f'0>"{tmp_path}/input"')
    assert connection.recv(1024) == b""
    connection.close()
    assert_ends(process, 1, b"Bad file descriptor")


@pytest.mark.parametrize(
    ("redirection", "problem"), [("", b"Broken pipe"), (">&-", b"Bad file descriptor")]
)
def test_our_nc_reports_output_that_is_closed(redirection, problem, start):
    process, connection = start(redirection)
    process.stdout.close()
    connection.sendall(b"hello\n")
    assert_ends(process, 1, problem)


def test_ctrl_c_ends_our_nc_quietly(listener):
    terminal = Terminal("A", listener.getsockname()[1], NC_OF_OURS)
    with contextlib.closing(terminal), accept(listener):
        terminal.press_ctrl_c()
        assert terminal.unseen == b""
        terminal.child.wait()
        assert terminal.child.signalstatus == signal.SIGINT
