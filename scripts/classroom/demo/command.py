"""Plays the sessions of the lessons, in panels on a terminal, or as columns of text."""

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from rich.rule import Rule

from classroom import interrupts
from classroom.check.candidate import problem_of_command
from classroom.course import ROOT, stages
from classroom.demo.playback import pause_after, titled_sessions
from classroom.drawing import Chart, letters_of
from classroom.output import Page
from classroom.play import started
from classroom.terminal import find_nc

SIZE = 100, 30  # columns and rows of a picture that is drawn without a terminal


def print_sessions(options, pause):
    """Play all sessions and print each as columns of text; call `pause(step)` before a row."""
    console = Page()
    for (stage,), title, steps in titled_sessions(options.chosen):
        chart = Chart(letters_of(steps))
        console.print(Rule(title, align="left"), chart.head())
        with started(stage, steps, options.nc) as player:
            for record in player.steps(steps, before=pause):
                console.print(chart.row(record))
                if record.step.line == options.until:
                    return
        console.print()


def by_hand(chosen):
    """Return what to type to try the stages without the demo."""
    servers = "\n".join(f"    python3 {stage.server.relative_to(ROOT)}" for stage in chosen)
    many = "one of these servers" if len(chosen) > 1 else "the server"
    return (
        f"Try it by hand. In one terminal, {many}:\n\n{servers}\n\n"
        "and in others:\n\n    nc 127.0.0.1 9000"
    )


def arguments(words):
    """Return the words with --server FILE.py at their end: what comes after it is for us."""
    if "--server" in words:
        at = words.index("--server")
        server, program, rest = words[at], words[at + 1 : at + 2], words[at + 2 :]
        if "".join(program).endswith(".py"):
            return [*words[:at], *rest, server, *program]
    return words


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./scripts/demo",
        description=__doc__,
        epilog="On a terminal its last line says what the keys do.",
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="v0.2 for example; all if none")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--step", action="store_true", help="wait for Enter before each line")
    pace.add_argument("--fast", action="store_true", help="do not wait at all")
    pace.add_argument("--live", action="store_true", help="play nothing; type yourself")
    parser.add_argument(
        "--compare", action="store_true", help="type the same into two stages: --compare v0.2 v0.3"
    )
    parser.add_argument(
        "--server",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="play on your own server, as for ./scripts/check: --server FILE.py, or "
        "--server node FILE.js {port}; after such a command nothing else may come",
    )
    parser.add_argument("--light", action="store_true", help="dark text on white")
    parser.add_argument("--plain", action="store_true", help="columns of text, as into a pipe")
    parser.add_argument("--until", metavar="LINE", help="end after this line of a session")
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="at the end, draw what there is to see"
    )
    parser.add_argument("--nc", type=shlex.split, help="the command that starts nc")
    options = parser.parse_args(arguments(sys.argv[1:]))
    here = {stage.name: stage for stage in stages()}
    if unknown := [name for name in options.stages if name not in here]:
        parser.error(f"there is no stage {unknown[0]} here; there is {', '.join(here)}")
    options.chosen = [here[name] for name in options.stages or here]
    if options.compare and len(options.stages) != 2:
        parser.error("--compare needs two stages: --compare v0.2 v0.3")
    if options.server is not None:
        options.server = [word for word in options.server if word != "--"]
        if len(options.stages) != 1 or not options.server:
            parser.error("--server needs one stage before it, and a command after it")
        if problem := problem_of_command(*options.server):
            parser.error(problem)
    options.unchecked = bool(options.compare or options.server)
    sessions = titled_sessions(options.chosen, unchecked=options.unchecked)
    lines = [step.line for _, _, steps in sessions for step in steps]
    if options.until is not None and options.until not in lines:
        parser.error(f"argument --until: no session has the line {options.until!r}")
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not options.plain
    if options.live and not on_terminal:
        parser.error("--live needs a terminal")
    if options.unchecked and not (on_terminal or options.svg):
        parser.error(f"{'--compare' if options.compare else '--server'} needs a terminal")
    # Without a terminal, a picture can still be drawn, of a screen that nobody sees.
    options.unattended = bool(options.svg) and not on_terminal
    options.fast = options.fast or options.unattended
    options.plain = not on_terminal and not options.svg
    options.nc = options.nc or find_nc()
    return options


def run_on_screen(options):
    """Run the demo's screen; return its exit status. Raises what ended a session wrongly."""
    # Until the screen is there: asyncio prints a long traceback if it is interrupted at its start.
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    from classroom.demo.screen import Demo  # noqa: PLC0415 (Textual takes long to load)

    if options.svg:
        options.svg.touch()  # if it cannot be written, say so now and not at the end
    app = Demo(options)
    app.run(headless=options.unattended, size=SIZE if options.unattended else None)
    if app.problem:
        raise app.problem
    if options.svg and app.picture:
        options.svg.write_text(app.picture, encoding="utf-8")
    return app.return_code


def main():
    """Run ./scripts/demo; return its exit status."""
    # A terminal that is closed ends the demo, even one that was started with hang-ups ignored.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    interrupts.install()
    options = parse_arguments()

    def pause(step):
        if options.step and sys.stdin.isatty():
            try:
                input()
            except EOFError:  # Ctrl-D
                raise KeyboardInterrupt from None
        elif sys.stdout.isatty() and not options.fast:
            time.sleep(pause_after(step))

    status = print_sessions(options, pause) if options.plain else run_on_screen(options)
    if not (status or options.unattended or options.server):
        print(by_hand(options.chosen))
    return status
