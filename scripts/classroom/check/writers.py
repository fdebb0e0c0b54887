"""Writes the report on one server, for people or as JSON, while it grows."""

import itertools
import json
import textwrap

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from classroom.check.report import summed_up
from classroom.course import ROOT, stages
from classroom.drawing import window
from classroom.output import one_line, printable


class OnPage:
    """Writes a report for people."""

    def __init__(self, page):
        self.page = page

    def begin(self, report):
        self.page.print(Text(one_line(f"{report['stage']}: {report['command']}"), style="bold"))

    def progress(self, done, of):
        if self.page.is_terminal:
            self.page.print(f"  … {done} of {of} done", end="\r", style="dim")

    def add(self, result, clients):
        page = self.page
        if result["holds"]:
            page.print(Text.assemble(("✓ ", "green"), result["behaviour"]))
            return
        page.print(Text.assemble(("✗ ", "bold red"), (result["behaviour"], "bold")))
        if result["terminals"]:
            table = Table(*result["terminals"], header_style="bold underline", box=None)
            table.add_row(*itertools.starmap(window, clients.items()))
            page.print(Padding(table, (0, 1), expand=False))
        for text in (result["cause"], result["problem"], result["aftermath"], result["hint"]):
            if text:
                page.print(textwrap.indent(textwrap.fill(text, page.width - 4), "  "))
        if result["last_lines"]:
            last_lines = Text(printable(result["last_lines"]), overflow="fold")
            page.print("  The last lines that it printed:")
            page.print(Padding(last_lines, (0, 0, 0, 4), expand=False))
        for number, line in enumerate(result["by_hand"]):
            begin = "    " if number else "  By hand: "
            page.print(Text(f"{begin}{one_line(line)}", style="dim"), soft_wrap=True)
        page.print(f"  Read: {', and '.join(result['lessons'])}", style="dim")

    def end(self, report):
        self.page.print(summary(report))
        for what, line in next_steps(report):
            self.page.print(Text(f"{what}: {one_line(line)}", style="dim"), soft_wrap=True)


def summary(report):
    """Return in a sentence or two how many behaviours hold."""
    results, of, held = report["behaviours"], report["of"], report["held"]
    if report["passed"]:
        what = f"All {of} behaviours hold" if of > 1 else "This behaviour holds"
        return f"{what}, in {report['seconds']:.1f} s."
    if of == 1 and results[0]["holds"] is False:
        return "This behaviour does not hold."
    rest = sum(result["holds"] is None for result in results)
    were = "was" if rest == 1 else "were"
    if rest and "problem" not in report:  # the order decides how many hold, so this is no mark
        hold = "behaviour holds" if held == 1 else "behaviours hold"
        return (
            f"{held} {hold}, and one does not; {rest} of {of} {were} not tried yet (--all goes on)."
        )
    counts = [f"{held} of {of} behaviours {'holds' if held == 1 else 'hold'}"]
    if rest:
        counts.append(f"{rest} {were} not tried")
    old, new = ([r["holds"] for r in results if r["taught"] == taught] for taught in (False, True))
    if old and new:
        counts.append(f"of those that {report['stage']} teaches, {new.count(True)} of {len(new)}")
    return " ".join(filter(None, [report.get("problem"), "; ".join(counts) + "."]))


def next_steps(report):
    """Yield what the author of a server can do next, in a word or two, and the command for it."""
    stage, command, is_only = report["stage"], report["command"], report["of"] == 1
    dashes = "-- " if " " in command else ""
    failed = [result["name"] for result in report["behaviours"] if result["holds"] is False]
    if failed and not is_only:
        yield "Only this", f"./scripts/check {stage} --only {failed[0]} {dashes}{command}"
    if not report["passed"]:
        yield "Watch it", f"./scripts/demo {stage} --server {command}"
        return
    if is_only:
        yield "All behaviours", f"./scripts/check {stage} {dashes}{command}"
        return
    here = {each.name: each for each in stages()}
    if command.endswith(".py") and " " not in command:
        ours = here[stage].server.relative_to(ROOT)
        yield "Compare it with ours", f"diff {command} {ours}"
    later = [name for name, each in here.items() if each.number > here[stage].number]
    if later:
        yield "What comes next", f"./scripts/check --new {later[0]} FOLDER"


class AsJson:
    """Writes a report as JSON, each behaviour as soon as it is known; see `read_json`."""

    def begin(self, report):
        head = json.dumps(report)
        print(f'{head[:-1]}, "behaviours": [', flush=True)
        self.comma = ""

    def progress(self, done, of):
        pass

    def add(self, result, _clients=None):
        # The comma comes before it, so every line that was written is complete.
        print(f"{self.comma}{json.dumps(result)}", flush=True)
        self.comma = ","

    def end(self, report):
        for result in report["behaviours"]:
            if result["holds"] is None:
                self.add(result)
        rest = {"problem", "passed", "held", "points", "of_points", "seconds"}
        tail = json.dumps({name: report[name] for name in report if name in rest})
        print(f"], {tail[1:]}")


def read_json(text, behaviours):
    """Return the report that AsJson has written, also if the writer was killed before its end.

    `behaviours` are the stage's as `behaviours_of` returns them: they were not tried then.
    """
    report = {"of": len(behaviours), "behaviours": []}
    try:
        report |= json.loads(text)
    except ValueError:
        if text:  # otherwise it was killed before it wrote anything
            report |= json.loads(text[: text.rfind("\n")] + "]}")
    tried = {result["name"]: result for result in report["behaviours"]}
    return summed_up(report, (behaviours | tried).values())
