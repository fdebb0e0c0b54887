"""The lessons: their sessions are played on real nc, and on a server whose threads are seen."""

import contextlib
import time

from classroom.play import Play, Prompt
from classroom.session import at_prompt


def test_session(session, start_server, nc, record_property):
    with contextlib.ExitStack() as stack:
        if at_prompt(session):
            server = stack.enter_context(contextlib.closing(Prompt()))
        else:
            server = start_server(watched=True)
        player = stack.enter_context(Play(server, nc))
        begin = time.perf_counter()
        player.run(session)
        record_property("session", time.perf_counter() - begin)


def test_each_lesson_has_a_session(stage):
    assert stage.sessions()
