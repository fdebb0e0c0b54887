"""The lessons: their sessions are played on real nc, and on a server whose threads are seen."""

import time

from classroom.play import stage_set


def test_session(stage, session, nc, record_property):
    begin = time.perf_counter()
    with stage_set(stage, nc) as player:
        player.run(session)
    record_property("session", time.perf_counter() - begin)


def test_each_lesson_has_a_session(stage):
    assert stage.sessions()
