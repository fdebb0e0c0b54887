"""Draws the pictures and the pages that replay sessions, from the records of sessions."""

import argparse
import contextlib
import itertools
import shlex
import subprocess
from pathlib import Path

from classroom.course import ROOT, stages
from classroom.demo.playback import titled_sessions
from classroom.output import Problem
from classroom.pictures.hero import hero
from classroom.pictures.replay import Replay
from classroom.pictures.session import session
from classroom.pictures.timeline import timeline
from classroom.play import Breakdown, started
from classroom.session import at_prompt
from classroom.terminal import find_nc

PICTURES = ROOT / "docs" / "pictures"
REPLAYS = ROOT / "docs" / "replay"


def played(stage, steps, nc):
    """Play a session; return its records."""
    with started(stage, steps, nc) as player:
        return list(player.steps(steps))


def titled(stage):
    return f"{stage.name}: {stage.title}"


def draw_lesson(stage, nc, folder):
    """Draw the session and the timeline if the lesson shows them; yield the files."""
    records = played(stage, stage.session(), nc)
    drawings = {
        "session": session(titled(stage), records),
        "timeline": timeline(titled(stage), records),
    }
    for steps in stage.sessions():
        if at_prompt(steps):
            drawings["python"] = session(titled(stage), played(stage, steps, nc))
    for what, drawing in drawings.items():
        path = folder / f"{stage.name}-{what}.svg"
        if path.name in stage.lesson.read_text(encoding="utf-8"):
            path.write_text(drawing, encoding="utf-8")
            yield path


def draw_all(nc, folder):
    """Draw all pictures into a folder; yield each file when it is there."""
    yield draw_hero(nc, folder / "hero.svg")
    for stage in stages():
        yield from draw_lesson(stage, nc, folder)
    options = {
        "demo": ["v0.2", "--until", "B waits"],
    }
    for name, words in options.items():
        path = folder / f"{name}.svg"
        demo = [ROOT / "scripts" / "demo", *words, "--svg", path, "--nc", shlex.join(nc)]
        done = subprocess.run(demo, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Breakdown(done.stderr.strip())
        yield path


def draw_replays(nc, folder):
    """Draw the page of each stage, one that compares two, and one with links; yield the files."""
    here = {stage.name: stage for stage in stages()}
    folder.mkdir(exist_ok=True)
    for name, stage in here.items():
        replay = Replay(titled(stage), (stage,))
        for title, steps in ((t, s) for _, t, s in titled_sessions([stage])):
            with started(stage, steps, nc) as player:
                replay.add(title, steps, [player])
        yield write_page(folder / f"{name}.html", replay)
    both = here["v0.2"], here["v0.3"]
    replay = Replay("v0.2 and v0.3 get the same lines", both)
    (_, title, steps), *_ = titled_sessions(both, unchecked=True)
    with contextlib.ExitStack() as stack:
        players = [stack.enter_context(started(stage, steps, nc, checks=False)) for stage in both]
        replay.add(title, steps, players)
    yield write_page(folder / "compare.html", replay)
    links = [f'<li><a href="replay/{s.name}.html">{titled(s)}</a></li>' for s in here.values()]
    template = Path(__file__).with_name("index.html").read_text(encoding="utf-8")
    path = folder.parent / "index.html"
    path.write_text(template.replace("LINKS", "\n".join(links)), encoding="utf-8")
    yield path


def draw_hero(nc, path):
    """Draw the README's first picture, up to the line that says it all; return the file."""
    here = {stage.name: stage for stage in stages()}
    both = here["v0.2"], here["v0.3"]
    (_, _, steps), *_ = titled_sessions(both, unchecked=True)
    end = [step.line for step in steps].index("B> anyone there?") + 1
    with contextlib.ExitStack() as stack:
        players = [stack.enter_context(started(s, steps, nc, checks=False)) for s in both]
        path.write_text(hero(both, steps[:end], players), encoding="utf-8")
    return path


def write_page(path, replay):
    path.write_text(replay.page('<a href="../index.html">All replays</a>'), encoding="utf-8")
    return path


def main():
    """Run ./scripts/draw."""
    parser = argparse.ArgumentParser(prog="./scripts/draw", description=__doc__)
    parser.add_argument("--nc", type=shlex.split, help="the command that starts nc")
    options = parser.parse_args()
    if len(stages()) == 1:
        raise Problem("there is one stage here; 'git switch main' leads back to all of them")
    nc = options.nc or find_nc()
    for path in itertools.chain(draw_all(nc, PICTURES), draw_replays(nc, REPLAYS)):
        print(path.relative_to(ROOT), flush=True)
