"""Runs the behaviours on one server, and reports the result of each at once."""

import itertools
import json
import os
import shlex
import textwrap
import time

import pytest
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from classroom.check.diagnosis import problem_of
from classroom.course import ROOT, stages
from classroom.drawing import window
from classroom.output import Problem, one_line, printable
from classroom.play import Breakdown
from classroom.terminal import find_nc, with_crlf

SESSION = "the session of its lesson, from the first line to the last"
LAST_LINES, COLUMNS = 12, 300  # of what a server has printed
SECONDS = 30  # for a server; a right one takes less than ten, and half of the class may be slow


class OnPage:
    """Writes a report for people."""

    def __init__(self, page):
        self.page = page

    def begin(self, report):
        self.page.print(Text(one_line(f"{report['stage']}: {report['command']}"), style="bold"))

    def progress(self, done, of):
        if self.page.is_terminal:
            self.page.print(f"  … {done} of {of} done", end="\r", style="dim")

    def add(self, result, error):
        page = self.page
        if result["holds"]:
            page.print(Text.assemble(("✓ ", "green"), result["behaviour"]))
            return
        page.print(Text.assemble(("✗ ", "bold red"), (result["behaviour"], "bold")))
        if result["terminals"]:
            table = Table(*result["terminals"], header_style="bold underline", box=None)
            table.add_row(*itertools.starmap(window, error.record.clients.items()))
            page.print(Padding(table, (0, 1), expand=False))
        for text in (result["problem"], result["aftermath"], result["hint"]):
            if text:
                page.print(textwrap.indent(textwrap.fill(text, page.width - 4), "  "))
        if result["last_lines"]:
            last_lines = Text(printable(result["last_lines"]), overflow="fold")
            page.print("  The last lines that it printed:")
            page.print(Padding(last_lines, (0, 0, 0, 4), expand=False))
        page.print(f"  Read: {result['lesson']}", style="dim")

    def end(self, report):
        if report["passed"]:
            result = f"All {report['of']} behaviours hold, in {report['seconds']:.1f} s."
        else:
            rest = report["of"] - len(report["behaviours"])
            result = f"{report['held']} of {report['of']} behaviours hold" + (
                f"; {rest} not tried."
                if "problem" in report
                else f"; {rest} not tried yet (--all goes on)."
                if rest
                else "."
            )
        self.page.print(" ".join(filter(None, [report.get("problem"), result])))
        if not report["passed"]:
            watch = f"./scripts/demo {report['stage']} --server {report['command']}"
            self.page.print(Text(f"Watch it: {one_line(watch)}", style="dim"))


class AsJson:
    """Writes a report as JSON, each behaviour as soon as it is known; see `read_json`."""

    def begin(self, report):
        head = json.dumps({name: report[name] for name in ("stage", "command", "of")})
        print(f'{head[:-1]}, "behaviours": [', flush=True)
        self.comma = ""

    def progress(self, done, of):
        pass

    def add(self, result, error):
        # The comma comes before it, so every line that was written is complete.
        print(f"{self.comma}{json.dumps(result)}", flush=True)
        self.comma = ","

    def end(self, report):
        names = {"passed", "held", "seconds", "problem"}
        tail = json.dumps({name: report[name] for name in report if name in names})
        print(f"], {tail[1:]}")


def read_json(text):
    """Return the report that AsJson has written, also if the writer was killed before its end."""
    report = {"of": 0, "behaviours": []}
    try:
        report |= json.loads(text)
    except ValueError:
        if text:  # otherwise it was killed before it wrote anything
            report |= json.loads(text[: text.rfind("\n")] + "]}")
    held = sum(result["holds"] for result in report["behaviours"])
    return {"passed": False, "held": held} | report


class Report:
    """A pytest plugin that gets the result of each behaviour."""

    def __init__(self, stage, words, go_on, writer):
        self.stage = stage
        self.go_on = go_on  # after a failure
        self.deadline = time.monotonic() + SECONDS
        self.writer = writer
        self.results = []
        self.content = {"stage": stage.name, "command": shlex.join(words), "of": 0}
        self.ended_by = None  # the interrupt or the OSError that ended it before its time

    def pytest_configure(self, config):
        config.option.tbstyle = "native"  # nobody reads it, and it takes the least time

    def pytest_collection_finish(self, session):
        self.content["of"] = len(session.items)
        self.write("begin", self.content)

    def pytest_runtest_logstart(self, location):
        self.write("progress", len(self.results), self.content["of"])

    def write(self, what, *arguments):
        """Let the writer write; if it cannot, end pytest, which would print an error itself."""
        try:
            getattr(self.writer, what)(*arguments)
        except OSError as error:
            self.ended_by = error
            raise KeyboardInterrupt from error

    def pytest_keyboard_interrupt(self, excinfo):
        if not isinstance(excinfo.value, pytest.Session.Interrupted):
            self.ended_by = self.ended_by or excinfo.value

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.when == "call" or report.failed:
            mark = item.get_closest_marker("behaviour")
            servers = getattr(item, "servers", [])
            log = servers[-1].log() if report.failed and servers else ""
            self.add(mark, call.excinfo.value if call.excinfo else None, log)
            if report.failed and not self.go_on:
                item.session.shouldstop = "it was reported"
            elif time.monotonic() > self.deadline and len(self.results) < self.content["of"]:
                item.session.shouldstop = "it takes too long"
                self.content["problem"] = f"It takes more than {SECONDS} seconds."
        return report

    def add(self, mark, error, log):
        lesson = mark.kwargs.get("since", "v0.1") if mark else self.stage.name
        if not (ROOT / "stages" / lesson).exists():  # at a tag
            lesson = self.stage.name
        path = next(stage.lesson for stage in stages() if stage.name == lesson)
        result = {
            "behaviour": mark.args[0] if mark else SESSION,
            "holds": error is None,
            "lesson": str(path.relative_to(ROOT)),
        }
        if error is not None:
            result["problem"] = problem_of(error)
            result["aftermath"] = getattr(error, "aftermath", "")
            hint = mark.kwargs["hint"] if mark else f"Watch it: ./scripts/demo {self.stage.name}"
            result["hint"] = "" if isinstance(error, Breakdown) else hint
            last_lines = log.rstrip().split("\n")[-LAST_LINES:]
            result["last_lines"] = "\n".join(line[:COLUMNS] for line in last_lines)
            record = getattr(error, "record", None)
            clients = record.clients if record else {}
            result["terminals"] = {name: client.text() for name, client in clients.items()}
        self.results.append(result)
        self.write("add", result, error)

    def complete(self, seconds):
        """Return the whole report."""
        return self.content | {
            "passed": self.content["of"] == sum(result["holds"] for result in self.results),
            "held": sum(result["holds"] for result in self.results),
            "seconds": round(seconds, 2),
            "behaviours": self.results,
        }


def check(stage, words, go_on, writer):
    """Check the server that the command `words` starts; return the report as a dict."""
    begin = time.monotonic()
    report = Report(stage, words, go_on, writer)
    tests = ROOT / "tests"
    options = ["-c", tests / "pytest.ini", "--rootdir", ROOT]
    options += ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:terminal"]
    options += ["-p", "no:cacheprovider", "--disable-plugin-autoload", "--assert=plain"]
    # It collects garbage five times at the end, to find what nobody here would read.
    options += ["-p", "no:unraisableexception"]
    options += ["--stage", stage.name, f"--server={shlex.join(words)}"]
    # HTTP demands CRLF; our own servers accept LF as well.
    nc = with_crlf(find_nc()) if stage.number >= (0, 8) else find_nc()
    options += [f"--nc={shlex.join(nc)}"]
    chosen = [tests / "test_behaviours.py", f"{tests / 'test_lessons.py'}::test_session"]
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # they are meant for other runs
    status = pytest.main([*map(str, [*options, *chosen])], plugins=[report])
    if status in {pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR}:
        raise Problem("the suite itself is broken; ./scripts/test says more")
    if report.ended_by:
        raise report.ended_by
    content = report.complete(time.monotonic() - begin)
    writer.end(content)
    return content
