"""The lessons: their sessions are played on real nc, and on a server whose threads are seen."""

import time

from classroom.play import Play


def test_session(session, start_server, nc, record_property):
    with Play(start_server(watched=True), nc) as player:
        begin = time.perf_counter()
        player.run(session)
        record_property("session", time.perf_counter() - begin)


def test_each_lesson_has_a_session(stage):
    assert stage.sessions()
