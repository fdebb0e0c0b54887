"""The README shows what the suite and the demo show today."""

import test_behaviours
from classroom.course import ROOT, stages
from classroom.demo import draw_sessions
from conftest import shows, table


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
