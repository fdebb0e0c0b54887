"""Writes the reports on servers into files for other programs: marks, CI and feedback.

Each class has a method `add`, which writes the report on one server as soon as it is complete.
"""

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

from classroom.check.writers import summary
from classroom.output import one_line, printable


class Csv:
    """A table for a spreadsheet: a row for each server, a column for each behaviour."""

    def __init__(self, path, behaviours):
        """`behaviours` are the stage's, by their names."""
        self.names = list(behaviours)
        self.path = Path(path)
        self.path.write_bytes(b"")
        self._write(["server", "points", "of_points", "held", "of", "problem", *self.names])

    def add(self, name, report):
        sums = [report[field] for field in ("points", "of_points", "held", "of")]
        held = {result["name"]: result["holds"] for result in report["behaviours"]}
        cells = ["" if held[each] is None else int(held[each]) for each in self.names]
        self._write([harmless(name), *sums, harmless(first_problem(report)), *cells])

    def _write(self, row):
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(row)


def harmless(text):
    """Return text that no spreadsheet takes for a formula."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


class Junit:
    """The XML that CI systems show as test results: a suite for each server.

    Its form is that of https://github.com/jenkinsci/xunit-plugin, junit-10.xsd.
    """

    def __init__(self, path, _behaviours):
        self.path = Path(path)
        self.root = ElementTree.Element("testsuites")
        self._write()

    def add(self, name, report):
        results = report["behaviours"]
        counts = {
            "tests": len(results),
            "failures": sum(result["holds"] is False for result in results),
            "errors": 0,  # which the schema demands
            "skipped": sum(result["holds"] is None for result in results),
            "time": report.get("seconds", 0),
        }
        numbers = {key: str(value) for key, value in counts.items()}
        suite = ElementTree.SubElement(self.root, "testsuite", name=one_line(name), **numbers)
        for result in results:
            where = {"classname": one_line(name), "name": result["behaviour"]}
            case = ElementTree.SubElement(suite, "testcase", where)
            if result["holds"] is None:
                ElementTree.SubElement(case, "skipped", message="not tried")
            elif not result["holds"]:
                message = one_line(result["cause"] or result["problem"])
                failure = ElementTree.SubElement(case, "failure", message=message)
                failure.text = explained(result)
        self._write()

    def _write(self):
        tree = ElementTree.ElementTree(self.root)
        ElementTree.indent(tree)
        tree.write(self.path, encoding="utf-8", xml_declaration=True)


class Gradescope:
    """The results.json of an autograder: https://gradescope-autograders.readthedocs.io/en/latest/specs/"""

    def __init__(self, path, _behaviours):
        self.path = Path(path)
        self.path.touch()

    def add(self, _name, report):
        tests = []
        for result in report["behaviours"]:
            test = {"name": result["behaviour"], "output_format": "text"}
            test["status"] = "passed" if result["holds"] else "failed"
            if result["points"]:  # what is worth nothing has no score
                test["score"] = result["points"] if result["holds"] else 0
                test["max_score"] = result["points"]
            if not result["holds"]:
                tried = result["holds"] is not None
                test["output"] = explained(result) if tried else "This was not tried."
            tests.append(test)
        content = {
            "score": report["points"],
            "execution_time": round(report.get("seconds", 0)),
            "output": summary(report),
            "tests": tests,
        }
        self.path.write_text(json.dumps(content, indent=2), encoding="utf-8")


class Feedback:
    """A page of Markdown for the author of each server."""

    def __init__(self, path, _behaviours):
        self.folder = Path(path)
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, name, report):
        lines = [f"# {report.get('stage', '')}: {report['points']} of {report['of_points']} points"]
        lines += ["", summary(report), ""]
        for result in report["behaviours"]:
            mark = {True: "[x]", False: "[ ]", None: "[ ] not tried:"}[result["holds"]]
            lines.append(f"- {mark} {result['behaviour']}")
            if result["holds"] is False:
                lines += ["", *fenced(explained(result)), ""]
        path = self.folder / f"{one_line(name).strip('/')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def fenced(text):
    """Return text as a block of Markdown, in an item of a list, that nothing in it can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"  {line}".rstrip() for line in (f"{fence}text", *text.split("\n"), fence)]


def first_problem(report):
    """Return the name of the first behaviour that does not hold, or why there is none."""
    failed = [result for result in report["behaviours"] if result["holds"] is False]
    return failed[0]["name"] if failed else report.get("problem", "")


def explained(result):
    """Return all that there is to say of a behaviour that does not hold, as plain text."""
    parts = [result[part] for part in ("cause", "problem", "aftermath", "hint")]
    for letter, content in result["terminals"].items():
        parts.append(f"Terminal {letter}:\n{content.rstrip()}")
    if result["last_lines"]:
        parts.append(f"The last lines that it printed:\n{result['last_lines']}")
    parts += ["By hand: " + "\n  ".join(result["by_hand"])] * bool(result["by_hand"])
    parts.append(f"Read: {', and '.join(result['lessons'])}")
    return printable("\n".join(filter(None, parts)))
