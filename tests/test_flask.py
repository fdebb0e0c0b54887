"""docs/flask.md: the apps and servers of others, driven as the page says."""

import contextlib
import importlib.util
import shutil

import pytest
from browser import two_windows
from classroom.check import candidate
from classroom.course import ROOT
from classroom.play import Play
from classroom.session import parse
from classroom.terminal import wait_until, with_crlf
from missing import NO_FLASK, leave_out
from test_pages import blocks

PAGE = ROOT / "docs" / "flask.md"
SECONDS = 60  # at most, to start and to answer: these servers are large


def played():
    """Yield each session of the page with the command that the page gives before it."""
    command = None
    for block in blocks(PAGE, "sh flask", "session flask"):
        if block.info == "sh flask":
            command = block.content.strip()
        else:
            yield pytest.param(command, block, id=block.place)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that starts a server with a command of the page."""
    if not importlib.util.find_spec("flask"):
        leave_out(NO_FLASK)
    # A copy, because an app may write a file beside itself.
    shutil.copytree(ROOT / "docs" / "flask", tmp_path / "docs" / "flask")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    monkeypatch.chdir(tmp_path / "docs" / "flask")
    monkeypatch.setenv("HOME", str(tmp_path))  # where gunicorn makes a socket
    monkeypatch.setattr(candidate, "START", SECONDS)
    with contextlib.ExitStack() as stack:

        def start(command):
            words = command.replace("9000", "{port}").split()
            server = stack.enter_context(contextlib.closing(candidate.Candidate(words)))
            server.patience = SECONDS
            server.demands_headers = False  # the player types what a reader types, and nothing else
            return server

        yield start


@pytest.mark.parametrize(("command", "block"), list(played()))
def test_session(start, command, block, nc):
    path, _, line = block.place.rpartition(":")
    steps = parse(block.content, path, int(line))
    server = start(command)
    with Play(server, with_crlf(nc)) as player:

        def accepted(terminal):
            found = terminal.connection()
            return found is None or found.accepted is not False

        def before(step):
            """Wait, as a person who types, until each client is accepted and its line is read."""
            if step.action != "shows" and "waits" not in block.content:
                assert wait_until(lambda: all(map(accepted, player.terminals.values())), SECONDS)
                server.wait_for_rest()

        for _ in player.steps(steps, before):
            pass


def test_the_page_shows_the_apps():
    """And they are all of them but the one with the database."""
    shown = [block.content for block in blocks(PAGE, "python")]
    folder = ROOT / "docs" / "flask"
    assert shown == [(folder / name).read_text() for name in ("todo.py", "which_request.py")]


@pytest.mark.parametrize("app", ["todo", "todo_sqlite"])
def test_a_browser(start, browser, app):
    """The app passes what v1.0 passes."""
    server = start(f"../../.venv/bin/flask --app {app} run --port 9000")
    two_windows(browser, server.port)
