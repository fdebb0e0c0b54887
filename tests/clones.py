"""Commands as a user runs them, and clones of the project to run them in."""

import contextlib
import shutil
import signal
import stat
import subprocess

import pytest
from classroom import interrupts
from classroom.course import ROOT


@contextlib.contextmanager
def started(words, **options):
    """Start a command, and end it with the block, also if the test fails or is interrupted."""
    with subprocess.Popen(words, **{"cwd": ROOT} | options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=10)
                process.kill()  # what it has started may outlive it, so this comes last


def command(*words, input=None, **options):
    """Run a command that must end by itself; return it with its output as text."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"stdin": subprocess.PIPE if input else subprocess.DEVNULL} | options
    with started(words, text=True, **pipes, **options) as process:
        output, errors = process.communicate(input, timeout=120)
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


def run(folder, *words, status=0):
    """Run a command, which must end with `status`; return what it prints."""
    done = command(*words, cwd=folder)
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + done.stderr


def commit(folder, name="Student"):
    run(folder, "git", "config", "user.name", name)
    run(folder, "git", "config", "user.email", f"{name}@localhost")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", f"{name}'s commit")


def copy(folder):
    """Copy the project with its uncommitted changes and our .venv, but without git."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".ruff_cache")
    shutil.copytree(ROOT, folder, ignore=ignored)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)  # ours may be read-only
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.fixture
def signals():
    """Let signals end what a test starts, also where the suite runs under nohup or as a job."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in interrupts.SIGNALS}
    interrupts.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def project(tmp_path):
    return copy(tmp_path / "project")


@pytest.fixture(scope="session")
def committed(tmp_path_factory):
    """The project in a repository with one commit, to be copied."""
    folder = copy(tmp_path_factory.mktemp("committed") / "project")
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


@pytest.fixture
def repository(committed, tmp_path):
    return shutil.copytree(committed, tmp_path / "project", symlinks=True)


@pytest.fixture(scope="session")
def with_tags(committed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with_tags") / "project"
    shutil.copytree(committed, folder, symlinks=True)
    run(folder, "./scripts/tag")
    return folder


@pytest.fixture
def tagged(with_tags, tmp_path):
    return shutil.copytree(with_tags, tmp_path / "project", symlinks=True)
