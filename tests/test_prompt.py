"""Sessions in which Python's prompt is the server: what they check, and what one sees meanwhile."""

import contextlib
import re
import socket

import pytest
from classroom import kernel, shared
from classroom import play as player_module
from classroom.drawing import client_state
from classroom.play import Mismatch, Play, Prompt
from classroom.record import Record
from classroom.session import SessionError, parse
from classroom.terminal import wait_until

SOCKET = "python> import socket\npython> sock = socket.create_server(('127.0.0.1', 9000))\n"


@pytest.fixture
def prompt():
    with contextlib.closing(Prompt()) as prompt:
        yield prompt


@pytest.fixture
def played(prompt, nc):
    """Return a function that plays a session and returns its records."""

    def played(session):
        with Play(prompt, nc) as player:
            return list(player.steps(parse(session)))

    return played


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("python> 1\npython< 1\npython leaves", "session:3: cannot read 'python leaves'"),
        ("python> 1\npython< 1\npython connects", "session:3: cannot read 'python connects'"),
        ("python> pass\npython waits", "session:2: nothing ends this wait"),
        ("ruby> 1\nruby< 1", "session:1: cannot read 'ruby> 1'"),
    ],
)
def test_what_cannot_be_played_is_refused(text, problem):
    with pytest.raises(SessionError, match=f"^{re.escape(problem)}"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("python> 1\npython< 2", r"python< 2\n  but python shows '1\\n>>> '"),
        ("python> pass\npython< 1", r"python< 1\n  but python shows '>>> '"),
        ("python> 1\npython waits\npython< 1", r"python waits\n  but python shows '1\\n>>> '"),
        ("python> pass\npython waits\npython> 2", r"python waits\n  but python shows '>>> '"),
        ("python> 1/0\npython> 2\npython< 2", r"python> 2\n  but python shows 'Traceback "),
        ("python> 1\npython< 1\npython> 2", r"python> 2\n  but then python shows '2\\n"),
        (
            "python> import time\npython> time.sleep(60)\npython> 2\npython< 2",
            r"python> 2\n  but python shows nothing",
        ),
        ("A connects\nA leaves\npython> 2\npython< 2", r"A connects\n  but A could not connect"),
        pytest.param(
            f"{SOCKET}A> hello\nA< hello",
            r"A< hello\n  but A shows nothing; nobody has called accept\(\) for A",
            marks=pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells who is accepted"),
        ),
    ],
)
def test_the_report_on_what_does_not_hold(played, monkeypatch, text, problem):
    monkeypatch.setattr(player_module, "PATIENCE", 0.5)
    with pytest.raises(Mismatch, match=f"^session:\\d+: {problem}"):
        played(text)


def test_a_prompt_that_is_late_does_not_wait(played):
    """Python computes for a while, and is at rest only once its prompt is back."""
    with pytest.raises(Mismatch, match=r"python waits\n  but python shows '>>> '"):
        played("python> x = sum(range(10_000_000))\npython waits\npython> 1")


def test_what_one_sees(played):
    session = SOCKET + (
        "python> client, address = sock.accept()\npython waits\nA connects\n"
        "python> client.recv(9)\npython waits\nA> hello\npython< b'hello\\n'\n"
    )
    seen = {}
    for record in played(session):
        assert Record.from_json(record.to_json()) == record
        (thread,) = record.threads
        seen[record.step.line] = thread.call, client_state(record, "python")[0]
    assert seen["A connects"] == ("", "")
    assert seen["python> client, address = sock.accept()"] == ("accept", "blocked in accept()")
    assert seen["A> hello"] == ("", "")
    assert seen["python> client.recv(9)"] == ("recv", "blocked in recv()")


def test_a_port_that_is_in_use_is_replaced(nc):
    """In what is typed, and in what must come back."""
    with (
        shared.lock("port-9000"),
        contextlib.closing(Prompt()) as prompt,
        Play(prompt, nc) as player,
    ):
        session = f"{SOCKET}python> sock.getsockname()\npython< ('127.0.0.1', 9000)"
        player.run(parse(session))
        shown = player.record().clients["python"].text()
        assert prompt.port > 9000
        assert f">>> sock.getsockname()\n('127.0.0.1', {prompt.port})\n" in shown
        with socket.create_connection(("127.0.0.1", prompt.port)):
            pass


def test_ctrl_c_interrupts_a_call_and_not_python(prompt, nc):
    with Play(prompt, nc) as player:
        player.run(parse(f"{SOCKET}python> sock.getblocking()\npython< True"))
        terminal = player.terminals["python"]
        terminal.type("sock.accept()")
        prompt.wait_for_rest()
        terminal.press_ctrl_c()
        assert wait_until(
            lambda: "KeyboardInterrupt\n>>> " in player.record().clients["python"].text()
        )
        assert prompt.alive()
