"""The demo: plays the sessions of the lessons, on a screen of panels or as columns of text."""

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from classroom.course import ROOT, stages
from classroom.draw import draw_sessions
from classroom.play import Breakdown, Mismatch, stage_set
from classroom.screen import Chart
from classroom.session import SessionError
from classroom.terminal import find_nc

# Seconds: for each letter of a remark, and for a line at least.
READING, LOOKING = 0.04, 1.2


class Stopped(Exception):
    """The audience has had enough."""


def pause_after(step):
    """Return how many seconds the audience needs for a step."""
    return max(LOOKING, READING * len(step.text)) if step.action == "remark" else LOOKING


def titled_sessions(chosen):
    """Return (stage, title, steps) for each session of the chosen stages."""
    return [
        (stage, f"{stage.name}: {stage.title} ({number} of {len(sessions)})", steps)
        for stage in chosen
        for sessions in [stage.sessions()]
        for number, steps in enumerate(sessions, 1)
    ]


def print_sessions(chosen, nc, pause):
    """Play all sessions and print each as columns of text; call `pause(step)` before a row."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    for stage, title, steps in titled_sessions(chosen):
        chart = Chart(steps)
        console.print(Rule(title, align="left"), chart.head())
        with stage_set(stage, nc) as player:
            chart.port = player.server.port
            logged = 0
            for step in player.steps(steps, before=pause):
                log = player.server.log()
                console.print(chart.row(step, log[logged:].rstrip("\n")))
                if step.action != "remark":  # whose row has no column for the log
                    logged = len(log)
        console.print()


def by_hand(chosen):
    """Return what to type to try the stages without the demo."""
    servers = "\n".join(f"    python3 {stage.server.relative_to(ROOT)}" for stage in chosen)
    many = "one of these servers" if len(chosen) > 1 else "the server"
    return (
        f"Try it by hand. In one terminal, {many}:\n\n{servers}\n\n"
        "and in others:\n\n    nc 127.0.0.1 9000"
    )


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="v0.2 for example; all if none")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--step", action="store_true", help="wait for Enter before each line")
    pace.add_argument("--fast", action="store_true", help="do not wait at all")
    parser.add_argument("--plain", action="store_true", help="columns of text, as into a pipe")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the sessions, show nothing")
    parser.add_argument("--nc", type=shlex.split, help="the command that starts nc")
    options = parser.parse_args()
    here = {stage.name: stage for stage in stages()}
    if unknown := [name for name in options.stages if name not in here]:
        parser.error(f"there is no stage {unknown[0]} here; there is {', '.join(here)}")
    options.chosen = [here[name] for name in options.stages or here]
    options.nc = options.nc or find_nc()
    return options


def main():
    """Run ./scripts/demo; exit with 1 if a session does not go as its lesson says."""
    # A terminal that is closed ends the demo, even one that was started with hang-ups ignored.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        options = parse_arguments()
    except SessionError as problem:
        sys.exit(f"demo: {problem}")
    plain = options.plain or not sys.stdout.isatty()

    def pause(step):
        if options.step and sys.stdin.isatty():
            input()
        elif sys.stdout.isatty() and not options.fast:
            time.sleep(pause_after(step))

    try:
        if options.svg:
            draw_sessions(options.chosen, options.nc, options.svg)
        elif plain:
            print_sessions(options.chosen, options.nc, pause)
            print(by_hand(options.chosen))
        else:
            from classroom.app import Demo  # noqa: PLC0415 (Textual takes its time to load)

            app = Demo(options)
            app.run()
            if app.problem:
                raise app.problem
            print(by_hand(options.chosen))
            sys.exit(app.return_code)
    except (Mismatch, Breakdown, SessionError, OSError) as problem:
        sys.exit(f"demo: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
