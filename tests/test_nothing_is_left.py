"""Commands that end in the wrong moment: what they hold back, and what the next one cleans up."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from classroom import interrupts, kernel, shared
from classroom.check import candidate, whole_class
from classroom.course import ROOT, stages
from classroom.output import Problem
from classroom.terminal import wait_until
from clones import command, started

NAME = stages()[-1].name
pytestmark = pytest.mark.usefixtures("signals")
# A server that neither a signal nor the end of its terminal ends, with a child in the background.
STUBBORN = """
import os, signal, socket
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
    signal.signal(number, signal.SIG_IGN)
if not os.fork():
    os.setsid()
    signal.pause()
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
clients = []
while True:
    clients.append(server.accept())  # or Python closes the connection, and the check ends at once
"""
# A process that checks such a server, and prints the path of its control group.
CHECKING = """
import sys
from classroom.check import candidate
candidate.ControlGroup.FOLDERS = {folders}
server = candidate.Candidate([sys.executable, {path!r}])
server.port
print(server._group.path if server._group else "no group", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stubborn(tmp_path):
    path = tmp_path / "stubborn.py"
    path.write_text(STUBBORN)
    return str(path)


def is_left(words):
    """Return the processes in whose command line these words are."""
    return [process.pid for process in psutil.process_iter() if words in cmdline(process)]


def cmdline(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_an_interrupt_waits_for_the_end_of_a_block(number):
    done = []

    def block():
        with interrupts.held:
            with interrupts.held:
                signal.raise_signal(number)
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt) as caught:
        block()
    assert done
    assert interrupts.number_of(caught.value) == number


def test_a_second_interrupt_does_not_interrupt_the_clean_up():
    """Ctrl-C reaches all processes of a terminal, and the suite ends its processes besides.

    A later one does: the first may have been lost.
    """
    cleaned_up = []

    def command():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned_up.append("the rest")

    with pytest.raises(KeyboardInterrupt) as caught:
        command()
    assert cleaned_up
    assert interrupts.number_of(caught.value) == signal.SIGINT
    interrupts.held.cleaned_up -= interrupts.TO_CLEAN_UP  # as if these seconds were over
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_for_the_block_of_another_thread():
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with interrupts.held:
            entered.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    signal.raise_signal(signal.SIGTERM)
    leave.set()
    # The other thread sends it on, and Python handles it in this one, now or a moment later.
    with pytest.raises(KeyboardInterrupt):
        wait_until(lambda: False)
    holder.join()


@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere psutil asks the kernel")
def test_an_interrupt_is_not_lost_while_the_kernel_is_asked(monkeypatch):
    class Interrupted(socket.socket):
        def close(self):
            super().close()
            signal.raise_signal(signal.SIGINT)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client_port = client.getsockname()[1]
            monkeypatch.setattr("classroom.kernel.socket.socket", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                kernel.connection(os.getpid(), client_port, port)


@pytest.mark.parametrize("each", [[], ["--each"]], ids=["one", "each"])
@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_check_that_is_ended_leaves_nothing(stubborn, each, number):
    """With --all it waits two seconds for each of many behaviours, so it is never done before."""
    words = ["./scripts/check", "--all", *each, NAME, stubborn]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True}
    with started(words, **pipes) as checking:
        assert wait_until(lambda: len(is_left(f"python3 {stubborn}")) >= 2, 20)
        os.killpg(checking.pid, number)  # as a terminal does
        _, errors = checking.communicate(timeout=20)
        assert checking.returncode == 128 + number, errors.decode()
    assert not is_left(stubborn)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_suite_that_is_ended_leaves_nothing(project, number):
    """Only its first process gets the signal, as from `kill`, and interrupts the one with the test.

    If it did not, xdist would raise SIGINT there, five seconds later.
    """
    code = f"import time; time.sleep(100) # {project}"
    (project / "tests" / "test_sleep.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        "from classroom.interrupts import number_of\nfrom clones import command\n\n\n"
        "def test_sleep():\n"
        f"    try:\n        command(sys.executable, '-c', {code!r})\n"
        "    except KeyboardInterrupt as interrupt:\n"
        "        Path(__file__).with_suffix('.signal').write_text(str(int(number_of(interrupt))))\n"
        "        raise\n"
    )
    words = ["./scripts/test", "-n1", "tests/test_sleep.py"]
    with started(words, cwd=project, stdout=subprocess.DEVNULL) as suite:
        assert wait_until(lambda: is_left(code), 20)
        suite.send_signal(number)
        assert suite.wait(20) == pytest.ExitCode.INTERRUPTED
    assert (project / "tests" / "test_sleep.signal").read_text() == str(int(signal.SIGTERM))
    assert not is_left(str(project))


@pytest.mark.parametrize(
    ("folders", "linux"),
    [("candidate.ControlGroup.FOLDERS", kernel.LINUX), ("()", kernel.LINUX), ("()", False)],
)
def test_what_a_killed_check_leaves_is_ended_by_the_next_one(stubborn, folders, linux, monkeypatch):
    """By its control group, and where there is none, by the mark in its environment.

    Not every user may make a group; then both are the same.
    """
    can_make = candidate.ControlGroup.make()
    if can_make:
        can_make.remove()
    monkeypatch.setattr(kernel, "LINUX", linux)
    code = CHECKING.format(folders=folders, path=stubborn)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started([sys.executable, "-c", code], env=environment, **pipes) as checking:
        group = Path(checking.stdout.readline().decode().strip())
        assert group.exists() == bool(folders != "()" and can_make)
        candidate.sweep()
        assert len(is_left(f"python {stubborn}")) == 2, "it was ended while its check lives"
        with shared.lock("groups"):  # or a check that runs beside this test may sweep first
            checking.kill()
            checking.wait()
            assert is_left(stubborn)
    candidate.sweep()
    assert wait_until(lambda: not is_left(stubborn))
    assert not group.exists()


# A process that starts an nc, and loses the terminal before the child becomes nc.
LOSES_ITS_TERMINAL = """
import os, sys
from ptyprocess import ptyprocess
from classroom.terminal import spawn
us = os.getpid()

def fail(*_):
    if os.getpid() != us:
        raise OSError(5, "Input/output error")  # as when nobody has the other end any more

ptyprocess._setwinsize = fail
try:
    spawn(["cat"])
finally:
    os.write({descriptor}, b"x")
"""


def test_a_child_never_goes_on_as_its_parent():
    reading, writing = os.pipe()
    code = LOSES_ITS_TERMINAL.format(descriptor=writing)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = command(sys.executable, "-c", code, env=environment, pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123
        assert pipe.read() == b"x", done.stderr


def test_a_server_whose_ports_are_locked_elsewhere_is_left_alone():
    """In a chroot, the shared folder of another check may have the same path."""
    environment = os.environ | {candidate.MARK: f"{shared.folder()}:10000:x"}
    with started(["sleep", "100"], env=environment) as elsewhere:
        candidate.sweep()
        assert elsewhere.poll() is None


def test_a_folder_that_is_no_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr(candidate.ControlGroup, "FOLDERS", [tmp_path])
    assert candidate.ControlGroup.make() is None
    assert not list(tmp_path.iterdir())


def turns_on_its_check(folder, number):
    """Write a server that sends this signal to its check, and return its path."""
    path = folder / "server.py"
    start = (
        "import os, threading; "
        f'"Thread-5" in threading.current_thread().name and os.kill(os.getppid(), {number:d})\n'
    )
    code = stages()[-1].server.read_text(encoding="utf-8")
    path.write_text(code.replace("        try:\n", f"        {start}        try:\n", 1))
    return path


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_while_a_check_does_not_react(tmp_path, monkeypatch, times):
    """Also if it comes while the check is being ended."""
    monkeypatch.setattr(whole_class, "TO_END", 0.5)
    path = str(turns_on_its_check(tmp_path, signal.SIGSTOP))

    def is_stopped():
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.STATUS_STOPPED in [psutil.Process(pid).status() for pid in is_left(path)]

    async def interrupt():
        checking = asyncio.create_task(
            whole_class.Class(stages()[-1], [path], {}).check_in_a_process(path)
        )
        while not is_stopped():
            await asyncio.sleep(0.01)
        for _ in range(times):
            checking.cancel()
            await asyncio.sleep(0)  # it begins to end the check
        await checking

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(interrupt(), 60))
    assert not is_left(path)


@pytest.mark.parametrize(
    ("number", "seconds", "problem"),
    [
        (signal.SIGKILL, 60, "It could not be checked: the check ended with status -9"),
        (signal.SIGSTOP, 2, "It is not done after 2 seconds."),
    ],
)
def test_a_server_that_turns_on_its_check(tmp_path, monkeypatch, number, seconds, problem):
    """Neither is left, and what held before is in the report."""
    monkeypatch.setattr(whole_class, "SECONDS", seconds)
    monkeypatch.setattr(whole_class, "TO_END", 0.5)
    stage = stages()[-1]
    path = turns_on_its_check(tmp_path, number)
    servers = whole_class.Class(stage, [str(path)], {})
    report = asyncio.run(servers.check_in_a_process(str(path)))
    assert report["problem"] == problem
    assert report["held"] < report["of"] or number == signal.SIGSTOP
    assert report["held"] > 0 or number == signal.SIGSTOP
    assert wait_until(lambda: not is_left(str(path)))


# What several processes share.


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared.folder.cache_clear()
    yield tmp_path / f"simpleSocketServer-{os.getuid()}"
    shared.folder.cache_clear()


def test_the_shared_folder_is_the_users_own(temporary):
    assert shared.folder() == temporary
    assert temporary.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("what", ["a link", "a file", "open to all", "somebody else's"])
def test_a_shared_folder_that_somebody_has_prepared_is_refused(temporary, what, monkeypatch):
    if what == "a link":
        Path(temporary.parent / "elsewhere").mkdir()
        temporary.symlink_to("elsewhere")
    elif what == "a file":
        temporary.write_text("")
    else:
        temporary.mkdir(mode=0o700)
    if what == "open to all":
        temporary.chmod(0o777)
    if what == "somebody else's":
        temporary.rename(temporary.with_name("simpleSocketServer-12345"))
        monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(Problem, match="is not a folder that belongs to you only; remove it, or"):
        shared.folder()


def test_a_link_in_the_shared_folder_is_not_followed(temporary, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (shared.folder() / "ports").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        shared.open_file("ports")
    assert victim.read_text() == "precious"


def test_the_check_says_that_the_shared_folder_is_not_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / f"simpleSocketServer-{os.getuid()}").write_text("")
    done = command("./scripts/check", NAME, str(stages()[-1].server))
    assert done.returncode == 1
    assert done.stderr.startswith(f"check: {tmp_path}/simpleSocketServer-")
    assert done.stderr.count("\n") == 1
