"""Checks the servers of a whole class, several at a time, each in a process of its own."""

import asyncio
import contextlib
import glob
import json
import os
import signal
import sys
from pathlib import Path

from rich.table import Table

from classroom import interrupts
from classroom.check.candidate import sweep
from classroom.check.report import read_json
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


async def check_in_a_process(stage, path, go_on=False):
    """Check a file in a process of its own; return the report, whatever happens."""
    words = [ROOT / "scripts" / "check", "--json", *["--all"] * go_on, stage.name, "--", path]
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
    report = read_json(written.decode())
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


async def _check_all(stage, paths, go_on, reports):
    """Check all files; put each report into `reports` when it is known."""
    # For much of its time, a check waits.
    turns = asyncio.Semaphore(2 * (os.cpu_count() or 1))

    async def check_in_turn(path):
        async with turns:
            reports[path] = await check_in_a_process(stage, path, go_on)
        print(f"{len(reports)} of {len(paths)}: {one_line(path)}", file=sys.stderr)

    # Without return_exceptions, the first check that ends at Ctrl-C would cancel the others.
    for error in await asyncio.gather(*map(check_in_turn, paths), return_exceptions=True):
        if error:
            raise error


def check_each(stage, patterns, go_on, as_json):
    """Check many files and print a table, at Ctrl-C of those that are done; return the status."""
    paths = files_of(patterns)
    reports = {}
    interrupt = []

    async def check_until_interrupted():
        checks = asyncio.current_task()

        def end(number):
            if not interrupt:  # a second one would interrupt the clean-up
                checks.cancel()
            interrupt.append(number)

        for number in interrupts.SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, end, number)
        await _check_all(stage, paths, go_on, reports)

    try:
        asyncio.run(check_until_interrupted())
    except asyncio.CancelledError:
        raise KeyboardInterrupt(interrupt[0]) from None
    finally:
        interrupts.install()
        print_reports([reports[path] for path in paths if path in reports], as_json)
        if missing := len(paths) - len(reports):
            print(f"check: {missing} of {len(paths)} were not checked", file=sys.stderr)
    return 0 if all(report["passed"] for report in reports.values()) else 1


def print_reports(reports, as_json):
    """Print a row for each report."""
    if as_json:
        print(json.dumps(reports, indent=2))
        return
    table = Table("server", "holds", "the first that does not", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    names = [report["command"] for report in reports]
    if len(names) > 1:  # leave out the folders that all have in common
        common = os.path.commonpath([Path(name).absolute().parent for name in names])
        names = [os.path.relpath(name, common) for name in names]
    for name, report in zip(names, reports, strict=True):
        failed = [result for result in report["behaviours"] if not result["holds"]]
        problem = report.get("problem", "")
        if failed:
            problem = failed[0]["behaviour"]
            if not failed[0]["hint"]:  # the server has ended, or never listened
                last_line = failed[0]["last_lines"].rpartition("\n")[2]
                problem = f"{failed[0]['problem']} {last_line[:200]}"
        style = "green" if report["passed"] else "red"
        table.add_row(
            one_line(name), f"{report['held']} of {report['of']}", one_line(problem), style=style
        )
    Page(columns=1000).print(table)  # into a pipe, a row is a line
