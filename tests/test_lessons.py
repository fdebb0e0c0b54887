"""The lessons: their sessions are played on real nc, and on a server whose threads are seen."""

import contextlib
import sys
import time

from classroom.candidate import Candidate
from classroom.play import Play
from classroom.terminal import Server


def test_session(stage, session, nc, request, record_property):
    if candidate := request.config.server:
        server = Candidate(candidate)
    else:
        server = Server([sys.executable, str(stage.server), "--port", "0"], watched=True)
    with contextlib.closing(server), Play(server, nc) as player:
        begin = time.perf_counter()
        player.run(session)
        record_property("session", time.perf_counter() - begin)


def test_each_lesson_has_a_session(stage):
    assert stage.sessions()
