"""The solutions of the exercises: each does what its session shows, and its stage does not.

A file in solutions/ is a diff of a stage's server. Above the diff, `> ` begins a line of the
session, in which A is connected from PORT, and `log> ` begins what a line of the log must contain.
"""

import contextlib
import dataclasses
import re
import sys
import tty

import pytest
import test_check
from classroom.course import ROOT, SERVER
from classroom.play import Play
from classroom.session import parse
from classroom.terminal import Server, wait_until
from clones import run

check_here = test_check.check_here  # a fixture
SOLUTIONS = {path.stem: path for path in sorted(ROOT.glob("tests/solutions/*.diff"))}
every_solution = pytest.mark.parametrize("name", SOLUTIONS)


def lines(name, pattern):
    """Return what the group in `pattern` matches in each line of the solution."""
    return re.findall(pattern, SOLUTIONS[name].read_text(encoding="utf-8"), re.MULTILINE)


def play(name, path, nc):
    server = Server([sys.executable, str(path), "--port", "0"])
    with contextlib.closing(server), Play(server, nc) as player:
        player.connect("A")
        terminal = player.terminals["A"]
        tty.setcbreak(terminal.child.child_fd)  # nc sends a text that contains \n at once
        session = "\n".join(lines(name, "^> (.*)"))
        steps = parse(session.replace("PORT", str(terminal.client_port)), name)
        player.run([dataclasses.replace(s, text=s.text.replace(r"\n", "\n")) for s in steps])
        log = ".*".join(f": {line}\n" for line in lines(name, "^log> (.*)"))
        assert wait_until(lambda: re.search(log, server.log(), re.S), server.patience), server.log()


@every_solution
def test_a_solution_works(name, nc, check_here, tmp_path):
    path = tmp_path / SERVER
    path.write_bytes(test_check.HERE[name.partition("-")[0]].server.read_bytes())
    run(tmp_path, "git", "apply", SOLUTIONS[name])
    play(name, path, nc)
    for passed in lines(name, r"^It passes \./scripts/check (v[\d.]+\d)"):
        report = check_here(test_check.HERE[passed], [str(path)])
        assert report["passed"], test_check.first_failure(report)


@every_solution
def test_a_stage_needs_its_solution(name, nc, monkeypatch):
    monkeypatch.setattr(Server, "patience", 0.2)
    with pytest.raises(AssertionError):  # a Mismatch is an AssertionError
        play(name, test_check.HERE[name.partition("-")[0]].server, nc)
