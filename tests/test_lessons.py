"""The lessons: their sessions are played on real nc."""


def test_session(session, play):
    play(session)


def test_each_lesson_has_a_session(stage):
    assert stage.sessions()
