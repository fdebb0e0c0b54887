"""Prints, at the end of a run, the table of behaviours and stages, and what the tests counted."""

import statistics

import pytest
from classroom.play import Mismatch


def pytest_configure(config):
    config.pluginmanager.register(Summary(config))


class Summary:
    """What the tests of one run have reported. They run in several processes, in any order."""

    def __init__(self, config):
        self.config = config
        self.outcomes = {}  # from a behaviour's line and text to {a stage's name: a word of MARKS}
        self.recorded = {  # what tests have said with record_property()
            "session": [],  # how long it took to play one, in seconds
            "unchecked": [],  # the place of a block in a page that no test checks
        }

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Write into the report which behaviour it is about, and on which stage."""
        # To describe a failure takes pytest as long as a test, and nobody reads of an expected one.
        if (
            item.get_closest_marker("xfail")
            and call.excinfo
            and call.excinfo.errisinstance(Mismatch)
        ):
            item.repr_failure = str
        report = yield
        if mark := item.get_closest_marker("behaviour"):
            report.behaviour = mark.args[0], item.callspec.params["stage"].name
        return report

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            for name, value in report.user_properties:
                self.recorded[name].append(value)
        if hasattr(report, "behaviour") and (report.when == "call" or report.failed):
            text, stage_name = report.behaviour
            outcome = "FAILED" if report.failed else "no" if hasattr(report, "wasxfail") else "yes"
            row = self.outcomes.setdefault((report.location[1], text), {})
            if row.get(stage_name) != "FAILED":
                row[stage_name] = outcome

    def pytest_terminal_summary(self, terminalreporter):
        if self.outcomes:
            terminalreporter.section("behaviours and stages")
            rows = {text: row for (_, text), row in sorted(self.outcomes.items())}
            for line in table(rows, [stage.name for stage in self.config.stages]):
                terminalreporter.write_line(line)
            terminalreporter.write_line(LEGEND)
        if durations := self.recorded["session"]:
            median = statistics.median(durations) * 1000
            terminalreporter.write_line(f"{len(durations)} sessions, {median:.0f} ms at the median")
        if unchecked := self.recorded["unchecked"]:
            counted = f"{len(unchecked)} blocks of the pages are unchecked"
            terminalreporter.write_line(": ".join([counted, *sorted(unchecked)]))


LEGEND = "–: this stage must not show it, and does not; pytest counts it as xfailed"
MARKS = {"yes": "yes", "no": "–", "FAILED": "FAILED"}


def table(rows, names):
    """Return the lines of a table in Markdown: a row a behaviour, a column a stage."""
    width = max(map(len, rows))
    lines = [
        "| " + " | ".join(["behaviour".ljust(width), *names]) + " |",
        "| " + " | ".join(["-" * width, *(":--:" for _ in names)]) + " |",
    ]
    for text, row in rows.items():
        cells = [MARKS[row[name]].center(4) if name in row else "    " for name in names]
        lines.append("| " + " | ".join([text.ljust(width), *cells]) + " |")
    return lines
