"""The README's table is the one that the suite prints."""

import test_behaviours
from classroom.course import ROOT
from conftest import shows, table


def test_table_of_behaviours():
    names = [f"v0.{number}" for number in range(1, 7)]
    rows = {}
    for test in vars(test_behaviours).values():
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "behaviour":
                rows[mark.args[0]] = {name: "yes" if shows(mark, name) else "no" for name in names}
    assert "\n".join(table(rows, names)) in (ROOT / "README.md").read_text(encoding="utf-8")
