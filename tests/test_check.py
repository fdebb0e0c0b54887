"""The checker is checked: with servers that are wrong on purpose, and with right ones of others."""

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from unittest import mock

import psutil
import pytest
from broken import mistakes
from broken.mistakes import MISTAKES
from broken.servers import FLAWS, NO_SERVERS
from classroom import kernel
from classroom.check import candidate, report, whole_class
from classroom.course import ROOT, SERVER, stages
from classroom.output import one_line
from classroom.play import Mismatch, Play
from classroom.session import parse
from classroom.terminal import Server, wait_until
from client import Client
from clones import command, run, started
from missing import NO_FLASK, leave_out
from test_behaviours import is_busy
from test_output import NAMES, steers
from test_pages import blocks

HERE = {stage.name: stage for stage in stages()}
# What a stage cannot do that its successor can: the lesson of that.
LESSONS = {
    "v0.2": "every message is echoed",
    "v0.3": "a client is served while another one is silent",
    "v0.4": "anything is answered with the whole list and no line end",
    "v0.5": "GET gives a task's text",
    "v0.6": "POST stores a task, new or old, for every client",
    "v0.7": "a request is recognized by its whole form",
    "v0.8": "GET gets 200 and a task's text, or 404",
    "v0.9": "each client gets the response to its own request, however slowly it asks",
    "v1.0": "GET / gets a page with all tasks and a form",
}


# What has nothing to do with the stage is tested on one.
one_stage = pytest.mark.stages(since="v0.3", until="v0.3")


def check(*words, status, cwd=ROOT):
    """Run the command, which must end with `status`; return what it prints, and its errors."""
    done = command(ROOT / "scripts" / "check", *map(str, words), cwd=cwd)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def hand_in(folder, name, code):
    path = folder / name / SERVER
    path.parent.mkdir()
    path.write_text(code, encoding="utf-8")
    return str(path)


def first_failure(report):
    """Return the first behaviour that does not hold, and all that its author is reported of it."""
    failed = next(result for result in report["behaviours"] if result["holds"] is False)
    parts = ("cause", "problem", "aftermath", "hint", "last_lines")
    reported = [failed[part] for part in parts]
    return failed["behaviour"], " ".join(filter(None, reported))


def is_left(path):
    return [p for p in psutil.process_iter() if any(path in word for word in cmdline(p))]


def cmdline(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class NoWriter:
    """Writes nothing: the report that check() returns holds all of it."""

    def begin(self, report):
        pass

    def progress(self, done, of):
        pass

    def add(self, result, clients):
        pass

    def end(self, report):
        pass


@pytest.fixture
def check_here(monkeypatch):
    """Return a function that checks a file within this process, and returns the report.

    That saves the start of Python and pytest. We know which of our servers sleep, so the others
    are silent when they are at rest, as a stage is.
    """
    monkeypatch.setattr(candidate.Candidate, "may_sleep", False)
    monkeypatch.setattr(candidate, "SILENCE", 0.1)

    def check_here(stage, words, go_on=False):
        with mock.patch.dict(os.environ):  # check() clears what pytest has set for this run
            return report.Report(stage, NoWriter(), go_on).check(words)

    return check_here


@pytest.mark.parametrize(
    "flaw", [flaw for flaw in FLAWS if flaw.stage in HERE], ids=lambda flaw: flaw.name
)
def test_a_flaw_is_found(flaw, check_here, tmp_path):
    """The intended behaviour catches it, no other one before, and the report says what is wrong."""
    code = HERE[flaw.stage].server.read_text(encoding="utf-8")
    assert code.count(flaw.old) == 1
    path = hand_in(tmp_path, "flawed", code.replace(flaw.old, flaw.new))
    behaviour, reported = first_failure(check_here(HERE[flaw.stage], [path]))
    assert behaviour == flaw.caught_by, reported
    assert flaw.report in reported
    assert not is_left(path)


@one_stage
@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere the kernel tells less")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_named(stage, mistake, check_here, tmp_path):
    """By the first sentence of the report."""
    assert mistakes.SERVER.count(mistake.old) == 1
    code = mistakes.SERVER.replace(mistake.old, mistake.new)
    checked = check_here(stage, [hand_in(tmp_path, "mistaken", code)])
    failed = next(result for result in checked["behaviours"] if result["holds"] is False)
    pattern = re.escape(mistake.first).replace("…", ".*")
    assert re.match(pattern, failed["cause"] or failed["problem"]), failed
    if "TypeError" in mistake.first:
        assert not failed["hint"]  # which is about a server that does something else


@one_stage
@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere the kernel tells less")
@pytest.mark.parametrize(
    ("printed", "first"),
    [
        ("data", "Your server has read A's line and printed it, but sent nothing."),
        ("'A says', data.decode()", "Your server has read A's line and printed it, but sent"),
        ("'hello, whoever you are'", "Your server has read A's line, and sends nothing."),
        ("'Othello'", "Your server has read A's line, and sends nothing."),
    ],
)
def test_what_was_printed(stage, printed, first, check_here, tmp_path):
    """A word of the line is not the line."""
    code = mistakes.SERVER.replace("client.sendall(data)", f"print({printed}, flush=True)")
    failed = check_here(stage, [hand_in(tmp_path, "prints", code)])["behaviours"][0]
    assert failed["cause"].startswith(first)


def test_the_table_of_mistakes():
    """docs/check.md shows what the test above holds the check to."""
    page = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    table = "".join(f"| {mistake.name} | {mistake.first} |\n" for mistake in MISTAKES)
    assert f"| mistake | the check says first |\n|---|---|\n{table}\n" in page


@one_stage
@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere the kernel tells less")
def test_what_a_failure_tells(stage, check_here, tmp_path):
    """What to type by hand, the lessons to read, and what the server printed until that moment."""
    path = hand_in(tmp_path, "alone", HERE["v0.2"].server.read_text(encoding="utf-8"))
    checked = check_here(stage, [path])
    failed = next(result for result in checked["behaviours"] if result["holds"] is False)
    assert failed["by_hand"] == [
        f"server: python3 {path} --port 9000",
        "A: nc 127.0.0.1 9000",
        "B: nc 127.0.0.1 9000, then type 'hello'",
    ]
    assert failed["lessons"] == ["stages/v0.3/README.md"]
    assert failed["last_lines"].endswith(" accepted")  # A had not left yet
    deaf = hand_in(tmp_path, "deaf", DEAF)
    failed = check_here(stage, [deaf])["behaviours"][0]
    assert failed["by_hand"][0] == f"server: PORT=9000 python3 {deaf}"
    assert failed["lessons"] == ["stages/v0.3/README.md", "stages/v0.1/README.md"]


@one_stage
@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere the kernel tells less")
def test_a_response_that_comes_late_to_another_client_is_seen(stage, nc, tmp_path, monkeypatch):
    """B's nc is stopped for a moment, as on a busy computer."""
    monkeypatch.setattr(candidate.Candidate, "may_sleep", False)
    (mistake,) = [each for each in MISTAKES if each.name.startswith("one attribute")]
    path = hand_in(tmp_path, "shares", mistakes.SERVER.replace(mistake.old, mistake.new))
    lines = ["A> one", "A< one", "B> two", "B< two", "A> three", "A< three"]

    def before(step):
        if step.line == "A> three":
            pid = player.terminals["B"].child.pid
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(0.5, os.kill, (pid, signal.SIGCONT)).start()

    with (
        contextlib.closing(candidate.Candidate([path])) as server,
        Play(server, nc) as player,
        pytest.raises(Mismatch) as failure,
    ):
        for _ in player.steps(parse("\n".join(lines)), before):
            pass
    assert failure.value.record.clients["B"].text().endswith("three\n")


@one_stage
def test_what_no_nc_can_do_by_hand(stage, check_here, tmp_path):
    """The line resets a connection, as the check did."""
    (flaw,) = [flaw for flaw in FLAWS if flaw.name == "ends_at_a_reset"]
    code = HERE[flaw.stage].server.read_text(encoding="utf-8").replace(flaw.old, flaw.new)
    checked = check_here(HERE[flaw.stage], [hand_in(tmp_path, "flawed", code)])
    failed = next(result for result in checked["behaviours"] if result["holds"] is False)
    _, line, *_ = failed["by_hand"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shell = line.removeprefix("a client: ").replace("9000", str(listener.getsockname()[1]))
        run(tmp_path, "/bin/sh", "-c", shell)
        client, _ = listener.accept()
        with client, pytest.raises(ConnectionResetError):
            client.recv(1)


DEAF = """
import os, socket, time
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
time.sleep(60)
"""


@one_stage
def test_a_long_answer_is_shortened(stage, check_here, tmp_path):
    code = mistakes.SERVER.replace("sendall(data)", 'sendall(b"spam\\n" * 800_000)')
    failed = check_here(stage, [hand_in(tmp_path, "spams", code)])["behaviours"][0]
    assert re.search(r"spam … \([\d,]+ characters\)", failed["terminals"]["A"])
    assert re.search(r"shows 'spam.{20,80} … .{10,60}' \([\d,]+ characters\)", failed["problem"])
    assert len(json.dumps(failed)) < 3000


@one_stage
def test_the_authors_own_python_runs_a_file(stage, check_here, tmp_path, monkeypatch):
    """The one on the PATH, or the one of the first line; not ours, which has other libraries."""
    code = mistakes.SERVER.replace("sendall(data)", "close()")
    tell = f"import sys\nprint(sys.executable)\n{code}"
    for name in ("python3", "python3.77"):
        python = tmp_path / name
        run(tmp_path, sys.executable, "-m", "venv", "--without-pip", f"{python}.d")
        python.write_text(f'#!/bin/sh\nexec "{python}.d/bin/python3" "$@"\n')
        python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(candidate, "real_python", candidate.real_python.__wrapped__)
    for first_line, name in (
        ("", "python3"),
        ("#!/usr/bin/env python3.77\n", "python3.77"),
        ("#!/no/such/folder/python3.99\n", "python3"),
    ):
        (tmp_path / "server.py").write_text(first_line + tell)
        failed = check_here(stage, [str(tmp_path / "server.py")])["behaviours"][0]
        assert f"{tmp_path}/{name}.d/bin/python3" in failed["last_lines"]


@pytest.mark.skipif(not kernel.TELLS_WAITS, reason="the kernel does not tell who waits for a core")
def test_a_busy_computer_hides_no_busy_loop(tmp_path):
    """Ten servers share a core, so each gets a tenth of it."""
    core = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    loop = hand_in(tmp_path, "loop", f"{core}while True:\n    pass\n")
    with contextlib.ExitStack() as stack:
        words = [sys.executable, loop]
        servers = [stack.enter_context(contextlib.closing(Server(words))) for _ in range(10)]
        assert wait_until(lambda: all(kernel.processor_time(s.child.pid) > 0.1 for s in servers))
        assert is_busy(servers[0])


def test_a_client_waits_for_no_endless_loop(tmp_path, monkeypatch):
    """recv() returns b"" again and again, and the server never comes to rest."""
    monkeypatch.setattr(Client, "SECONDS", 0.5)
    code = HERE["v0.2"].server.read_text(encoding="utf-8")
    endless = code.replace("while data := client.recv(1024):", "while [data := client.recv(1024)]:")
    assert endless != code
    words = [sys.executable, hand_in(tmp_path, "endless", endless), "--port", "0"]
    with contextlib.closing(Server(words)) as server:
        Client(server).close()
        with contextlib.closing(Client(server)) as client:
            client.send(b"hello")
            assert not client.wait()


@one_stage
def test_servers_with_the_same_port(stage, tmp_path):
    """Each has a network of its own, so the reports do not differ."""
    code = "from classroom.check.network import can_isolate\nprint(can_isolate())"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    if command(sys.executable, "-c", code, env=environment).stdout.strip() != "True":
        leave_out("this system lets no process have a network of its own")
    for number in range(4):
        fixed = mistakes.SERVER.replace('("127.0.0.1", port)', '("127.0.0.1", 9000)')
        hand_in(tmp_path, f"fixed_{number}", fixed)
    table, _ = check(stage.name, "--each", f"{tmp_path}/*/{SERVER}", status=1)
    _, *rows = table.splitlines()
    assert len(rows) == 4
    assert all("Your server listens on port 9000 instead of" in row for row in rows)


@one_stage
def test_a_class_with_a_command(stage, tmp_path):
    """The command says how each folder is run."""
    for name, code in (("anna", mistakes.SERVER), ("ben", "import sys; sys.exit(3)")):
        hand_in(tmp_path, name, code)
    words = ["--only", "first-message", stage.name, "--each", f"{tmp_path}/*", "--"]
    words += [sys.executable, f"{{file}}/{SERVER}", "--port", "{port}"]
    table, _ = check(*words, status=1)
    rows = {row.split()[0]: row for row in table.splitlines()}
    assert rows["anna"].endswith("1/1")
    assert "ended with status 3" in rows["ben"]
    _, errors = check(stage.name, "--each", "--", "node", "{file}", status=2)
    assert "--each needs a pattern of files before the command" in errors


@one_stage
def test_a_short_idle_timeout_is_found(stage, check_here, tmp_path, monkeypatch):
    monkeypatch.setattr(candidate, "SILENCE", 4)
    code = stage.server.read_text(encoding="utf-8")
    code = code.replace("settimeout(self.timeout)", "settimeout(1.5)")
    behaviour, reported = first_failure(check_here(stage, [hand_in(tmp_path, "short", code)]))
    assert behaviour == "a client may be silent for five seconds"
    assert re.match(r"A client was silent for [1-9]\S+ seconds, and was disconnected", reported)


@one_stage
def test_what_takes_too_long(stage, check_here, monkeypatch):
    """The verdict is the same alone and in a class: what was not tried does not hold."""
    monkeypatch.setattr(report, "SECONDS", 0)
    checked = check_here(stage, [str(stage.server)])
    assert checked["problem"] == "It takes more than 0 seconds."
    assert (checked["passed"], checked["held"]) == (False, 1)
    assert [result["holds"] for result in checked["behaviours"][1:]] == [None] * (checked["of"] - 1)


@pytest.mark.parametrize(("before", "stage_name"), [*itertools.pairwise(HERE)])
def test_a_lesson_is_missed(before, stage_name, check_here):
    """A stage does not pass for the next one, and gets no points for what it cannot do."""
    checked = check_here(HERE[stage_name], [str(HERE[before].server)], go_on=True)
    assert first_failure(checked)[0] == LESSONS[stage_name]
    assert (checked["points"], checked["held"] > 0) == (0, True)
    assert checked["of_points"] > 0


def test_a_stage_passes(stage, check_here):
    checked = check_here(stage, [str(stage.server)])
    assert checked["passed"], first_failure(checked)


@one_stage
@pytest.mark.parametrize("name", NO_SERVERS)
def test_what_is_no_server(stage, name, check_here, monkeypatch, tmp_path):
    code, expected = NO_SERVERS[name]
    if name in {"never_listens", "hides_a_child"}:  # the others do what they do as soon as they can
        monkeypatch.setattr(candidate, "START", 0.5)
    path = hand_in(tmp_path, name, code)
    behaviour, reported = first_failure(check_here(stage, [path]))
    assert behaviour == "the first message is echoed", reported
    assert expected in reported
    assert not is_left(path)


@one_stage
def test_a_program_that_ends_and_is_no_python_file(stage, check_here):
    """It may have no main()."""
    failed = check_here(stage, ["true"])["behaviours"][0]
    assert failed["cause"] == ""
    assert "came to its last line and ended" in failed["problem"]


@one_stage
@pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells at once who listens")
def test_a_server_for_ipv6_that_listens_at_all_addresses(stage, check_here, monkeypatch, tmp_path):
    """This one listens at ::1 only, so that nobody else can connect to it."""
    listeners = kernel.listeners
    monkeypatch.setattr(
        kernel, "listeners", lambda pids: [("::", port) for _, port in listeners(pids)]
    )
    path = hand_in(tmp_path, "ipv6", NO_SERVERS["speaks_ipv6_alone"][0])
    _, reported = first_failure(check_here(stage, [path]))
    assert "Your server listens at ::, IPv6 only; let it listen at 127.0.0.1" in reported


@one_stage
def test_a_class_at_once(stage, tmp_path):
    """Right and wrong servers, and what is none, each in a process of its own."""
    right = hand_in(tmp_path, "right", stage.server.read_text(encoding="utf-8"))
    expected = {right: (True, "")}
    for flaw in FLAWS:
        if flaw.name in {"serves_one_at_a_time", "upper_cases"}:
            code = stage.server.read_text(encoding="utf-8").replace(flaw.old, flaw.new)
            expected[hand_in(tmp_path, flaw.name, code)] = False, flaw.report
    for name in ("ends_at_once", "floods", "forks_without_end"):
        code, reported = NO_SERVERS[name]
        expected[hand_in(tmp_path, name, code)] = False, reported
    output, _ = check("--json", stage.name, "--each", f"{tmp_path}/*/{SERVER}", status=1)
    reports = {report["command"]: report for report in json.loads(output)}
    assert reports.keys() == expected.keys()
    for path, (passed, reported) in expected.items():
        assert reports[path]["passed"] == passed
        assert passed or reported in first_failure(reports[path])[1]
    assert not is_left(str(tmp_path))


def test_there_are_enough_of_them():
    assert len(FLAWS) >= 25
    assert len({flaw.name for flaw in FLAWS}) == len(FLAWS)


SOCKETSERVER = """
import os, socketserver

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data)

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

Server(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"""
POOL = """
import os, socket
from concurrent.futures import ThreadPoolExecutor

def echo(client):
    with client:
        try:
            while data := client.recv(1024):
                client.sendall(data)
        except ConnectionError:
            pass

server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
with ThreadPoolExecutor(32) as pool:
    while True:
        pool.submit(echo, server.accept()[0])
"""
ASYNCIO = """
import asyncio, os

async def echo(reader, writer):
    try:
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()

asyncio.run(main())
"""


# Its heads differ from ours in everything that may differ: more headers, another order and case.
HTTP = """
import os, socketserver, urllib.parse
tasks = {"task_01": "see someone", "task_02": "read book", "task_03": "play basketball"}

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            if not line.strip():
                continue
            while self.rfile.readline().strip():
                pass
            method, _, rest = line.decode().strip().partition(" /")
            target, _, version = rest.partition(" ")
            task_id, equals, value = map(urllib.parse.unquote, target.partition("="))
            if version and method == "GET":
                found = task_id in tasks
                self.answer(200 if found else 404, tasks.get(task_id, "no key match"))
            elif version and equals:
                tasks[task_id] = value
                self.answer(200, "submit success")
            else:
                self.answer(400, "what?")

    def answer(self, status, text):
        body = text.encode()
        head = f"HTTP/1.1 {status} whatever\\r\\nDate: today\\r\\ncontent-length: {len(body)}\\r\\n"
        self.wfile.write(head.encode() + b"content-type: text/plain\\r\\n\\r\\n" + body)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 50

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.mark.stages(since="v0.8", until="v0.9")
def test_a_right_http_server_of_somebody_else(stage, tmp_path):
    output, _ = check(stage.name, hand_in(tmp_path, "other", HTTP), status=0)
    assert "behaviours hold, in" in output


@one_stage
@pytest.mark.parametrize(
    "code", [SOCKETSERVER, POOL, ASYNCIO], ids=["socketserver", "pool", "asyncio"]
)
def test_a_right_server_of_somebody_else(stage, code, tmp_path):
    output, _ = check(stage.name, hand_in(tmp_path, "other", code), status=0)
    assert "behaviours hold, in" in output
    assert "✗" not in output


@one_stage
@pytest.mark.parametrize(
    "line",
    [
        "ncat -lk 127.0.0.1 {port} -e /bin/cat",
        "socat TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr EXEC:cat",
    ],
)
def test_a_right_server_in_another_language(stage, line):
    words = line.split()
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    check(stage.name, "--", *words, status=0)


# Servers that others wrote, whose responses differ from ours in more than the headers: with chunks,
# with their own pages and errors, and some insist on CRLF, on Host or on the type of a form.
FOREIGN = ROOT / "tests" / "foreign"


def node(stage, _folder):
    return ["node", FOREIGN / "todo.js", stage.name]


def java(_stage, folder):
    run(ROOT, "javac", "-d", folder, FOREIGN / "Todo.java")
    return ["java", "-cp", folder, "Todo"]


def flask(_stage, folder):
    """As docs/flask.md says."""
    shutil.copytree(ROOT / "docs" / "flask", folder, dirs_exist_ok=True)
    (block,) = blocks(ROOT / "docs" / "flask.md", "sh flask check")
    begin, _, words = block.content.partition(" -- ")
    assert begin == "../../scripts/check v1.0"
    return words.replace("../..", str(ROOT)).split()


v1_0 = pytest.mark.stages(since="v1.0")


@pytest.mark.stages(since="v0.8")
@pytest.mark.parametrize(
    "language", [node, pytest.param(java, marks=v1_0), pytest.param(flask, marks=v1_0)]
)
def test_a_right_http_server_in_another_language(
    stage, language, check_here, tmp_path, monkeypatch
):
    if language is flask and not importlib.util.find_spec("flask"):
        leave_out(NO_FLASK)
    if language is not flask and not shutil.which({node: "node", java: "javac"}[language]):
        leave_out("node or javac is missing; install Debian's nodejs and default-jdk-headless")
    # They are large, and this computer may be busy.
    monkeypatch.setattr(candidate, "START", 60)
    monkeypatch.setattr(candidate.Candidate, "patience", 60)
    monkeypatch.setattr(candidate.Candidate, "may_sleep", True)
    words = language(stage, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = check_here(stage, [*map(str, words)])
    assert found["passed"], first_failure(found)


@one_stage
def test_what_a_student_reads(stage, tmp_path):
    code = stage.server.read_text(encoding="utf-8").replace("client.recv(1024)", 'b""')
    output, errors = check(stage.name, hand_in(tmp_path, "deaf", code), status=1)
    assert errors == ""
    assert "\x1b" not in output
    assert "✗" in output
    assert f"Read: {stage.lesson.relative_to(ROOT).parts[0]}" in output
    assert "not tried yet (--all goes on)." in output
    for word in ("pytest", "assert", "Mismatch", "fixture", "tests/"):
        assert word not in output.replace(str(tmp_path), "")


@one_stage
def test_what_a_server_prints_does_not_steer_the_terminal(stage, tmp_path):
    """Neither what it sends to a client nor what it writes itself."""
    code = stage.server.read_text(encoding="utf-8").replace("sendall(data)", 'sendall(b"\x1b[2J")')
    code = code.replace("    main()", '    print("\x1b[3J", flush=True)\n    main()')
    path = hand_in(tmp_path, "clears_the_screen", code)
    report, _ = check(stage.name, path, status=1)
    table, _ = check("--only", "first-message", stage.name, "--each", path, status=1)
    assert "\x1b" not in report + table
    assert r"\x1b[2J" in report
    assert r"\x1b[3J" in report


@one_stage
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["as a table", "as JSON"])
def test_hand_ins_with_any_name_and_any_output(stage, tmp_path, options):
    """None is lost, none is taken for an option or a pattern, and none steers the terminal."""
    names = [name.replace("/", "") for name in NAMES.values()]
    for name in names:
        hand_in(tmp_path, name, f"print({name!r})")
    paths = sorted(f"{name}/{SERVER}" for name in names)
    output, errors = check(stage.name, *options, "--each", "--", *paths, status=1, cwd=tmp_path)
    assert not any(map(steers, output + errors))
    if options:
        reports = json.loads(output)
        assert sorted(report["command"] for report in reports) == paths
        assert all("last line" in first_failure(report)[1] for report in reports)
    else:
        _, *rows = output.splitlines()
        assert len(rows) == len(paths)
        for path in paths:
            (row,) = [row for row in rows if row.startswith(f"{one_line(path)}  ")]
            last_line = os.fsencode(path.rpartition("/")[0].rpartition("\n")[2])
            printed = last_line.decode(errors="backslashreplace")
            assert row.rstrip().endswith(one_line(printed))


@one_stage
def test_all_goes_on_after_a_failure(stage, tmp_path):
    code = stage.server.read_text(encoding="utf-8").replace("client.recv(1024)", 'b""')
    path = hand_in(tmp_path, "deaf", code)
    output, _ = check("--all", "--json", stage.name, path, status=1)
    report = json.loads(output)
    assert len(report["behaviours"]) == report["of"] > report["held"]


@one_stage
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("", "the following arguments are required: STAGE, COMMAND"),
        ("v9.9 server.py", "there is no stage v9.9 here; there is v0."),
        ("STAGE no-such.py", "there is no no-such.py"),
        ("STAGE -- no-such-command {port}", "there is no no-such-command"),
        (
            "STAGE README.md",
            "README.md cannot be run; name the program that runs it, as in: -- node",
        ),
        ("STAGE tests/conftest.py tests/conftest.py", "one file at a time; --each takes"),
        ("--new STAGE a b", "--new needs one folder"),
        ("STAGE tests", "tests is a folder; name the file in it"),
        ("STAGE FOLDER/server.c", "compile it with gcc -pthread -o server FOLDER/server.c, and"),
        ("STAGE FOLDER/server.go", "compile it with go build -o server FOLDER/server.go, and"),
        ("STAGE FOLDER/server.rb", "as in: -- ruby FOLDER/server.rb {port}"),
        ("STAGE FOLDER/server.java", "as in: -- java FOLDER/server.java {port}"),
        ("STAGE FOLDER/server.sh", "as in: -- sh FOLDER/server.sh {port}"),
        ("STAGE FOLDER/windows", "FOLDER/windows has the line ends of Windows"),
        ("STAGE FOLDER/old", "the first line of FOLDER/old names python1.5, which is not there"),
    ],
)
def test_misuse(stage, words, problem, tmp_path):
    for end in ("c", "go", "rb", "java", "sh"):
        (tmp_path / f"server.{end}").touch()
    for name, line in (("windows", "#!/bin/sh\r\n"), ("old", "#!/usr/bin/env python1.5\n")):
        (tmp_path / name).write_bytes(line.encode())
        (tmp_path / name).chmod(0o755)
    words = words.replace("STAGE", stage.name).replace("FOLDER", str(tmp_path))
    _, errors = check(*words.split(), status=2)
    assert problem.replace("FOLDER", str(tmp_path)) in errors.splitlines()[-1]


@one_stage
@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "is not a file; name the file in which"),
        (os.mkfifo, "is not a file; name the file in which"),
        (lambda path: os.truncate(path.touch() or path, 8 << 30), "is longer than 1,000,000 bytes"),
        (lambda path: path.mkdir(), "is a folder; name the file in it"),
        (lambda path: path.symlink_to("nowhere"), "there is no"),
    ],
    ids=["device", "pipe", "sparse", "folder", "link"],
)
def test_files_that_are_no_programs(stage, tmp_path, make, problem):
    """None of them is read without an end, or run."""
    path = tmp_path / "server.py"
    make(path)
    _, errors = check(stage.name, path, status=2)
    assert problem in errors.splitlines()[-1]
    table, _ = check(stage.name, "--each", path, status=1)
    assert problem in table.splitlines()[-1]


@one_stage
@pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells which signals a program ignores")
def test_a_server_ignores_no_signal(stage):
    """A program in C must die here of what would end it in a shell."""
    output, _ = check(stage.name, "--", "grep", "SigIgn", "/proc/self/status", status=1)
    assert "SigIgn: 0000000000000000" in " ".join(output.split())


@one_stage
def test_a_pattern_that_matches_nothing(stage):
    _, errors = check(stage.name, "--each", "no/such/*.py", status=2)
    assert errors == "check: no file matches no/such/*.py\n"


@pytest.mark.stages(until="v0.2")
def test_start_from_nothing(stage, tmp_path):
    folder = tmp_path / "mine"
    output, _ = check("--new", stage.name, folder, status=0)
    path = folder / SERVER
    assert f"./scripts/check {stage.name} {path}" in output
    assert path.read_text(encoding="utf-8").startswith(f"# Your task, {stage.name}: {stage.title}")
    _, errors = check("--new", stage.name, folder, status=1)
    assert errors == f"check: {path} is there already; choose another folder\n"
    report, _ = check("--json", stage.name, path, status=1)
    expected = LESSONS.get(stage.name, "the first message is echoed")
    assert first_failure(json.loads(report))[0] == expected


@one_stage
def test_a_class_with_all(stage, tmp_path):
    """With what is no server among them."""
    code = stage.server.read_text(encoding="utf-8").replace("client.recv(1024)", 'b""')
    deaf = hand_in(tmp_path, "deaf", code)
    (tmp_path / "notes").write_text("no program")
    output, _ = check("--all", "--json", stage.name, "--each", f"{tmp_path}/notes", deaf, status=1)
    reports = {report["command"]: report for report in json.loads(output)}
    assert all(result["holds"] is not None for result in reports[deaf]["behaviours"])
    assert "notes cannot be run" in reports[f"{tmp_path}/notes"]["problem"]


@one_stage
@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("option", ["--all", "--each"])
def test_ctrl_c_leaves_nothing_behind(stage, tmp_path, option):
    code = "import time\ntime.sleep(100)"
    paths = [hand_in(tmp_path, f"idle_{number}", code) for number in range(20)]
    each = f"{tmp_path}/*/{SERVER}" if option == "--each" else paths[0]
    words = ["./scripts/check", option, stage.name, each]

    def a_server_runs():
        return any(path in cmdline(p)[1:2] for p in is_left(str(tmp_path)) for path in paths)

    with started(words, start_new_session=True, text=True) as checking:
        assert wait_until(a_server_runs, 120)  # twelve checks start at once, perhaps beside others
        os.killpg(checking.pid, signal.SIGINT)
        assert checking.wait(60) in {130, -signal.SIGINT}
    assert wait_until(lambda: not is_left(str(tmp_path)))


@one_stage
@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_done_is_told_at_the_end(stage, tmp_path, number):
    hand_in(tmp_path, "quick", "")
    hand_in(tmp_path, "slow", "import time\ntime.sleep(100)")
    words = ["./scripts/check", stage.name, "--each", f"{tmp_path}/*/{SERVER}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(words, start_new_session=True, text=True, **pipes) as checking:
        assert "quick" in checking.stderr.readline()
        if number == signal.SIGINT:
            os.killpg(checking.pid, number)  # as the terminal does
        else:
            checking.send_signal(number)
        reported, errors = checking.communicate(timeout=60)
    assert "came to its last line" in reported
    assert "slow" not in reported
    assert "check: 1 of 2 were not checked" in errors
    assert wait_until(lambda: not is_left(str(tmp_path)))


@one_stage
def test_a_hand_in_that_takes_too_long_leaves_nothing_behind(stage, tmp_path, monkeypatch):
    """Not even what it has sent into the background."""
    monkeypatch.setattr(whole_class, "SECONDS", 2)
    path = hand_in(tmp_path, "hides_a_child", NO_SERVERS["hides_a_child"][0])
    report = asyncio.run(whole_class.Class(stage, [path], {}).check_in_a_process(path))
    assert report["problem"] == "It is not done after 2 seconds."
    assert not is_left(path)
