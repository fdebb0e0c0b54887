"""Checks a server that you have written against the behaviours of a stage."""

import argparse
import concurrent.futures
import contextlib
import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from classroom.course import ROOT, SERVER, stages
from classroom.play import Breakdown, Mismatch
from classroom.screen import printable, window
from classroom.terminal import find_nc

SESSION = "the session of its lesson, from the first line to the last"
SECONDS = 60  # for one server of many
LAST_LINES, COLUMNS = 12, 300  # of what a server has printed
EPILOG = """\
Your server must listen on 127.0.0.1 at a port that it is told: {port} in the command stands for
it; a Python file in which --port stands gets that option; any other command finds it as PORT in
the environment.

It is run as the user that you are, with your rights, so check only what you would run yourself.
Limits: 60 seconds of processor time, 2 GB of memory and 10 MB of output for each process, 200
processes and threads. What it starts is ended with it."""


class Paper(Console):
    """What is printed on. When its reader has gone, as `head` does, that is like Ctrl-C."""

    def on_broken_pipe(self):
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()
        raise KeyboardInterrupt


class Report:
    """A plugin of pytest that hears how each behaviour went, and says it in plain words."""

    def __init__(self, stage, go_on, console):
        self.stage = stage
        self.go_on = go_on  # after a failure
        self.console = console
        self.results = []
        self.interrupted = False  # by Ctrl-C

    def pytest_configure(self, config):
        config.option.tbstyle = "native"  # nobody reads it, and it takes the least time

    def pytest_runtest_logstart(self, location):
        if self.console.is_terminal:
            done = len(self.results)
            self.console.print(f"  … {done} of {self.count} done", end="\r", style="dim")

    def pytest_keyboard_interrupt(self, excinfo):
        self.interrupted = not isinstance(excinfo.value, pytest.Session.Interrupted)

    def pytest_collection_finish(self, session):
        self.count = len(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.when == "call" or report.failed:
            mark = item.get_closest_marker("behaviour")
            log = item.servers[-1].log() if report.failed else ""
            self.add(mark, call.excinfo.value if call.excinfo else None, log)
            if report.failed and not self.go_on:
                item.session.shouldstop = "told"
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
            result["terminals"] = {
                name: "".join(text for _, text in terminal.screen)
                for name, terminal in getattr(error, "terminals", {}).items()
            }
        self.results.append(result)
        self.print(result, error)

    def print(self, result, error):
        if result["holds"]:
            self.console.print(Text.assemble(("✓ ", "green"), result["behaviour"]))
            return
        self.console.print(Text.assemble(("✗ ", "bold red"), (result["behaviour"], "bold")))
        if result["terminals"]:
            table = Table(*result["terminals"], header_style="bold underline", box=None)
            table.add_row(*(window(t, error.actions.get(n)) for n, t in error.terminals.items()))
            self.console.print(Padding(table, (0, 1), expand=False))
        for text in (result["problem"], result["aftermath"], result["hint"]):
            if text:
                self.console.print(
                    textwrap.indent(textwrap.fill(text, self.console.width - 4), "  ")
                )
        if result["last_lines"]:
            last_lines = Text(printable(result["last_lines"]), overflow="fold")
            self.console.print("  The last lines that it printed:")
            self.console.print(Padding(last_lines, (0, 0, 0, 4), expand=False))
        self.console.print(f"  Read: {result['lesson']}", style="dim")


def problem_of(error):
    """Return in plain words what went wrong."""
    if isinstance(error, Mismatch) and error.line:
        what = error.what.replace("\n", " ")
        if error.line[1:2] == "<":
            answer = repr(error.line[3:]) if error.line[3:] else "with an empty line"
            return f"{error.line[0]} should have been answered {answer}, but {what}."
        return f"{error.line!r} does not hold: {what}."
    if isinstance(error, Breakdown) and (ended := re.search(r"but the server (.*)\n", str(error))):
        loop = " Is accept() in a loop, and what ends it?" * ("last line" in ended[1])
        return f"Your server {ended[1]} in the middle of it.{loop}"
    if isinstance(error, Mismatch | AssertionError | Breakdown):
        text = str(error).partition("\nassert ")[0].strip()
        return f"{text[:1].upper()}{text[1:]}."
    if isinstance(error, ConnectionError | TimeoutError):
        return f"A client could not connect or was thrown out: {error}."
    raise error


def check(stage, words, go_on, console):
    """Check one server; return the report as a dict."""
    begin = time.monotonic()
    report = Report(stage, go_on, console)
    tests = ROOT / "tests"
    options = ["-c", tests / "pytest.ini", "--rootdir", ROOT]
    options += ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:terminal"]
    options += ["-p", "no:cacheprovider", "--disable-plugin-autoload", "--assert=plain"]
    options += ["--stage", stage.name, "--server", shlex.join(words), "--nc", shlex.join(find_nc())]
    chosen = [tests / "test_behaviours.py", f"{tests / 'test_lessons.py'}::test_session"]
    os.environ.pop("PYTEST_ADDOPTS", None)  # which are for other runs
    status = pytest.main([*map(str, [*options, *chosen])], plugins=[report])
    if status in {pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR}:
        sys.exit("check: the suite itself is broken; ./scripts/test tells more")
    if report.interrupted:
        raise KeyboardInterrupt
    return {
        "stage": stage.name,
        "command": shlex.join(words),
        "passed": all(result["holds"] for result in report.results),
        "held": sum(result["holds"] for result in report.results),
        "of": report.count,
        "seconds": round(time.monotonic() - begin, 2),
        "behaviours": report.results,
    }


def check_one(options):
    """Check one server and say how it went; return the exit status."""
    width = None if sys.stdout.isatty() else 100
    console = Paper(highlight=False, markup=False, quiet=options.json, width=width)
    console.print(f"{options.stage.name}: {shlex.join(options.command)}", style="bold")
    told = check(options.stage, options.command, options.all, console)
    if options.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    elif told["passed"]:
        console.print(f"All {told['of']} behaviours hold, in {told['seconds']:.1f} s.")
    else:
        rest = told["of"] - len(told["behaviours"])
        console.print(
            f"{told['held']} of {told['of']} behaviours hold"
            + (f"; {rest} not tried yet (--all goes on)." if rest else ".")
        )
    return 0 if told["passed"] else 1


RUNNING = set()  # processes in which files are checked


def end_all(*_):
    """End all checks, when somebody ends this one from outside; Ctrl-C they have heard of."""
    for checking in list(RUNNING):
        checking.send_signal(signal.SIGINT)
    raise KeyboardInterrupt


def check_in_a_process(stage, path, go_on=False):
    """Check a file in a process of its own; return the report as a dict, whatever happens."""
    failed = {"passed": False, "held": 0, "of": 0, "behaviours": [], "command": path}
    words = [ROOT / "scripts" / "check", "--json", *["--all"] * go_on, stage.name, path]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as checking:
        RUNNING.add(checking)
        try:
            told, errors = checking.communicate(timeout=SECONDS)
            return json.loads(told) | {"command": path}
        except subprocess.TimeoutExpired:
            checking.send_signal(signal.SIGINT)  # so that it ends what it has started
            checking.communicate()
            return failed | {"problem": f"It is not done after {SECONDS} seconds."}
        except ValueError:
            last_line = errors.strip().rpartition("\n")[2] or f"status {checking.returncode}"
            return failed | {"problem": f"It could not be checked: {last_line}"}
        finally:
            RUNNING.remove(checking)


def check_each(options):
    """Check many files, some at a time, and print a table; return the exit status."""
    paths = sorted(path for pattern in options.command for path in glob.glob(pattern))  # noqa: PTH207
    if not paths:
        print(f"check: no file matches {' '.join(options.command)}", file=sys.stderr)
        return 2
    progress = Console(stderr=True, highlight=False)
    reports = {}
    # Much of a check is waiting for what does not come.
    with concurrent.futures.ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        tasks = {
            pool.submit(check_in_a_process, options.stage, path, options.all): path
            for path in paths
        }
        try:
            for task in concurrent.futures.as_completed(tasks):
                reports[tasks[task]] = task.result()
                told = f"{len(reports)} of {len(paths)}: {tasks[task]}"
                progress.print(told, style="dim", soft_wrap=True)
        finally:  # at Ctrl-C, too
            pool.shutdown(cancel_futures=True)  # or all that wait would still be checked
            print_reports([reports[path] for path in paths if path in reports], options.json)
            if missing := len(paths) - len(reports):
                print(f"check: {missing} of {len(paths)} were not checked", file=sys.stderr)
    return 0 if all(report["passed"] for report in reports.values()) else 1


def print_reports(reports, as_json):
    """Print a row for each report."""
    if as_json:
        print(json.dumps(reports, indent=2, ensure_ascii=False))
        return
    table = Table("server", "holds", "the first that does not", box=None, pad_edge=False)
    names = [report["command"] for report in reports]
    if len(names) > 1:  # the folders that all have in common say nothing
        common = os.path.commonpath([Path(name).absolute().parent for name in names])
        names = [os.path.relpath(name, common) for name in names]
    for name, report in zip(names, reports, strict=True):
        failed = [result for result in report["behaviours"] if not result["holds"]]
        told = report.get("problem", "")
        if failed:
            told = failed[0]["behaviour"]
            if not failed[0]["hint"]:  # it has ended, or never begun
                last_line = failed[0]["last_lines"].rpartition("\n")[2]
                told = f"{failed[0]['problem']} {printable(last_line)[:200]}"
        style = "green" if report["passed"] else "red"
        holds = f"{report['held']} of {report['of']}"
        table.add_row(Text(name, overflow="fold"), holds, told, style=style)
    # Into a pipe, a row is a line.
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)


def write_new(options):
    """Write the server to start from, with the lesson's task on top."""
    folder = Path(options.new)
    path = folder / SERVER
    if path.exists():
        sys.exit(f"check: {path} is there already; choose another folder")
    here = stages()
    number = here.index(options.stage)
    if number == 0:
        start = re.sub(
            r"(connected\", \*address\)\n).*?(?=\n\ndef main)",
            r"\1            # Here you go on.\n",
            here[0].server.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
    else:
        start = here[number - 1].server.read_text(encoding="utf-8")
    lesson = options.stage.lesson.read_text(encoding="utf-8")
    task = re.search(r"## What you will see\n\n(.*?)\n\n", lesson, re.DOTALL)[1]
    check_it = shlex.join(["./scripts/check", options.stage.name, str(path)])
    lines = [f"Your task, {options.stage.name}: {options.stage.title}.", "", *task.splitlines()]
    lines += ["", f"Check it: {check_it}"]
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}\n{start}", encoding="utf-8")
    print(f"{path} is where you start; its first lines say what to do. Then:\n\n    {check_it}")
    return 0


def problem_of_command(program, *arguments):
    """Return why a command cannot be run; "" if it can."""
    path, on_the_path = Path(program), shutil.which(program)
    problem = ""
    try:
        if not on_the_path and not path.exists():
            problem = f"there is no {program}"
        elif path.is_dir():
            problem = f"{program} is a folder; name the file in it"
        elif program.endswith(".py") and not arguments:
            path.open().close()
        elif program.endswith(".py") and not on_the_path:
            problem = "one file at a time; --each takes a pattern of many"
        elif not on_the_path:
            problem = (
                f"{program} cannot be run; name what runs it, as in: -- node {program} {{port}}"
            )
    except PermissionError:
        problem = f"{program} cannot be read; look at its permissions"
    return problem


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./scripts/check",
        usage="./scripts/check STAGE FILE.py\n"
        "       ./scripts/check STAGE -- COMMAND... {port} ...\n"
        "       ./scripts/check STAGE --each 'handins/*/server.py'\n"
        "       ./scripts/check --new STAGE FOLDER",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", metavar="STAGE", help="v0.3 for example")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="starts your server")
    parser.add_argument("--all", action="store_true", help="go on after the first that fails")
    parser.add_argument("--json", action="store_true", help="write the report as JSON")
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--each", action="store_true", help="COMMAND is a pattern of files")
    many.add_argument("--new", action="store_true", help="write a server to start from")
    options = parser.parse_args()
    here = {stage.name: stage for stage in stages()}
    if options.stage not in here:
        parser.error(f"there is no stage {options.stage} here; there is {', '.join(here)}")
    options.stage = here[options.stage]
    if options.new and len(options.command) != 1:
        parser.error("--new needs one folder")
    if options.new and len(here) == 1:
        parser.error("--new needs the stage before; at a tag it is not there")
    options.new = options.new and options.command[0]
    if not (options.each or options.new) and (problem := problem_of_command(*options.command)):
        parser.error(problem)
    return options


def main():
    """Run ./scripts/check; exit with 0 if all holds, with 1 if not, with 2 for misuse."""
    sys.stdout.reconfigure(errors="replace")  # a terminal may know no ✓
    options = parse_arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, end_all)
    action = write_new if options.new else check_each if options.each else check_one
    try:
        sys.exit(action(options))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says it again
        sys.exit(1)
    except OSError as problem:
        sys.exit(f"check: {problem}")
