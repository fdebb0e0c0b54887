"""Runs the behaviours on one server, and reports the result of each at once."""

import os
import shlex
import time

import pytest

from classroom.check.candidate import NoServer
from classroom.check.diagnosis import by_hand, diagnosis_of
from classroom.course import ROOT, stages
from classroom.output import Misuse, Problem, one_line
from classroom.terminal import find_nc, with_crlf

SCHEMA = 1  # the number of the report's format; docs/check.md describes it
SESSION = "the session of its lesson, from the first line to the last"
LAST_LINES, COLUMNS = 12, 300  # of what a server has printed
SECONDS = 30  # for a server; a right one takes six, and more on a busy machine


class Collector:
    """A pytest plugin that learns which behaviours a stage has, and chooses one of them."""

    def __init__(self, stage, only=None, weights=None):
        """`only` is the name of a behaviour; `weights` are points by name."""
        self.stage = stage
        self.only = only
        self.weights = weights
        self.behaviours = {}  # what is known of each before it is tried, by name

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        for item in items[:]:
            behaviour = self.describe(item)
            if self.only in {None, behaviour["name"]}:
                self.behaviours[behaviour["name"]] = behaviour
            else:
                items.remove(item)

    def describe(self, item):
        """Return what is known of a behaviour before it is tried."""
        mark = item.get_closest_marker("behaviour")
        since = mark.kwargs.get("since", "v0.1") if mark else self.stage.name
        taught = since == self.stage.name
        lessons = [s.lesson for s in stages() if s.name in {since, self.stage.name}]
        name = item.originalname.removeprefix("test_").replace("_", "-")
        return {
            "name": name,
            "behaviour": mark.args[0] if mark else SESSION,
            "taught": taught,
            "points": self.weights.get(name, 0) if self.weights is not None else int(taught),
            # Of this stage first, and then of the one that taught it; at a tag there is only one.
            "lessons": [str(path.relative_to(ROOT)) for path in reversed(lessons)],
            "holds": None,
        }

    def run(self, words, *options):
        """Let pytest run, or only collect, the behaviours that a server of others must show."""
        tests = ROOT / "tests"
        options = ["-c", tests / "pytest.ini", "--rootdir", ROOT, *options]
        options += ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:terminal"]
        options += ["-p", "no:cacheprovider", "--disable-plugin-autoload", "--assert=plain"]
        # It collects garbage five times at the end, to find what nobody here would read.
        options += ["-p", "no:unraisableexception"]
        options += ["--stage", self.stage.name, f"--server={shlex.join(words)}"]
        chosen = [tests / "test_behaviours.py", f"{tests / 'test_lessons.py'}::test_session"]
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            del os.environ[name]  # they are meant for other runs
        status = pytest.main([*map(str, [*options, *chosen])], plugins=[self])
        if status in {pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR}:
            raise Problem("the suite itself is broken; ./scripts/test says more")


def behaviours_of(stage, only=None, weights=None):
    """Return what is known of each behaviour of a stage before it is tried, by its name.

    With `only`, return only the one of this name. `weights` are points by name. Raises Misuse if
    one of these names is unknown.
    """
    collector = Collector(stage, weights=weights)
    collector.run(["no server"], "--collect-only")
    names = {only or next(iter(collector.behaviours)), *(weights or {})}
    if unknown := sorted(names - collector.behaviours.keys()):
        raise Misuse(
            f"{stage.name} has no behaviour {one_line(unknown[0])}; it has "
            f"{', '.join(collector.behaviours)}"
        )
    return {name: b for name, b in collector.behaviours.items() if only in {None, name}}


class Report(Collector):
    """A pytest plugin that gets the result of each behaviour."""

    def __init__(self, stage, writer, go_on=False, **options):
        """`go_on` says whether the rest is tried after a failure."""
        super().__init__(stage, **options)
        self.go_on = go_on
        self.writer = writer
        self.deadline = time.monotonic() + SECONDS
        self.tried = 0
        self.content = {"schema": SCHEMA, "stage": stage.name}
        self.ended_by = None  # the interrupt or the OSError that ended it before its time

    def pytest_configure(self, config):
        config.option.tbstyle = "native"  # nobody reads it, and it takes the least time

    def pytest_collection_finish(self):
        self.content["of"] = len(self.behaviours)
        self.write("begin", self.content)

    def pytest_runtest_logstart(self):
        self.write("progress", self.tried, self.content["of"])

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
            error = call.excinfo.value if call.excinfo else None
            self.add(item, error)
            if report.failed and not self.go_on:
                item.session.shouldstop = "it was reported"
            elif isinstance(error, NoServer) and self.tried == 1:
                item.session.shouldstop = "nothing else can hold"
                self.content["problem"] = "There is no server to check."
            elif time.monotonic() > self.deadline and self.tried < self.content["of"]:
                item.session.shouldstop = "it takes too long"
                self.content["problem"] = f"It takes more than {SECONDS} seconds."
        return report

    def add(self, item, error):
        result = self.behaviours[self.describe(item)["name"]]
        result["holds"], clients = error is None, {}
        if error is not None:
            *_, server = getattr(item, "servers", None) or [None]
            found = diagnosis_of(error, server, self.stage.number >= (0, 3))
            result |= {part: found[part] for part in ("cause", "problem", "aftermath", "ended")}
            mark = item.get_closest_marker("behaviour")
            hint = mark.kwargs["hint"] if mark else f"Watch it: ./scripts/demo {self.stage.name}"
            # The hint is about a server that runs, and does something else.
            result["hint"] = "" if isinstance(error, NoServer) or found["is_slip"] else hint
            last_lines = found["log"].rstrip().split("\n")[-LAST_LINES:]
            result["last_lines"] = "\n".join(line[:COLUMNS] for line in last_lines)
            clients = found["clients"]
            result["terminals"] = {name: client.text() for name, client in clients.items()}
            result["by_hand"] = by_hand(
                self.words, clients, mark.kwargs.get("by_hand", ()) if mark else ()
            )
        self.tried += 1
        self.write("add", result, clients)

    def check(self, words):
        """Check the server that the command `words` starts; return the report as a dict."""
        begin = time.monotonic()
        self.words = words
        self.content["command"] = shlex.join(words)
        # HTTP demands CRLF; our own servers accept LF as well.
        nc = with_crlf(find_nc()) if self.stage.number >= (0, 8) else find_nc()
        self.run(words, f"--nc={shlex.join(nc)}")
        if self.ended_by:
            raise self.ended_by
        report = summed_up(self.content, self.behaviours.values())
        report["seconds"] = round(time.monotonic() - begin, 2)
        self.writer.end(report)
        return report


def summed_up(content, results):
    """Return a report with these results, and with their sums."""
    results = list(results)
    held = [result for result in results if result["holds"]]
    return content | {
        "passed": len(held) == content["of"] > 0,
        "held": len(held),
        "points": sum(result["points"] for result in held),
        "of_points": sum(result["points"] for result in results),
        "behaviours": results,
    }
