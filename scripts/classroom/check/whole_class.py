"""Checks the servers of a whole class, several at a time, each in a process of its own."""

import asyncio
import contextlib
import glob
import json
import os
import signal
import sys
from pathlib import Path

from rich.text import Text

from classroom import interrupts
from classroom.check.candidate import sweep
from classroom.check.writers import read_json
from classroom.course import ROOT
from classroom.output import Misuse, Page, one_line

SECONDS = 60  # for one server
TO_END = 5  # seconds that a check has to end what it has started


def files_of(patterns):
    """Return the files that the patterns match; raise Misuse if one matches nothing.

    A name that exists is not a pattern: a folder may be called [final].
    """
    paths = set()
    for pattern in patterns:
        found = [pattern] if os.path.lexists(pattern) else glob.glob(pattern)  # noqa: PTH207
        if not found:
            raise Misuse(f"no file matches {one_line(pattern)}")
        paths.update(found)
    return sorted(paths)


class Class:
    """The checks of many servers against one stage."""

    def __init__(self, stage, paths, behaviours, options=(), command=("{file}",)):
        """`behaviours` are those to check, as `behaviours_of` returns them.

        The `options` are for each ./scripts/check. `command` starts a server; `{file}` in it
        becomes the path.
        """
        self.paths = paths
        self.command = command
        self.behaviours = behaviours
        # Not scripts/check: that all is installed has been seen.
        check = [sys.executable, str(ROOT / "scripts" / "classroom"), "check"]
        self.words = [*check, "--json", "--all", *options, stage.name]

    async def check_all(self, done):
        """Check all servers; call `done(path, report)` for each when its report is known."""
        # For most of its time, a check waits.
        turns = asyncio.Semaphore(6 * (os.cpu_count() or 1))

        async def check_in_turn(path):
            async with turns:
                report = await self.check_in_a_process(path)
            done(path, report)

        # Without return_exceptions, the first check that ends at Ctrl-C would cancel the others.
        checks = map(check_in_turn, self.paths)
        for error in await asyncio.gather(*checks, return_exceptions=True):
            if error:
                raise error

    async def check_in_a_process(self, path):
        """Check a file in a process of its own; return the report, whatever happens."""
        words = [*self.words, "--", *(word.replace("{file}", path) for word in self.command)]
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        starting = asyncio.create_task(asyncio.create_subprocess_exec(*words, **pipes))
        try:
            checking = await asyncio.shield(starting)
        except asyncio.CancelledError:  # at Ctrl-C; first let it start, or we could not end it
            await _end(await starting)
            raise
        output = asyncio.create_task(checking.communicate())
        try:
            await asyncio.wait({output}, timeout=SECONDS)
        finally:
            in_time = output.done()
            await _end(checking)
        written, errors = await output
        report = read_json(written.decode(), self.behaviours)
        if not in_time:
            report["problem"] = f"It is not done after {SECONDS} seconds."
        elif "seconds" not in report:
            last_line = errors.decode(errors="replace").strip().rpartition("\n")[2]
            reason = last_line or f"the check ended with status {checking.returncode}"
            report["problem"] = f"It could not be checked: {reason}"
        return report | {"command": path}


async def _end(checking):
    """End a check if it still runs. It ends what it has started; if it cannot, we do."""
    with contextlib.suppress(ProcessLookupError):
        checking.terminate()
    try:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(checking.wait(), TO_END)
    finally:  # also if we are cancelled meanwhile
        if checking.returncode is None:  # a server may have stopped it, or this computer is busy
            with contextlib.suppress(ProcessLookupError):
                checking.kill()
            await checking.wait()
        if checking.returncode < 0:  # it was killed
            sweep()


def check_each(servers, as_json, exports):
    """Check all servers of a Class, and write a row for each as soon as it is done.

    Return the status. At Ctrl-C, all that is done has been written.
    """
    reports = []
    writer = Rows(servers.paths, as_json)
    interrupt = []

    def done(path, report):
        reports.append(report)
        name = writer.names[path]
        for export in exports:
            export.add(name, report)
        writer.add(name, report, len(reports))

    async def check_until_interrupted():
        checks = asyncio.current_task()

        def end(number):
            if not interrupt:  # a second one would interrupt the clean-up
                checks.cancel()
            interrupt.append(number)

        for number in interrupts.SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, end, number)
        await servers.check_all(done)

    try:
        asyncio.run(check_until_interrupted())
    except asyncio.CancelledError:
        raise KeyboardInterrupt(interrupt[0]) from None
    finally:
        interrupts.install()
        writer.end()
        if missing := len(servers.paths) - len(reports):
            print(f"check: {missing} of {len(servers.paths)} were not checked", file=sys.stderr)
    return 0 if all(report["passed"] for report in reports) else 1


def short_names(paths):
    """Return the names of files without the folders that all have in common, by their paths."""
    if len(paths) == 1:
        return {path: "/".join(Path(path).parts[-2:]) for path in paths}
    common = os.path.commonpath([Path(path).absolute().parent for path in paths])
    return {path: os.path.relpath(path, common) for path in paths}


class Rows:
    """Writes a row for each server: as a table, or as JSON."""

    def __init__(self, paths, as_json):
        self.of = len(paths)
        self.names = short_names(paths)
        self.as_json = as_json
        self.page = Page(columns=1000)  # into a pipe, a row is a line
        self.width = max(len("server"), *(len(one_line(name)) for name in self.names.values()))
        self.comma = "["
        if not as_json:
            self._row("server", "points", "holds", "the first that does not hold", "bold")

    def add(self, name, report, number):
        if self.as_json:
            print(f"{self.comma}\n{json.dumps(report)}", end="", flush=True)
            self.comma = ","
        else:
            points = f"{report['points']:g}/{report['of_points']:g}"
            style = "green" if report["passed"] else "red"
            self._row(name, points, f"{report['held']}/{report['of']}", why_not(report), style)
        if not sys.stdout.isatty():
            print(f"{number} of {self.of}: {one_line(name)}", file=sys.stderr)

    def _row(self, name, points, held, problem, style):
        row = f"{one_line(name):{self.width}}  {points:>6}  {held:>5}  {one_line(problem)}"
        self.page.print(Text(row.rstrip(), style=style, overflow="fold"))
        sys.stdout.flush()

    def end(self):
        if self.as_json:
            print("[]" if self.comma == "[" else "\n]")


def why_not(report):
    """Return in a few words what is wrong with a server; "" if it passes."""
    failed = [result for result in report["behaviours"] if result["holds"] is False]
    if not failed:
        return report.get("problem", "")
    first = failed[0]
    if not first["ended"]:
        return first["behaviour"]
    last_line = first["last_lines"].rpartition("\n")[2]
    return f"{first['behaviour']}: {first['problem']} {last_line[:200]}"
