"""Draws the pictures of the lessons and of the README, from sessions that are played for it."""

import argparse
import shlex
import subprocess
import time

from rich.console import Group
from rich.text import Text

from classroom.course import ROOT, stages
from classroom.output import Problem
from classroom.play import Breakdown, stage_set
from classroom.screen import Chart, picture, side_by_side, timeline
from classroom.terminal import find_nc, wait_until

PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 56  # for a session that stands beside another one; alone it has twice as much


def played(stage, nc):
    """Play the stage's first session; return its chart's rows and its moments (see `timeline`)."""
    steps = stage.sessions()[0]
    chart = Chart(steps, server=False)
    rows, moments = [chart.head()], []
    with stage_set(stage, nc) as player:
        player.server.port  # noqa: B018 (it listens now; the session has not begun before)
        begin = time.perf_counter()
        for step in player.steps(steps):
            seconds = time.perf_counter() - begin
            rows.append(chart.row(step))
            wait_until(player.server.at_rest)
            if step.action != "remark":
                moments.append((step, seconds, player.moment()))
    return rows, moments


def titled(stage):
    return f"{stage.name}: {stage.title}"


def draw_lesson(stage, nc, folder):
    """Draw the session and the timeline of a lesson; yield the files."""
    rows, moments = played(stage, nc)
    title = titled(stage)
    drawings = {
        "session": side_by_side([(title, rows)]),
        "timeline": Group(Text(title, style="bold"), Text(), timeline(moments)),
    }
    for what, drawing in drawings.items():
        path = folder / f"{stage.name}-{what}.svg"
        path.write_text(picture(drawing, 2 * COLUMNS), encoding="utf-8")
        yield path


def draw_all(nc, folder):
    """Draw all pictures into a folder; yield each file when it is there."""
    for stage in stages():
        yield from draw_lesson(stage, nc, folder)
    path = folder / "blocking-and-threaded.svg"
    charts = [(titled(stage), played(stage, nc)[0]) for stage in stages()[1:3]]
    path.write_text(picture(side_by_side(charts), COLUMNS * len(charts)), encoding="utf-8")
    yield path
    path = folder / "demo.svg"
    demo = [ROOT / "scripts" / "demo", "--svg", path, "--until", "B waits", "v0.2"]
    done = subprocess.run(
        [*demo, "--nc", shlex.join(nc)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Breakdown(done.stderr.strip())
    yield path


def main():
    """Run ./scripts/draw."""
    parser = argparse.ArgumentParser(prog="./scripts/draw", description=__doc__)
    parser.add_argument("--nc", type=shlex.split, help="the command that starts nc")
    options = parser.parse_args()
    if len(stages()) == 1:
        raise Problem("there is one stage here; 'git switch main' leads back to all of them")
    for path in draw_all(options.nc or find_nc(), PICTURES):
        print(path.relative_to(ROOT))
