"""The notation of sessions and the player: what they refuse, and how they say it."""

import contextlib
import dataclasses
import re
import sys

import pytest
from classroom import kernel
from classroom.play import Breakdown, Mismatch, Play
from classroom.session import SessionError, parse, sessions_of
from classroom.terminal import Server, find_nc

# A server that is wrong on purpose: it does `reply` with each message.
WRONG = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    while data := client.recv(1024):
        {reply}
"""


def play(reply, text):
    """Play the session `text` on a server that does `reply` with each message."""
    server = Server([sys.executable, "-c", WRONG.format(reply=reply)])
    try:
        with Play(server, find_nc()) as player:
            player.run(parse(text))
    finally:
        server.close()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A> x\nA< x\na> y", r"session:3: cannot read 'a> y'; a line is A> text"),
        ("A> x\nA < x", r"session:2: cannot read 'A < x'"),
        ("A> x\nA<x", r"session:2: cannot read 'A<x'"),
        ("#remark\nA> x", r"session:1: cannot read '#remark'"),
        ("A< x", r"session:1: A is not connected"),
        ("A> x\nA< x\nA leaves\nA waits", r"session:4: A is not connected"),
        ("A connects\nA connects\nA is closed", r"session:2: A is connected already"),
        ("A> x\nA< x\nA> y\nA waits", r"session:4: nothing ends this wait; let a line A< "),
        ("A> x\nA leaves", r"session:1: this session checks nothing"),
        ("", r"session:1: this session checks nothing"),
    ],
)
def test_what_cannot_be_played_is_refused(text, problem):
    with pytest.raises(SessionError, match=f"^{re.escape(problem)}"):
        parse(text)


def test_every_kind_of_line_is_read():
    lines = ["# why", "A connects", "A> hi there", "A< hi", "A>", "A<", "A waits", "A is closed"]
    lines += ["B> x", "B leaves"]
    steps = parse("\n".join(lines))
    assert [step.line for step in steps] == lines
    assert [(step.action, step.terminal, step.text) for step in steps] == [
        ("remark", "", "why"),
        ("connects", "A", ""),
        ("types", "A", "hi there"),
        ("shows", "A", "hi"),
        ("types", "A", ""),
        ("shows", "A", ""),
        ("waits", "A", ""),
        ("is closed", "A", ""),
        ("types", "B", "x"),
        ("leaves", "B", ""),
    ]


def test_sessions_are_found_in_markdown_with_their_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lesson = tmp_path / "lesson.md"
    lesson.write_text(
        "text\n\n```session\nA> x\nA< x\n```\n\n```sh\nls\n```\n\n```session\nB< y\n```"
    )
    sessions = sessions_of(lesson)
    assert [step.place for step in next(sessions)] == ["lesson.md:4", "lesson.md:5"]
    with pytest.raises(SessionError, match=r"^lesson\.md:13: B is not connected"):
        next(sessions)


@pytest.mark.parametrize(
    ("reply", "text", "problem"),
    [
        ("client.sendall(data.upper())", "A> x\nA< x", r"session:2: A< x\n  but A shows 'X\\n'"),
        (
            "client.sendall(data + data)",
            "A> x\nA< x",
            r"session:2: A< x\n  but then A shows 'x\\n'",
        ),
        ("client.sendall(b'xy\\n')", "A> x\nA< x", r"session:2: A< x\n  but A shows 'xy\\n'"),
        ("pass", "A> x\nA< x", r"session:2: A< x\n  but A shows nothing"),
        (
            "client.sendall(data)",
            "A> x\nA waits\nA< x",
            r"session:2: A waits\n  but A shows 'x\\n'",
        ),
        pytest.param(
            "pass",
            "A> x\nA waits\nA< x",
            r"session:2: A waits\n  but A got no answer, but its line",
            marks=pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells who has read it"),
        ),
        ("time.sleep(60)", "A> x\nA< x\nA> y\nA< y", r"session:2: A< x\n  but A shows nothing"),
        ("client.close(); break", "A> x\nA< x", r"session:2: A< x\n  but A shows nothing"),
        (
            "client.sendall(data)",
            "A> x\nA leaves\nB> y\nB< y",
            r"session:2: A leaves\n  but before",
        ),
        ("client.sendall(data)", "A> x\nA< x\nA is closed", r"session:3: A is closed\n  but the"),
    ],
)
def test_the_report_on_a_wrong_server(monkeypatch, reply, text, problem):
    monkeypatch.setattr(Server, "patience", 0.2)
    with pytest.raises((Mismatch, Breakdown), match=problem) as caught:
        play(reply, text)
    report = str(caught.value)
    assert "terminal A:\n  x\n" in report
    assert "the server's log:\n  listening on 127.0.0.1:" in report


@pytest.mark.parametrize("linux", [kernel.LINUX, False])
def test_a_closed_connection_does_not_wait(monkeypatch, linux):
    monkeypatch.setattr(kernel, "LINUX", linux)
    monkeypatch.setattr(Server, "patience", 0.2)
    with pytest.raises(
        Mismatch, match="A waits\n  but A shows nothing, and its connection is closed"
    ):
        play("client.close(); break", "A> x\nA waits\nA< x")


@pytest.mark.parametrize("before", ["pass", "client.close(); sum(range(10_000_000))"])
def test_a_server_that_ends_is_a_breakdown_and_no_mismatch(before):
    """Also if it works for a while between the end of a connection and its own end."""
    with pytest.raises(Breakdown, match="the server ended with status 1"):
        play(f"{before}; sys.exit('oh no')", "A> x\nA< x")


def test_a_server_that_never_listens_is_a_breakdown():
    server = Server([sys.executable, "-c", "print('no port today')"])
    with pytest.raises(Breakdown, match="does not listen; it says: 'no port today'"):
        _ = server.port
    server.close()


# An nc that is busy for a while before it shows what came.
SLOW_NC = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as server:
    server.sendall(sys.stdin.readline().encode())
    shown = b"".join(iter(lambda: server.recv(1024), b""))
while time.process_time() < 0.3:
    pass
print(shown.decode(), end="", flush=True)
"""


@pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells whether nc is at rest")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A> x\nA< x\nA is closed", None),
        ("A> x\nA is closed", "A is closed\n  but before that, A shows 'x"),
    ],
)
def test_what_came_before_the_end_of_a_connection_is_seen(text, problem):
    reply = "client.sendall(data); client.close(); break"
    server = Server([sys.executable, "-c", WRONG.format(reply=reply)])
    outcome = pytest.raises(Mismatch, match=problem) if problem else contextlib.nullcontext()
    slow_nc = [sys.executable, "-c", SLOW_NC]
    with contextlib.closing(server), Play(server, slow_nc) as player, outcome:
        player.run(parse(text))


def test_a_missing_nc_is_a_breakdown():
    server = Server([sys.executable, "-c", WRONG.format(reply="pass")])
    with Play(server, ["no-such-nc"]) as player, pytest.raises(Breakdown, match="no-such-nc"):
        player.run(parse("A> x\nA< x"))
    server.close()


def test_an_nc_that_cannot_connect():
    server = Server([sys.executable, "-c", WRONG.format(reply="pass")])
    with Play(server, ["false"]) as player, pytest.raises(Mismatch, match="could not connect"):
        player.run(parse("A> x\nA< x"))
    server.close()


@pytest.mark.stages(until="v0.1")
def test_a_line_that_nobody_plays_is_no_success(play):
    """Neither one that only a watched server can show, nor a kind that was forgotten."""
    (line,) = parse("server: MainThread in accept")
    with pytest.raises(ValueError, match="cannot play 'server: MainThread in accept'"):
        play([line])
    with pytest.raises(ValueError, match="cannot play"):
        play([dataclasses.replace(line, action="sneezes")])
