"""Draws the pictures of the lessons and of the README, from the records of sessions."""

import argparse
import shlex
import subprocess

from rich.console import Group
from rich.text import Text

from classroom.course import ROOT, stages
from classroom.drawing import Chart, letters_of
from classroom.output import Problem
from classroom.pictures.svg import picture
from classroom.pictures.timeline import timeline
from classroom.play import Breakdown, started
from classroom.session import at_prompt
from classroom.terminal import find_nc

PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 112
BY_HAND = 9000  # the port of a server that is started by hand


def played(stage, steps, nc):
    """Play a session; return its records."""
    with started(stage, steps, nc) as player:
        return list(player.steps(steps))


def chart(records):
    """Return the rows of a session's chart, as if the server had been started by hand."""
    chart = Chart(letters_of(record.step for record in records), server=False)
    return [chart.head(), *(chart.row(record, BY_HAND) for record in records)]


def titled(stage):
    return f"{stage.name}: {stage.title}"


def draw_lesson(stage, nc, folder):
    """Draw the session and the timeline if the lesson shows them; yield the files."""
    records = played(stage, stage.session(), nc)
    steps = [record for record in records if record.step.action != "remark"]
    title = titled(stage)
    prompts = [session for session in stage.sessions() if at_prompt(session)]
    drawings = {
        "session": Group(Text(title, style="bold"), Text(), *chart(records)),
        "timeline": Group(Text(title, style="bold"), Text(), timeline(steps)),
    }
    for session in prompts:
        drawings["python"] = Group(*chart(played(stage, session, nc)))
    for what, drawing in drawings.items():
        path = folder / f"{stage.name}-{what}.svg"
        if path.name in stage.lesson.read_text(encoding="utf-8"):
            path.write_text(picture(drawing, COLUMNS), encoding="utf-8")
            yield path


def draw_all(nc, folder):
    """Draw all pictures into a folder; yield each file when it is there."""
    for stage in stages():
        yield from draw_lesson(stage, nc, folder)
    options = {
        "blocking-and-threaded": ["--compare", "v0.2", "v0.3", "--until", "B> anyone there?"],
        "demo": ["v0.2", "--until", "B waits"],
    }
    for name, words in options.items():
        path = folder / f"{name}.svg"
        demo = [ROOT / "scripts" / "demo", *words, "--svg", path, "--nc", shlex.join(nc)]
        done = subprocess.run(demo, capture_output=True, text=True, check=False)
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
