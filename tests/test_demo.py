"""The demo, as its audience sees it: on a terminal that pyte reads, into a pipe, as a picture."""

import dataclasses
import itertools
import math
import os
import re
import signal
import socket
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pexpect
import psutil
import pyte
import pytest
from classroom import kernel
from classroom.course import ROOT, stages
from classroom.demo import playback
from classroom.demo.playback import LOOKING, Playback
from classroom.demo.source import source
from classroom.drawing import DARK
from classroom.record import Thread
from classroom.terminal import restore_signals, wait_until
from clones import command

HERE, SECOND, *_ = stages()


class Screen:
    """A terminal with the demo on it."""

    def __init__(self, *options, columns=100, rows=30, **further):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
        further = {"preexec_fn": restore_signals} | further
        self.child = pexpect.spawn(
            "./scripts/demo",
            [*options],
            cwd=str(ROOT),
            dimensions=(rows, columns),
            env=environment | {"TERM": "xterm-256color"},
            timeout=20,
            **further,
        )
        self.child.delaybeforesend = None
        self.raw = b""

    def text(self):
        """Take in what has been drawn, and return the screen as text."""
        try:
            while shown := self.child.read_nonblocking(65536, 0.01):
                self.raw += shown
                # pyte 0.8.2 knows no private modes with a $ or a >, and would draw them.
                self.stream.feed(
                    re.sub(rb"\x1b\[[?>=<][\d;]*\$?[pu]|\x1b\[>[\d;]*[a-z]", b"", shown)
                )
        except (pexpect.TIMEOUT, pexpect.EOF):
            pass
        return "\n".join(line.rstrip() for line in self.screen.display)

    def expect(self, *words):
        """Wait until all these words are on the screen; return it."""
        assert wait_until(lambda: all(word in self.text() for word in words), 20), (
            f"expected {words}, got:\n{self.text()}"
        )
        return self.text()

    def press(self, keys):
        self.child.send(keys)

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def descendants(self):
        return psutil.Process(self.child.pid).children(recursive=True)

    def leave(self, key="q"):
        """End the demo with a key; no process may be left, and the terminal must be sane."""
        processes = [psutil.Process(self.child.pid), *self.descendants()]
        self.press(key)
        assert wait_until(lambda: self.text() and not self.child.isalive())
        assert not any(map(is_alive, processes))
        for mode in (b"1049", b"1000", b"1003", b"2004"):  # another screen, the mouse, pasting
            assert self.raw.rfind(b"\x1b[?" + mode + b"h") <= self.raw.rfind(
                b"\x1b[?" + mode + b"l"
            )
        assert self.raw.rfind(b"\x1b[?25l") <= self.raw.rfind(b"\x1b[?25h")  # the cursor
        return self.child.exitstatus


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def demo():
    """Return a function that starts the demo on a terminal."""
    screens = []

    def start(*options, **further):
        screens.append(Screen(*options, **further))
        return screens[-1]

    yield start
    for screen in screens:
        screen.child.close(force=True)


# Without a terminal.


def test_into_a_pipe():
    done = command("./scripts/demo", HERE.name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{HERE.name}: ")
    assert "\x1b" not in done.stdout
    for step in HERE.session():
        assert step.text.partition(" ")[0][:20] in done.stdout  # longer ones may be folded
    assert "nc 127.0.0.1 9000" in done.stdout


def test_the_columns_are_the_same_each_time():
    """The log, too, except for the ports, which are numbered in their order."""

    def columns():
        ports = {}
        shown = command("./scripts/demo", "--plain", SECOND.name).stdout
        name = lambda match: f"<{ports.setdefault(match[0], len(ports))}>"  # noqa: E731
        return re.sub(r"\b\d{4,5}\b", name, shown)

    assert columns() == columns()


def test_until_a_line():
    line = next(step.line for step in HERE.session() if step.action == "shows")
    done = command("./scripts/demo", "--until", line, HERE.name)
    assert done.returncode == 0
    assert "(1 of" in done.stdout
    assert "(2 of" not in done.stdout


@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        ("v9.9", 2, r"demo: error: there is no stage v9\.9 here; there is v0\.\d"),
        ("--nc no-such-nc", 1, "demo: cannot start no-such-nc: "),
        ("--svg /no/such/folder/x.svg", 1, r"demo: .*No such file or directory"),
        ("--until hello", 2, "error: argument --until: no session has the line 'hello'"),
        ("--live", 2, "error: --live needs a terminal"),
        ("--compare v0.2 v0.3", 2, "error: --compare needs a terminal"),
        ("--compare v0.2", 2, "error: --compare needs two stages"),
        ("v0.3 --server", 2, "error: --server needs one stage before it, and a command after it"),
        ("--server my_server.py", 2, "error: --server needs one stage before it"),
        ("v0.3 --server no_such.py", 2, r"error: there is no no_such\.py"),
    ],
)
def test_what_cannot_be(options, status, problem):
    done = command("./scripts/demo", *options.split())
    assert done.returncode == status
    assert re.search(problem, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


def test_a_picture_of_a_moment(tmp_path):
    picture = tmp_path / "picture.svg"
    wait = next(step.line for step in HERE.session() if step.text)
    done = command("./scripts/demo", "--svg", str(picture), "--until", wait, HERE.name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = " ".join(ET.parse(picture).getroot().itertext()).replace("\xa0", " ")
    assert HERE.title in text
    assert "@font-face" not in picture.read_text()


def test_the_requests_of_two_threads_at_one_line():
    line = "while (header := lines.readline(65536)).endswith(b'x'):\n"
    threads = [
        Thread(f"Thread-{number}", 1, "readline", client, f"GET /task_0{number} HTTP/1.1")
        for number, client in enumerate("AB", 1)
    ]
    (shown, *_), _ = source(line, threads, (70, 10), DARK)
    assert shown.plain.endswith("◀ A sees GET /task_01, B sees GET /task_02")
    threads[0] = dataclasses.replace(threads[0], request=threads[1].request)
    (shown, *_), _ = source(line, threads, (70, 10), DARK)
    assert shown.plain.endswith("◀ A and B see GET /task_02")


def test_threads_that_are_far_apart():
    """Each is seen with as many lines around it as fit. Who scrolls sees all lines."""
    code = "".join(f"step_{number}()\n" for number in range(40))
    threads = [Thread("MainThread", 6, "", ""), Thread("Thread-1", 31, "", "")]
    lines, _ = source(code, threads, (70, 11), DARK)
    shown = [line.plain.split("(")[0].strip(" ▶") for line in lines]
    first, second = ([f"step_{n}" for n in range(at - 1, at + 2)] for at in (5, 30))
    assert shown == ["⋮", *first, "⋮", *second, "⋮"]
    assert len(source(code, threads, (70, 11), DARK, whole=True)[0]) == 40


def test_the_end_of_a_long_line_is_seen():
    """The end says whether a thread is started."""
    code = "threading.Thread(target=self.handle_client_request, args=(client, address)).start()\n"
    (shown, *_), _ = source(code, [], (46, 10), DARK)
    assert re.fullmatch(r"  threading\.Thread\(.*…ss\)\)\.start\(\)", shown.plain)
    assert len(shown) <= 46


def test_the_tasks_are_seen(tmp_path):
    picture, last = tmp_path / "picture.svg", stages()[-1]
    done = command("./scripts/demo", "--svg", str(picture), last.name)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(" ".join(ET.parse(picture).getroot().itertext()).split())
    assert "todo_list task_01: see someone · task_02: read book" in text


@pytest.mark.stages(since="v0.8", until="v0.9")
def test_the_request_of_each_thread_is_seen(stage, tmp_path):
    """A window shows no CR, as a terminal does."""
    picture = tmp_path / "picture.svg"
    done = command("./scripts/demo", "--svg", str(picture), "--until", "B< read book", stage.name)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(ET.parse(picture).getroot().itertext()).replace("\xa0", " ")
    for_a = "GET /task_02" if stage.name == "v0.8" else "GET /task_01"
    assert f"Thread-1 for A sees {for_a}" in text
    assert "Thread-2 for B sees GET /task_02" in text
    assert "HTTP/1.1 200 OK" in text
    assert r"OK\r" not in text


# Colours.


def contrast(one, other):
    """Return the contrast of two colours like "#ffd33d", as WCAG 2 defines it: 1 to 21."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_the_states_differ_for_the_colour_blind():
    """Words tell them, too. The matrix simulates deuteranopia: Machado and others, 2009."""
    matrix = (0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)

    def seen(colour):
        parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        return [sum(a * b for a, b in zip(row, parts, strict=True)) for row in matrix]

    source = (ROOT / "scripts" / "classroom" / "demo" / "screen.py").read_text()
    blocks = re.findall(r"\.client\.(?:\w+) \{ background: (#\w{6})", source)
    assert len(blocks) == 3
    for one, other in itertools.combinations(map(seen, blocks), 2):
        assert math.dist(one, other) > 60


@pytest.mark.parametrize("options", [(), ("--light",)], ids=["dark", "light"])
def test_the_contrast_of_a_picture(options, tmp_path):
    """All text is on the background of the screen, but for what is on a colour of its own."""
    picture = tmp_path / "picture.svg"
    done = command("./scripts/demo", *options, "--svg", str(picture), "--until", "B waits", "v0.2")
    assert done.returncode == 0, done.stderr
    svg = picture.read_text()
    background = "#ffffff" if options else "#121212"
    assert f'fill="{background}"' in svg
    classes = dict(re.findall(r"\.terminal-\d+-(r\d+) \{ fill: (#\w{6})", svg))
    texts = re.findall(r'<text class="terminal-\d+-(r\d+)" [^>]*>([^<]*)<', svg)
    words = [(name, text.replace("&#160;", "")) for name, text in texts]
    colours = {classes[name] for name, text in words if re.search(r"[^\s─│╭╮╰╯]", text)}
    on_yellow_or_green = {"#000000"}
    assert on_yellow_or_green < colours
    for colour in colours - on_yellow_or_green:
        assert contrast(colour, background) >= 4.5, colour
    for block in ("#ffd33d", "#2ea043"):
        assert f'fill="{block}"' in svg
        assert contrast("#000000", block) >= 4.5


# On a terminal.


def test_python_at_its_prompt_is_the_server(demo):
    """It stands beside its client, in place of a server's source, and the audience may type."""
    screen = demo("--step", HERE.name)
    shown = screen.expect("─ python ─", "─ A ─", "Enter goes on")
    assert "simpleSocketServer.py" not in shown
    assert "python waits" not in shown  # it is at its prompt
    lines = [step.line for step in HERE.sessions()[0]]
    screen.press("\r" * (lines.index("python waits") + 1))
    screen.expect(">>> client, address = sock.accept()", "… waits", "blocked in accept()")
    screen.expect("python waits 1 s")
    screen.press("t")
    screen.expect("Enter sends · Ctrl-C interrupts")
    screen.press("1 + 1\r")  # Python reads it later
    screen.expect(">>> client, address = sock.accept()", "┃ 1 + 1", "blocked in accept()")
    screen.press("\x03\x03")
    screen.expect("KeyboardInterrupt")
    assert wait_until(lambda: "blocked in" not in screen.text())
    screen.press("sock.accept()\r")
    screen.expect("blocked in accept()")
    screen.press("\x03")
    assert wait_until(lambda: "blocked in" not in screen.text())
    # Nothing listens any more, and an nc that cannot connect does not end the demo.
    screen.press("sock.close()\r\t\r")
    screen.expect("nc has ended")
    screen.press("\t1 + 1\r")
    screen.expect(">>> 1 + 1", " 2 ")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (100, 30), (200, 50)])
def test_sizes(demo, size):
    screen = demo("--fast", SECOND.name, columns=size[0], rows=size[1])
    shown = screen.expect("The end. q leaves", "simpleSocketServer.py", "▶", "◀ MainThread")
    assert all(len(line) <= size[0] for line in shown.splitlines())
    assert ("log ─" in shown) == (size[0] >= 100)
    assert screen.leave() == 0
    assert b"Try it by hand" in screen.raw


@pytest.mark.parametrize("size", [(40, 12), (45, 24)])
def test_three_terminals_on_a_small_screen(demo, size):
    screen = demo("--fast", SECOND.name, columns=size[0], rows=size[1])
    screen.expect("(2 of 2)", " A ─", " B ─", " C ─", "< hello", "Enter leaves")
    assert screen.leave() == 0


def test_resizing_in_the_middle(demo):
    screen = demo("--step", SECOND.name, columns=100, rows=30)
    screen.expect("Enter goes on")
    screen.press("\r\r")
    for columns, rows in ((60, 20), (45, 16), (200, 50), (100, 17), (80, 24)):
        screen.resize(columns, rows)
        screen.expect(SECOND.title[:20], "quits")
        assert wait_until(lambda rows=rows: ("Server.py ·" in screen.text()) == (rows >= 18))
        if rows >= 18:
            screen.expect("◀ MainThread")
    screen.expect("client, address = self.sock.accept()", "◀ MainThread")
    assert screen.leave() == 0


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_it_can_be_left_at_any_time(demo, key):
    screen = demo("--step", HERE.name)
    screen.expect(HERE.title)
    screen.press("\r\r")
    assert screen.leave(key) == 0


@pytest.mark.parametrize("module", ["classroom.interrupts", "asyncio", "textual.app"])
def test_ctrl_c_before_there_is_anything_to_see(demo, module, monkeypatch):
    """While these modules load; Python prints a line when it has loaded one."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    screen = demo("--step", HERE.name)
    assert wait_until(lambda: screen.text() and re.search(rf"\b{module}\s".encode(), screen.raw))
    screen.press("\x03")
    assert wait_until(lambda: screen.text() is not None and not screen.child.isalive())
    assert b"Traceback" not in screen.raw
    assert b"Fatal" not in screen.raw


def test_it_ends_with_its_terminal(demo):
    """Even where hang-ups are ignored, as under nohup."""
    screen = demo(
        "--step", SECOND.name, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    screen.expect(SECOND.title)
    screen.press("\r\r")
    assert wait_until(lambda: len(screen.descendants()) == 2)  # the server, and A's nc
    everybody = [psutil.Process(screen.child.pid), *screen.descendants()]
    screen.child.ptyproc.fileobj.close()
    assert wait_until(lambda: not any(map(is_alive, everybody)))


def test_a_session_that_goes_wrong(demo):
    screen = demo("--fast", "--nc", "false", SECOND.name)
    assert wait_until(lambda: screen.text() is not None and not screen.child.isalive())
    assert re.search(rb"demo: .*README\.md:\d+: A> .*\s+but A could not connect", screen.raw)
    assert screen.child.exitstatus == 1


def test_the_arrows_show_the_rest_of_the_source(demo):
    screen = demo("--step", SECOND.name)
    screen.expect("◀ MainThread")
    screen.press("\x1b[B" * 20)
    screen.expect("    main()")
    screen.press("\x1b[A" * 40)
    screen.expect("import argparse")
    assert screen.leave() == 0


def test_back_and_forth(demo):
    """One line back and on again, to the next session, and back to the one before."""
    screen = demo("--step", SECOND.name)
    screen.expect("Enter goes on")
    lines = [step.text for step in SECOND.sessions()[0] if step.action == "types"]
    screen.press("\r\x1b[C\r")
    screen.expect(f"> {lines[0]}", f"> {lines[1]}")
    screen.press("\x1b[D")  # Left
    screen.expect(f"> {lines[0]}", f"< {lines[0]}", f"Next: A> {lines[1]}")
    assert f"< {lines[1]}" not in screen.text()
    screen.press("\x1b[C")  # Right
    screen.expect(f"> {lines[1]}")
    screen.press("\x1b[6~")  # Page down
    screen.expect("(2 of 2)")
    screen.press("\x1b[6~")  # there is nothing after it
    screen.press("\r\r\x1b[5~")  # Page up, to the beginning of this session
    screen.press("\x1b[5~")
    screen.expect("(1 of 2)")
    screen.press("\x1b[5~\x1b[D\x1b[D")  # there is nothing before it
    screen.expect("(1 of 2)")
    assert screen.leave() == 0


def test_a_pause(demo):
    """A line can be played meanwhile. Then each takes its time; the session stops at its end."""
    screen = demo("v0.4")
    screen.expect("Space pauses")
    screen.press(" \x1b[6~")  # Page down
    screen.expect("(2 of 2)", "Space goes on", "Next: a remark")
    screen.press("\r")
    screen.expect("Space goes on", "Next: A> GET/task_01/status")
    screen.press(" ")
    screen.expect("Enter leaves", "The end.")
    assert "Space" not in screen.text()
    assert screen.leave() == 0


def test_what_comes_next_fits_into_its_line(demo):
    screen = demo("--step", "v0.8", columns=40, rows=24)
    screen.expect("Next: a remark, then A> GET /task_01 …")
    screen.press("\r\r\r")
    screen.expect("Next: A> (an empty line)")
    screen.press("\r\r")
    screen.expect("Next: B> POST /task_04=eat%201%2F2%20…")
    assert screen.leave() == 0


def test_a_pause_has_no_end(monkeypatch):
    """The clock is ours: each look at the server takes a minute."""
    clock = itertools.count(step=60)
    monkeypatch.setattr(playback.time, "monotonic", lambda: next(clock))
    paused = Playback(SimpleNamespace(step=False), draw=None)
    paused.typing, paused.touched, paused.enter = "", False, "Enter goes on"
    paused.paused, looks = True, itertools.count(1)

    def look():
        if next(looks) == 9:
            paused.keys.put(("space", " "))

    paused.look = look
    paused.wait(LOOKING)
    assert next(looks) == 10


def test_the_audience_types(demo):
    """In the middle of a session, in a terminal of its own. Then the session goes on there."""
    screen = demo("--step", SECOND.name)
    screen.expect("Enter goes on")
    screen.press("\r\r")
    line = next(step.line for step in SECOND.sessions()[0] if step.action == "shows")
    screen.expect(line.replace("A<", "<"))
    screen.press("n")
    screen.expect("Enter sends")
    screen.press("\t\tmy words\r\r")  # from C to A to B, where the first Enter connects
    screen.expect("> my words", "This is yours.")
    screen.press("\x1b")
    screen.expect("Enter goes back")
    screen.press("\r")
    assert wait_until(lambda: "my words" not in screen.text(), 20)
    screen.expect("Enter goes on", line.replace("A<", "<"))
    assert screen.leave() == 0


def test_live(demo):
    screen = demo("--live", SECOND.name)
    screen.expect("(live)", "Enter sends")
    screen.press("hello\r")
    screen.expect("hello", "is served")
    screen.press("\thi\r")
    waits = ("not accepted", "3 bytes unread") if kernel.LINUX else ("nobody reads B",)
    screen.expect("B waits 1 s", *waits, "◀ MainThread for A")
    screen.expect("B waits 2 s")
    screen.press("\t\x03")  # in A: Ctrl-C ends its nc
    screen.expect("^C", "◀ MainThread for B")
    screen.press("\x1b")
    screen.expect("t type ")
    assert "Enter" not in screen.text()
    screen.press("\rt")  # Enter does not leave
    screen.expect("Enter connects")  # A has left
    screen.press("\x1b")
    screen.expect("t type ")
    assert screen.leave() == 0


def test_two_stages_side_by_side(demo):
    """Both get the same lines at once, also those of the audience."""
    screen = demo("--compare", "v0.2", "v0.3", "--step")
    screen.expect("v0.2: blocking", "v0.3: a thread for each client", "Enter goes on")
    screen.press("\r\r\r")
    screen.expect("B> anyone there?", "B is served", "< anyone there?")
    screen.expect("B waits ", "· 1 thread ─", "· 3 threads ─")
    assert screen.text().count("< anyone there?") == 1
    screen.press("\r")  # A leaves
    assert wait_until(lambda: screen.text().count("< anyone there?") == 2, 20)
    screen.press("t\tto both\r")
    assert wait_until(lambda: screen.text().count("< to both") == 2, 20)
    screen.press("\x1b")
    screen.expect("Enter leaves")
    assert screen.leave() == 0


def test_two_stages_of_which_one_has_closed(demo):
    """What is typed goes to the other one, so Enter connects nobody."""
    nc = f"{sys.executable} {ROOT / 'scripts' / 'nc.py'}"  # it ends when the server closes
    screen = demo("--compare", "v0.1", "v0.2", "--live", "--nc", nc)
    screen.expect("Enter sends")
    screen.press("hello\r")
    screen.expect("nc has ended", "Enter sends")
    screen.press("again")
    screen.expect("again▏")
    assert "Enter connects" not in screen.text()
    screen.press("\x1b")
    screen.expect("q quits")
    assert screen.leave() == 0


SHOUTS = """
import os, socket
sock = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    client, _ = sock.accept()
    while data := client.recv(1024):
        client.sendall(data.upper())
    client.close()
"""


def test_somebody_elses_server_with_a_syntax_error(demo, tmp_path):
    path = tmp_path / "my_server.py"
    path.write_text(SHOUTS.replace("while True:", "while True"))
    screen = demo("v0.2", "--server", str(path))
    assert wait_until(lambda: screen.text() is not None and not screen.child.isalive())
    assert b"your server ended with status 1, before it listened" in screen.raw
    assert re.search(rb"my_server\.py\", line 4\s+while True\s", screen.raw)
    assert b"runpy" not in screen.raw
    assert screen.child.exitstatus == 1


def test_somebody_elses_server_that_ends(demo, tmp_path):
    """The screen stays. The traceback begins in the server's file."""
    (tmp_path / "my_server.py").write_text(SHOUTS.replace("data.upper()", "data.shout()"))
    screen = demo("v0.2", "--server", str(tmp_path / "my_server.py"), "--fast", columns=200)
    screen.expect("The server ended with status 1.", "AttributeError")
    screen.expect("The end. Is each response right? ./scripts/check v0.2 -- /")
    shown = " ".join(screen.text().split())
    assert "Traceback (most recent call last): │" in shown
    assert "watched.py" not in shown
    assert "runpy" not in shown
    assert screen.leave() == 0


def test_an_impatient_enter_leaves_nothing_unseen(demo, tmp_path):
    """A server in an endless loop keeps the last line waiting."""
    endless = SHOUTS.replace("while data :=", "while [data :=").replace("1024):", "1024)]:")
    assert endless != SHOUTS
    (tmp_path / "my_server.py").write_text(endless)
    screen = demo("v0.2", "--server", str(tmp_path / "my_server.py"), "--step")
    screen.expect("Enter goes on")
    screen.press("\r\r\r")
    screen.expect("Next: A leaves")
    screen.press("\r")
    screen.expect("Playing: A leaves")
    screen.press("\r\r")
    screen.expect("The end.", "^C")
    screen.press("t")
    screen.expect("Esc stops typing")
    screen.press("\x1b")
    screen.expect("q quits")
    assert screen.leave() == 0


@pytest.mark.parametrize("runner", [[], [sys.executable]], ids=["watched", "any command"])
def test_somebody_elses_server(demo, tmp_path, runner):
    """What is wrong with it is seen, and its name is no markup."""
    path = tmp_path / "[b]my_server.py"
    path.write_text(SHOUTS)
    screen = demo("v0.2", "--step", "--server", *runner, str(path), columns=200, rows=40)
    screen.expect("Your server, and v0.2's lines", "Enter goes on")
    assert ("[b]my_server.py · 1 thread · port" in screen.text()) == (not runner)
    screen.press("\r\r\r")
    screen.expect("> hello", "< HELLO", "> anyone there? (expected: B waits)")
    if kernel.LINUX:
        screen.expect("A is served", "B waits ", "14 bytes unread")
    assert ("◀ MainThread" in screen.text()) == (not runner)
    screen.press("\r")
    screen.expect("< ANYONE THERE?")
    assert screen.leave() == 0


def test_up_to_four_terminals(demo):
    screen = demo("--live", SECOND.name)
    for letter in "CD":
        screen.expect("Enter sends")
        screen.press("\x1b")
        screen.expect("n terminal")
        screen.press("n")
        screen.expect(f"━ {letter} ━")
    screen.press("\x1b")
    assert "n terminal" not in screen.expect("t type ")
    screen.press("n")
    screen.press("t")
    assert " E ━" not in screen.expect("Enter sends")
    screen.press("\x1b")
    screen.expect("t type ")
    assert screen.leave() == 0


def test_what_is_typed_is_not_lost(demo):
    """Not with Tab, not by a paste, not in a hurry; and where no nc runs, nothing can be typed."""
    screen = demo("--step", SECOND.name)
    screen.expect("Enter goes on")
    screen.press("t")
    screen.expect("Enter connects")
    screen.press("lost\x03\x03")  # nobody listens, and Ctrl-C ends no demo here
    screen.press("\r")
    screen.expect("Enter sends")
    screen.press("half a line\t")
    screen.expect("Enter connects")
    screen.press("\t")
    screen.expect("half a line")
    screen.press("\x1b[200~ and\r\na paste\n\x1b[201~")  # as a terminal sends what is pasted
    screen.expect("half a line and", "a paste")
    screen.press("z" * 300)
    assert wait_until(lambda: screen.text().count("z") >= 300), screen.text()
    assert "lost" not in screen.text()
    screen.press("\x1b")
    screen.expect("q quits")
    assert screen.leave() == 0


def test_a_server_that_ends(demo):
    """What is seen of its clients then is true."""
    screen = demo("--live", HERE.name)
    screen.expect("Enter sends")
    screen.press("hello\r")
    assert wait_until(lambda: screen.text().count("hello") >= 2)
    server = next(p for p in screen.descendants() if "watched.py" in " ".join(p.cmdline()))
    server.kill()
    screen.expect("closed by the server")
    screen.press("\x1b")
    screen.expect("q quits")
    assert screen.leave() == 0


@pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells how many bytes are unread")
@pytest.mark.stages(until="v0.2")
def test_a_wait_that_is_over_is_not_seen_any_more(demo, stage):
    screen = demo("--step", stage.name)
    waits = "15 bytes unread" if stage.name == "v0.1" else "14 bytes unread"
    while waits not in screen.text() or "… waits" not in screen.text():
        screen.expect("Enter ")
        before = screen.text()
        screen.press("\r")
        assert wait_until(lambda before=before: screen.text() != before)
    while "… waits" in screen.text():
        screen.press("\r")
        assert wait_until(lambda before=before: screen.text() != before)
        before = screen.text()
    assert "is served" in screen.text() if stage.number > (0, 1) else "closed" in screen.text()
    assert screen.leave() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_terminal_back(demo, number):
    screen = demo("--step", HERE.name)
    screen.expect("Enter goes on")
    processes = [psutil.Process(screen.child.pid), *screen.descendants()]
    processes[0].send_signal(number)
    assert wait_until(lambda: screen.text() is not None and not any(map(is_alive, processes)))
    assert screen.raw.rfind(b"\x1b[?1049h") < screen.raw.rfind(b"\x1b[?1049l")


# How quick it is.


def test_first_picture(demo):
    """There is something to see within a second of processor time, which load does not stretch."""
    screen = demo("--step", HERE.name)
    while b"Enter goes on" not in screen.raw:
        screen.raw += screen.child.read_nonblocking(65536, 20)
    processes = [psutil.Process(screen.child.pid), *screen.descendants()]
    times = [process.cpu_times() for process in processes]
    assert sum(t.user + t.system + t.children_user + t.children_system for t in times) < 1


@pytest.mark.stages(since="v0.3", until="v0.3")
def test_a_new_thread_is_drawn_without_a_key(demo, stage):
    """The demo looks at the server often enough to seem immediate."""
    assert playback.PERIOD <= 0.05
    screen = demo("--live", stage.name, columns=200, rows=50)
    shown = screen.expect("Thread-2", "log ─", "Enter sends")
    port = int(re.search(r"nc 127\.0\.0\.1 (\d+)", shown)[1])
    with socket.create_connection(("127.0.0.1", port)):
        screen.expect("Thread-3", "Thread-2: 127.0.0.1")  # in the log, as beside the source
    screen.press("\x1b")
    screen.expect("q quits")
    assert screen.leave() == 0
