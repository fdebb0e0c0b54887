"""The README shows what the suite and the demo show today, and lessons show the servers."""

import difflib
import itertools

import test_behaviours
from classroom.course import ROOT, stages
from classroom.demo import draw_sessions
from conftest import shows, table
from markdown_it import MarkdownIt


def test_table_of_behaviours():
    names = [f"v0.{number}" for number in range(1, 7)]
    rows = {}
    for test in vars(test_behaviours).values():
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "behaviour":
                rows[mark.args[0]] = {name: "yes" if shows(mark, name) else "no" for name in names}
    assert "\n".join(table(rows, names)) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_picture(tmp_path, nc):
    """The picture is what the two stages do today."""
    drawn = tmp_path / "drawn.svg"
    draw_sessions(stages()[1:3], nc, drawn)
    picture = ROOT / "docs" / "pictures" / "blocking-and-threaded.svg"
    again = "./scripts/demo --svg docs/pictures/blocking-and-threaded.svg v0.2 v0.3"
    assert drawn.read_text() == picture.read_text(), f"draw it again: {again}"


def test_a_lesson_shows_what_has_changed_since_the_stage_before(stage):
    after = stage.server.read_text().splitlines()
    shown = []
    for one, next_one in itertools.pairwise(stages()):
        if next_one == stage:
            before = one.server.read_text().splitlines()
            _, _, *changes = difflib.unified_diff(before, after, n=1, lineterm="")
            shown = ["\n".join(changes) + "\n"]
    assert fences(stage.lesson, "diff") == shown


def test_what_a_lesson_quotes_stands_in_the_server(stage):
    for quoted in fences(stage.lesson, "python"):
        assert quoted in stage.server.read_text()


def fences(page, language):
    """Return the contents of the fenced blocks of a page that are in this language."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == language]
