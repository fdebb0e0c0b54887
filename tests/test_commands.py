"""The commands, as a user runs them: setup, demo, and what they say when something is wrong."""

import os
import re
import shutil
import sys

import pytest
from classroom.course import ROOT, SERVER, stages
from clones import command, commit, run
from conftest import OF_A_STAGE

COMMANDS = ["setup", "test", "demo", "check", "draw", "tag"]
NAMES = [stage.name for stage in stages()]
FIRST = NAMES[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name):
    done = command(f"./scripts/{name}", "--help")
    assert done.returncode == 0
    assert f"usage: ./scripts/{name}" in done.stdout
    assert done.stderr == ""


def test_every_command_is_here():
    programs = [path for path in (ROOT / "scripts").iterdir() if os.access(path, os.X_OK)]
    assert {path.name for path in programs if path.is_file()} == {*COMMANDS, "nc.py"}


# Where they are called from, and how.


@pytest.mark.parametrize("name", COMMANDS)
def test_through_a_link_from_another_folder(name, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(ROOT / "scripts" / name)
    done = command(link, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: ./scripts/" in done.stdout


@pytest.mark.parametrize("name", ["demo", "check", "draw"])
def test_with_libraries_of_the_user(name, tmp_path, monkeypatch):
    """What the user's own Python would find first is not taken for ours."""
    (tmp_path / "rich.py").write_text("raise SystemExit('this is not rich')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = command(ROOT / "scripts" / name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_suite_from_another_folder_with_an_nc_of_its_own(tmp_path):
    """--nc NAME is the same as --nc=NAME, also where NAME is a file."""
    words = [
        "--nc",
        "/bin/cat",
        "--stage",
        FIRST,
        "-n0",
        "-q",
        "--collect-only",
        "-k",
        "no_request",
    ]
    for more in ([], [ROOT / "tests" / "test_behaviours.py"]):
        done = command(ROOT / "scripts" / "test", *words, *more, cwd=tmp_path)
        assert f"test_no_request[{FIRST}]" in done.stdout, done.stderr
    done = command(ROOT / "scripts" / "test", "--nc", cwd=tmp_path)
    assert "argument --nc: expected one argument" in done.stderr


# setup


def test_setup_has_nothing_to_do():
    done = command("./scripts/setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def bare(tmp_path):
    """A copy of the project without .venv, and a PATH with no more than setup needs."""
    project, path = tmp_path / "project", tmp_path / "bin"
    (project / "scripts").mkdir(parents=True)
    path.mkdir()
    shutil.copy(ROOT / "scripts" / "setup", project / "scripts")
    shutil.copy(ROOT / "requirements.txt", project)
    for tool in ("sh", "dirname", "readlink", "cmp", "cp", "id", "tr", "git"):
        if found := shutil.which(tool):
            (path / tool).symlink_to(found)
    return project, path


def fake(path, name, script):
    """Put a program of our own on the PATH."""
    program = path / name
    program.unlink(missing_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def setup(bare, **environment):
    project, path = bare
    return command("/bin/sh", "scripts/setup", cwd=project, env={"PATH": str(path)} | environment)


def has_all(bare):
    """Give the project a .venv in which setup finds nothing to do."""
    project, path = bare
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    shutil.copy(ROOT / "requirements.txt", project / ".venv")
    fake(path, "nc", "")


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


@pytest.mark.parametrize("target", ["no-such-folder", "of-another-clone"])
def test_setup_where_venv_is_a_link(bare, target):
    """The link is replaced, and what it leads to stays as it is."""
    project, path = bare
    (project / "of-another-clone").mkdir()
    (project / "of-another-clone" / "file").write_text("")
    (project / ".venv").symlink_to(target)
    fake(path, "python3", '[ "$1" != -m ]')  # one that cannot make .venv, link or not
    (path / "rm").symlink_to(shutil.which("rm"))
    assert "could not make .venv" in setup(bare).stderr
    assert not (project / ".venv").is_symlink()
    assert (project / "of-another-clone" / "file").exists()


def test_setup_with_another_python_than_before(bare):
    has_all(bare)
    assert setup(bare, PYTHON=sys.executable).stderr == ""
    fake(bare[1], "other", '[ "$1" != -m ]')  # one that cannot make .venv
    assert "could not make .venv" in setup(bare, PYTHON="other").stderr
    assert "there is no no-such-python" in setup(bare, PYTHON="no-such-python").stderr


def test_setup_installs_nc_or_says_that_it_cannot(bare):
    project, path = bare
    has_all(bare)
    (path / "nc").unlink()
    done = setup(bare)
    assert done.returncode == 0
    assert done.stderr == (
        "setup: there is no nc, and no package manager that we know; "
        "the commands use scripts/nc.py instead\n"
    )
    assert setup(bare).stderr == "", "it said so again"

    (project / ".venv" / "nc-was-tried").unlink()
    fake(path, "id", "echo 1000")
    fake(path, "apt-get", "exit 1")
    assert re.fullmatch(
        r"setup: there is no nc; the commands use scripts/nc\.py instead\. "
        r"To install one: sudo sh -c '\S+/apt-get update .* install .*'\n",
        setup(bare).stderr,
    )

    (project / ".venv" / "nc-was-tried").unlink()
    fake(path, "id", "echo 0")
    done = setup(bare)
    assert done.returncode == 0
    assert "apt-get install" in done.stderr
    assert "that failed; the commands use scripts/nc.py instead," in done.stderr

    (project / ".venv" / "nc-was-tried").unlink()
    fake(path, "apt-get", f'[ "$1" = update ] || : >"{path}/nc"; /bin/chmod +x "{path}/nc"; true')
    done = setup(bare)
    assert done.returncode == 0
    assert "nc.py instead" not in done.stderr
    assert (path / "nc").exists()


# test


def test_unknown_stage():
    done = command("./scripts/test", "--stage", "v9.9")
    assert done.returncode == 4
    assert f"no stage v9.9 here; there is {', '.join(NAMES)}" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_stage_is_tested_without_our_commands():
    # No stage has all of them: only the last one has a page for a browser.
    stages = [f"--stage={name}" for name in NAMES[-2:]]
    output = run(ROOT, "./scripts/test", *stages, "-n0", "--collect-only", "-q")
    assert set(re.findall(r"^tests/(test_\w+\.py)::", output, re.MULTILINE)) == OF_A_STAGE
    named = ["-n0", "--collect-only", "-q", "tests/test_session.py"]
    assert "tests/test_session.py::" in run(ROOT, "./scripts/test", "--stage", FIRST, *named)


# The stages


def test_stages_come_by_their_numbers(repository):
    """v0.10 is above v0.9, in the list of stages and in the tags."""
    for name in ("v0.10", "v1.1"):
        folder = shutil.copytree(repository / "stages" / NAMES[-1], repository / "stages" / name)
        for file in (SERVER, "README.md"):
            text = (folder / file).read_text(encoding="utf-8")
            (folder / file).write_text(
                text.replace(f"{NAMES[-1]}: ", f"{name}: ", 1), encoding="utf-8"
            )
    commit(repository)
    names = [*NAMES[:-1], "v0.10", NAMES[-1], "v1.1"]
    assert (
        f"there is {', '.join(names)}" in command("./scripts/demo", "v9.9", cwd=repository).stderr
    )
    titles = run(repository, "git", "log", "--reverse", "--format=%s", "v1.1").splitlines()
    assert [title.partition(":")[0] for title in titles] == names
    done = command(
        "./scripts/test",
        "--stage",
        "v0.10",
        "-n0",
        "-k",
        "test_every_message or test_http_get or test_http_together",
        cwd=repository,
    )
    assert "2 passed" in done.stdout


def test_a_server_at_the_top_is_no_tag(project):
    shutil.copy(project / "stages" / "v0.1" / SERVER, project)
    assert f"there is {', '.join(NAMES)}" in command("./scripts/demo", "v9.9", cwd=project).stderr


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# v0.1: ", "# The first stage: ", ":1: expected a heading like '# v0.2: title'"),
        ("A> hello\n", "A sneezes\n", ": cannot read 'A sneezes'; a line is A> text"),
    ],
)
@pytest.mark.parametrize("words", ["demo v0.1", "check v0.1 x.py", "draw", "test -n0"])
def test_a_malformed_lesson_is_told_in_one_line(project, words, old, new, problem):
    lesson = project / "stages" / "v0.1" / "README.md"
    text = lesson.read_text(encoding="utf-8")
    lesson.write_text(text.replace(old, new, 1), encoding="utf-8")
    (project / "x.py").write_text("")
    name, *options = words.split()
    done = command(f"./scripts/{name}", *options, cwd=project)
    assert done.returncode
    assert problem in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr + done.stdout
