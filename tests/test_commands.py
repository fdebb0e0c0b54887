"""The commands, as a user runs them: setup, demo, and what they say when something is wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import pexpect
import psutil
import pytest
from classroom.course import ROOT, stages
from classroom.play import Play
from classroom.terminal import NC_OF_OURS, wait_until

COMMANDS = ["setup", "test", "demo", "draw", "tag"]
NAMES = [stage.name for stage in stages()]
FIRST = NAMES[0]


def run(*words, **options):
    """Run a command that must end by itself; return it with its output as text."""
    options = {"stdin": subprocess.DEVNULL, "timeout": 60, "cwd": ROOT} | options
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    done = run(f"./scripts/{command}", "--help")
    assert done.returncode == 0
    assert f"usage: ./scripts/{command}" in done.stdout
    assert done.stderr == ""


def test_every_command_is_here():
    programs = [path for path in (ROOT / "scripts").iterdir() if os.access(path, os.X_OK)]
    assert {path.name for path in programs if path.is_file()} == {*COMMANDS, "nc.py"}


# setup


def test_setup_has_nothing_to_do():
    done = run("./scripts/setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def bare(tmp_path):
    """A copy of the project without .venv, and a PATH with no more than setup needs."""
    project, path = tmp_path / "project", tmp_path / "bin"
    (project / "scripts").mkdir(parents=True)
    path.mkdir()
    shutil.copy(ROOT / "scripts" / "setup", project / "scripts")
    shutil.copy(ROOT / "requirements.txt", project)
    for tool in ("sh", "dirname", "cmp", "cp", "id", "tr", "git"):
        if found := shutil.which(tool):
            (path / tool).symlink_to(found)
    return project, path


def fake(path, name, script):
    """Put a program of our own on the PATH."""
    program = path / name
    program.unlink(missing_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def setup(bare):
    project, path = bare
    return run("/bin/sh", "scripts/setup", cwd=project, env={"PATH": str(path)})


def test_setup_without_python(bare):
    done = setup(bare)
    assert done.returncode == 1
    assert done.stderr == "setup: there is no python3; install Python 3.10 or newer\n"


def test_setup_with_an_old_python(bare):
    fake(bare[1], "python3", '[ "$1" = --version ] && echo Python 3.6.9 && exit; exit 1')
    done = setup(bare)
    assert done.returncode == 1
    assert re.fullmatch(r"setup: Python 3\.6\.9 is too old; install .*\n", done.stderr)


def test_setup_without_the_venv_module(bare):
    fake(bare[1], "python3", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    done = setup(bare)
    assert done.returncode == 1
    assert re.fullmatch(r"setup: python3 lacks its venv module; .*python3-venv\n", done.stderr)


def test_setup_without_a_network_leaves_nothing_that_the_next_run_trips_over(bare):
    project, path = bare
    # A Python whose venv has a pip that fails, as it does without a network.
    fake(
        path, "python3", '[ "$1" = -m ] && mkdir -p "$4/bin" && cp /bin/false "$4/bin/python"; true'
    )
    for tool in ("mkdir", "cp"):
        (path / tool).unlink(missing_ok=True)
        (path / tool).symlink_to(shutil.which(tool))
    for _ in range(2):
        done = setup(bare)
        assert done.returncode == 1
        assert done.stderr.endswith("is there a network? Then run this again.\n")
        assert not (project / ".venv" / "requirements.txt").exists()


def test_setup_installs_nc_or_says_that_it_cannot(bare):
    project, path = bare
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    shutil.copy(ROOT / "requirements.txt", project / ".venv")
    done = setup(bare)
    assert done.returncode == 0
    assert done.stderr == (
        "setup: there is no nc, and no package manager that we know; scripts/nc.py serves instead\n"
    )
    assert setup(bare).stderr == "", "it said so again"

    (project / ".venv" / "nc-was-tried").unlink()
    fake(path, "id", "echo 0")
    fake(path, "apt-get", "exit 1")
    done = setup(bare)
    assert done.returncode == 0
    assert "apt-get install" in done.stderr
    assert "that failed; scripts/nc.py serves instead." in done.stderr

    (project / ".venv" / "nc-was-tried").unlink()
    fake(path, "apt-get", f'[ "$1" = update ] || : >"{path}/nc"; /bin/chmod +x "{path}/nc"; true')
    done = setup(bare)
    assert done.returncode == 0
    assert "serves instead" not in done.stderr
    assert (path / "nc").exists()


# test


def test_unknown_stage():
    done = run("./scripts/test", "--stage", "v9.9")
    assert done.returncode == 4
    assert f"no stage v9.9 here; there is {', '.join(NAMES)}" in done.stderr
    assert "Traceback" not in done.stderr


# demo


def test_demo_into_a_pipe():
    done = run("./scripts/demo", FIRST)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{FIRST}: ")
    assert "\x1b" not in done.stdout
    for step in stages()[0].sessions()[0]:
        assert step.text.partition(" ")[0][:20] in done.stdout  # longer ones may be folded
    assert "nc 127.0.0.1 9000" in done.stdout


def test_demo_of_an_unknown_stage():
    done = run("./scripts/demo", "v9.9")
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"error: there is no stage v9.9 here; there is {', '.join(NAMES)}\n"
    )


def test_demo_with_a_missing_nc():
    done = run("./scripts/demo", "--nc", "no-such-nc", FIRST)
    assert done.returncode == 1
    assert done.stderr.startswith("demo: cannot start no-such-nc: ")
    assert "Traceback" not in done.stderr


def test_demo_draws_a_picture(tmp_path):
    picture = tmp_path / "picture.svg"
    done = run("./scripts/demo", "--svg", str(picture), FIRST)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = " ".join(ET.parse(picture).getroot().itertext()).replace("\xa0", " ")
    assert stages()[0].title in text


def test_demo_draws_where_it_cannot():
    done = run("./scripts/demo", "--svg", "/no/such/folder/x.svg", FIRST)
    assert done.returncode == 1
    assert re.fullmatch(r"demo: .*No such file or directory.*\n", done.stderr)


@pytest.fixture
def demo():
    """Return a function that starts the demo on a terminal; afterwards no process may be left."""
    started = []

    def start(*options, columns=100, rows=30, **further):
        child = pexpect.spawn(
            "./scripts/demo",
            [*options],
            cwd=str(ROOT),
            dimensions=(rows, columns),
            env=os.environ | {"TERM": "xterm-256color"},
            encoding="utf-8",
            timeout=20,
            **further,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def descendants(child):
    return psutil.Process(child.pid).children(recursive=True)


@pytest.mark.parametrize("size", [(60, 20), (200, 50)])
def test_demo_on_a_terminal(demo, size):
    child = demo("--fast", FIRST, columns=size[0], rows=size[1])
    child.expect("The end. q leaves")
    child.send("q")
    child.expect("Try it by hand")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_demo_can_be_left_at_any_time(demo, key):
    child = demo("--step", FIRST)
    child.expect(re.escape(stages()[0].title))
    assert wait_until(
        lambda: any(process.name().startswith("python") for process in descendants(child))
    )
    child.send("\r\r")
    left = descendants(child)
    child.send(key)
    child.expect(r"\x1b\[\?1049l")  # back from the alternate screen
    child.expect(pexpect.EOF)
    assert wait_until(lambda: not any(process.is_running() for process in left))


def test_demo_ends_with_its_terminal(demo):
    """Even where hang-ups are ignored, as under nohup."""
    child = demo("--step", FIRST, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    child.expect(re.escape(stages()[0].title))
    child.send("\r\r")
    assert wait_until(lambda: len(descendants(child)) == 2)  # the server, and A's nc
    everybody = [psutil.Process(child.pid), *descendants(child)]
    child.ptyproc.fileobj.close()
    assert wait_until(lambda: not any(is_alive(process) for process in everybody))


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_demo_that_goes_wrong_says_so(demo):
    child = demo("--fast", "--nc", "false", FIRST)
    child.expect(r"demo: .*README\.md:\d+: A> .*\s+but A could not connect")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1


# nc.py


def test_our_nc_in_a_session(stage, server):
    with Play(server, NC_OF_OURS) as player:
        player.run(stage.sessions()[0])


@pytest.mark.stages(since="v0.2")
def test_our_nc_in_a_pipe(server):
    done = run(*NC_OF_OURS, "127.0.0.1", str(server.port), stdin=None, input="hello\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "usage: nc.py HOST PORT"),
        (["127.0.0.1", "nine"], "usage: nc.py HOST PORT"),
        (["127.0.0.1", "70000"], "nc.py: 127.0.0.1:70000: "),
        (["127.0.0.1", "1"], "nc.py: 127.0.0.1:1: .*Connection refused"),
    ],
)
def test_our_nc_with_bad_arguments(arguments, problem):
    done = run(*NC_OF_OURS, *arguments)
    assert done.returncode == 1
    assert re.match(problem, done.stderr)
    assert done.stderr.count("\n") == 1
