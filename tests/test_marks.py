"""The marks of the checker, and the files that it writes for other programs."""

import csv
import json
import re
from xml.etree import ElementTree

import pytest
from classroom.check import exports, writers
from classroom.check.command import name_of
from classroom.check.points import read_points
from classroom.check.report import SCHEMA, summed_up
from classroom.course import ROOT, SERVER, stages
from classroom.output import Misuse, printable
from clones import command
from test_output import steers
from test_pages import blocks

CHECK = ROOT / "scripts" / "check"
STAGE = stages()[-1]
NASTY = "=1+1 <b>&\x1b[2J\u202e ```\n````"


def behaviour(name, holds, taught=True, points=1, **rest):
    told = {"name": name, "behaviour": f"{name} <is> held", "taught": taught, "points": points}
    return told | {"lessons": ["stages/v0.3/README.md"], "holds": holds} | rest


FAILED = {
    "cause": "",
    "ended": False,
    "problem": NASTY,
    "aftermath": "",
    "hint": "Look.",
    "by_hand": [],
    "last_lines": NASTY,
}
BEHAVIOURS = {
    each["name"]: each
    for each in (
        behaviour("kept", True, taught=False, points=0),
        behaviour("new", True, points=2),
        behaviour("broken", False, points=0.5, terminals={"A": NASTY}, **FAILED),
        behaviour("later", None),
    )
}
CONTENT = {"schema": SCHEMA, "stage": "v0.3", "command": "server.py", "of": 4, "seconds": 1.5}
REPORT = summed_up(CONTENT, BEHAVIOURS.values())


def test_sums():
    assert (REPORT["points"], REPORT["of_points"], REPORT["held"]) == (2, 3.5, 2)
    assert not REPORT["passed"]
    assert not summed_up(CONTENT | {"of": 0}, [])["passed"]
    held = [each | {"holds": True} for each in BEHAVIOURS.values()]
    assert summed_up(CONTENT, held)["passed"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "2 behaviours hold, and one does not; 1 of 4 was not tried yet (--all goes on)."),
        (
            {"problem": "It is slow."},
            "It is slow. 2 of 4 behaviours hold; 1 was not tried; of those that v0.3 teaches, "
            "1 of 3.",
        ),
        (
            {"behaviours": list(BEHAVIOURS.values())[:3], "of": 3},
            "2 of 3 behaviours hold; of those that v0.3 teaches, 1 of 2.",
        ),
        ({"passed": True}, "All 4 behaviours hold, in 1.5 s."),
        ({"passed": True, "of": 1}, "This behaviour holds, in 1.5 s."),
        ({"of": 1, "behaviours": [BEHAVIOURS["broken"]]}, "This behaviour does not hold."),
        (
            {"held": 1},
            "1 behaviour holds, and one does not; 1 of 4 was not tried yet (--all goes on).",
        ),
    ],
)
def test_the_summary(change, expected):
    assert writers.summary(REPORT | change) == expected


def test_a_report_that_breaks_off():
    """What a killed check has written is kept, and the rest was not tried."""
    lines = ['{"schema": 1, "of": 4, "behaviours": [', json.dumps(BEHAVIOURS["kept"]), ',{"na']
    read = writers.read_json("\n".join(lines), dict.fromkeys(BEHAVIOURS, behaviour("x", None)))
    assert (read["held"], len(read["behaviours"]), read["passed"]) == (1, 4, False)
    assert [each["holds"] for each in read["behaviours"]] == [True, None, None, None]


def test_csv(tmp_path):
    path = tmp_path / "marks.csv"
    table = exports.Csv(path, BEHAVIOURS)
    table.add("=anna/server.py", REPORT)
    with path.open(encoding="utf-8", newline="") as file:  # it is complete before the end
        (row,) = csv.DictReader(file)
    assert row == {
        "server": "'=anna/server.py",  # no formula
        "points": "2",
        "of_points": "3.5",
        "held": "2",
        "of": "4",
        "problem": "broken",
        "kept": "1",
        "new": "1",
        "broken": "0",
        "later": "",
    }


def test_junit(tmp_path):
    """Its elements and attributes are those of junit-10.xsd."""
    path = tmp_path / "junit.xml"
    document = exports.Junit(path, BEHAVIOURS)
    document.add("anna", REPORT)
    document.add("ben", REPORT)
    root = ElementTree.parse(path).getroot()
    assert [root.tag, *(suite.tag for suite in root)] == ["testsuites", "testsuite", "testsuite"]
    counts = {"tests": "4", "failures": "1", "errors": "0", "skipped": "1", "time": "1.5"}
    assert root[1].attrib == {"name": "ben"} | counts
    cases = {case.get("name"): case for case in root[1]}
    assert {case.tag for case in root[1]} == {"testcase"}
    assert all(case.attrib.keys() == {"classname", "name"} for case in root[1])
    (failure,) = cases["broken <is> held"]
    assert (failure.tag, failure.attrib.keys()) == ("failure", {"message"})
    assert printable(NASTY) in failure.text
    assert not any(map(steers, failure.text))
    assert [child.tag for child in cases["later <is> held"]] == ["skipped"]
    assert not list(cases["new <is> held"])


def test_gradescope(tmp_path):
    """Its fields are those of https://gradescope-autograders.readthedocs.io/en/latest/specs/."""
    path = tmp_path / "results.json"
    exports.Gradescope(path, BEHAVIOURS).add("server.py", REPORT)
    content = json.loads(path.read_text())
    assert content.keys() == {"score", "execution_time", "output", "tests"}
    assert (content["score"], content["execution_time"]) == (2, 2)
    kept, new, broken, later = content["tests"]
    assert kept == {"name": "kept <is> held", "status": "passed", "output_format": "text"}
    assert (new["status"], new["score"], new["max_score"]) == ("passed", 2, 2)
    assert (broken["status"], broken["score"], broken["max_score"]) == ("failed", 0, 0.5)
    assert printable(NASTY) in broken["output"]
    assert (later["status"], later["output"]) == ("failed", "This was not tried.")


def test_feedback(tmp_path):
    """What a server says is text, and cannot end the block in which it stands."""
    exports.Feedback(tmp_path / "pages", BEHAVIOURS).add("anna/server.py", REPORT)
    page = (tmp_path / "pages" / "anna" / "server.py.md").read_text(encoding="utf-8")
    assert page.startswith("# v0.3: 2 of 3.5 points\n\n2 behaviours hold, ")
    assert "- [x] new <is> held\n- [ ] broken <is> held\n\n  `````text\n" in page
    assert page.count("`````") == 2
    assert "- [ ] not tried: later <is> held\n" in page
    assert not any(map(steers, page))


def test_the_name_of_a_command(tmp_path):
    """It stands in the files; {port} is no name."""
    (tmp_path / "echo.js").touch()
    assert name_of(["node", str(tmp_path / "echo.js"), "{port}"]) == "echo.js"
    assert name_of(["ncat", "-lk", "{port}"]) == "ncat"


def test_points(tmp_path):
    path = tmp_path / "points.toml"
    path.write_text("new = 2\nbroken = 0.5\n")
    assert read_points(path) == {"new": 2, "broken": 0.5}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("new = ", "cannot be read"),
        ("new = 'two'", "new is not a number from 0 on"),
        ("new = -1", "new is not a number"),
        ("new = true", "new is not a number"),
        ("new = nan", "new is not a number"),
        ("[new]\nx = 1", "new is not a number"),
        (None, "cannot be read"),
    ],
)
def test_what_are_no_points(tmp_path, content, problem):
    path = tmp_path / "points.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Misuse, match=problem):
        read_points(path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--only no-such", f"{STAGE.name} has no behaviour no-such; it has "),
        ("--points POINTS", f"{STAGE.name} has no behaviour no-such; it has "),
        ("--csv no/such/folder.csv", "No such file or directory"),
        ("--gradescope x.json --each", "--gradescope is for one server"),
    ],
)
def test_misuse_of_the_options(tmp_path, options, problem):
    (tmp_path / "points.toml").write_text("no-such = 1")
    words = options.replace("POINTS", str(tmp_path / "points.toml")).split()
    done = command(CHECK, STAGE.name, *words, str(STAGE.server), cwd=tmp_path)
    assert done.returncode in {1, 2}
    assert problem in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_all_files_at_once(tmp_path):
    """The right server has all points; the other one has no server at all."""
    for name, code in {"anna": STAGE.server.read_text(encoding="utf-8"), "ben": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.py").write_text(code, encoding="utf-8")
    (tmp_path / "points.toml").write_text("next-client = 3")
    words = ["--only", "next-client", "--points", "points.toml", "--csv", "marks.csv"]
    words += ["--junit", "junit.xml", "--feedback", "pages", "--each", "*/server.py"]
    done = command(CHECK, STAGE.name, *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    rows = {row.split()[0]: row for row in done.stdout.splitlines()}
    assert re.fullmatch(r"anna/server.py +3/3 +1/1", rows["anna/server.py"])
    assert re.match(r"ben/server.py +0/3 +0/1  .*came to its last line", rows["ben/server.py"])
    with (tmp_path / "marks.csv").open(encoding="utf-8", newline="") as file:
        marks = {row["server"]: (row["points"], row["next-client"]) for row in csv.DictReader(file)}
    assert marks == {"anna/server.py": ("3", "1"), "ben/server.py": ("0", "0")}
    assert len(ElementTree.parse(tmp_path / "junit.xml").getroot()) == 2
    assert (tmp_path / "pages" / "ben" / "server.py.md").exists()


@pytest.mark.parametrize("checked", [stages()[0], STAGE])
def test_what_comes_next(checked):
    here = {"stage": checked.name, "command": "my_server.py"}
    passed = dict(writers.next_steps(REPORT | here | {"passed": True}))
    ours = checked.server.relative_to(ROOT)
    assert passed["Compare it with ours"] == f"diff my_server.py {ours}"
    assert ("What comes next" in passed) == (checked != STAGE)
    failed = dict(writers.next_steps(REPORT | here | {"command": "node echo.js"}))
    assert failed["Only this"] == f"./scripts/check {checked.name} --only broken -- node echo.js"


# The recipes of docs/check.md.

PAGE = ROOT / "docs" / "check.md"


def recipe(language):
    (block,) = blocks(PAGE, language)
    return block.content


@pytest.fixture
def class_folder(tmp_path):
    """A folder with the project in `course`, and with a right server as each recipe wants it."""
    (tmp_path / "course").symlink_to(ROOT)
    for folder in ("handins/anna", "submission", "results"):
        (tmp_path / folder).mkdir(parents=True)
        code = (ROOT / "stages" / "v0.3" / SERVER).read_text(encoding="utf-8")
        (tmp_path / folder / "server.py").write_text(code, encoding="utf-8")
    return tmp_path


def test_the_recipe_for_github_actions(class_folder):
    (line,) = re.findall(r"run: (.*)", recipe("yaml"))
    done = command("sh", "-c", line, cwd=class_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = re.findall(r"path: (\S+\.xml)", recipe("yaml"))
    assert 'testsuite name="anna/server.py"' in (class_folder / path).read_text()


def test_the_recipe_for_gradescope(class_folder):
    script = recipe("sh gradescope").replace("/autograder", str(class_folder))
    done = command("sh", "-c", script, cwd=class_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((class_folder / "results" / "results.json").read_text())
    assert results["score"] == 5


def test_the_points_of_the_page(tmp_path):
    path = tmp_path / "points.toml"
    path.write_text(recipe("toml"))
    stage = next(stage for stage in stages() if stage.name == "v0.3")
    names = ["--points", str(path), "--only", "first-message"]
    done = command(CHECK, *names, "--json", "v0.3", str(stage.server))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["of_points"] == 0  # the only one counts nothing
