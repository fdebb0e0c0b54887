"""Checks a server that you have written against the behaviours of a stage."""

import argparse
import sys
from pathlib import Path

from classroom.check import candidate, exports, network, new, report, whole_class, writers
from classroom.check.points import read_points
from classroom.course import stages
from classroom.output import Page

EXPORTS = {
    "csv": exports.Csv,
    "junit": exports.Junit,
    "gradescope": exports.Gradescope,
    "feedback": exports.Feedback,
}
SHARED_NETWORK = "here a server cannot have a network of its own; it uses that of this machine"
EPILOG = """\
Your server must listen on 127.0.0.1, at the port that the checker chooses. {port} in the command
becomes that port. A Python file that contains --port gets it as an option. Any other command
finds it in the environment as PORT.

The server runs with your rights and can use your files, so check only what you would run yourself.
With --each and --isolate, it has a network of its own, in which it can reach nobody.
Limits: 60 seconds of processor time, 2 GB of memory and 10 MB of output for each process, 200
processes and threads. Everything that the server starts ends with it."""


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="./scripts/check",
        usage="./scripts/check STAGE FILE.py\n"
        "       ./scripts/check STAGE -- COMMAND... {port} ...\n"
        "       ./scripts/check STAGE --each 'handins/*/server.py'\n"
        "       ./scripts/check STAGE --each 'handins/*' -- COMMAND... {file} ... {port}\n"
        "       ./scripts/check --new STAGE FOLDER",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", metavar="STAGE", help="v0.3 for example")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="starts your server")
    parser.add_argument(
        "--all", action="store_true", help="go on after a failure, as --each and all files do"
    )
    parser.add_argument("--only", metavar="NAME", help="try only the behaviour of this name")
    parser.add_argument(
        "--points",
        metavar="FILE",
        help="TOML with a line NAME = NUMBER for each behaviour that counts",
    )
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="let the server use only a network of its own, if the system can; --each always does",
    )
    parser.add_argument("--json", action="store_true", help="write the report as JSON")
    parser.add_argument("--csv", metavar="FILE", help="write a table, with a row for each server")
    parser.add_argument("--junit", metavar="FILE", help="write the XML that CI systems show")
    parser.add_argument("--gradescope", metavar="FILE", help="write Gradescope's results.json")
    parser.add_argument("--feedback", metavar="FOLDER", help="write a page for each author")
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
    if options.each and options.gradescope:
        parser.error("--gradescope is for one server; Gradescope starts it for each submission")
    options.new = options.new and options.command[0]
    options.template = template_in(sys.argv) if options.each else []
    if options.template:
        options.command = options.command[: -len(options.template)]
    if options.each and not options.command:
        parser.error("--each needs a pattern of files before the command")
    if not (options.each or options.new) and (
        problem := candidate.problem_of_command(*options.command)
    ):
        parser.error(problem)
    return options


def name_of(words):
    """Return the name of the file that a command runs; its first word if there is none."""
    return Path(next((word for word in words if Path(word).is_file()), words[0])).name


def template_in(words):
    """Return the command after -- that starts each server of a class; [] if there is none."""
    after = words[words.index("--") + 1 :] if "--" in words else []
    return after if any("{file}" in word for word in after) else []


def main():
    """Run ./scripts/check; return 0 if all behaviours hold and 1 if not."""
    options = parse_arguments()
    if options.new:
        return new.write_new(options.stage, options.new)
    options.stage.sessions()  # raises SessionError for a malformed lesson
    candidate.sweep()
    if options.isolate and not options.each and not network.isolate():
        print(f"check: {SHARED_NETWORK}", file=sys.stderr)
    weights = read_points(options.points) if options.points else None
    kinds = [kind for kind in EXPORTS if getattr(options, kind)]
    behaviours = {}
    if options.each or options.only or weights or kinds:  # otherwise, to collect them takes time
        behaviours = report.behaviours_of(options.stage, options.only, weights)
    paths = whole_class.files_of(options.command) if options.each else []
    outputs = [EXPORTS[kind](getattr(options, kind), behaviours) for kind in kinds]
    if options.each:
        chosen = [f"--{name}={getattr(options, name)}" for name in ("only", "points")]
        chosen = [option for option in chosen if not option.endswith("=None")]
        if network.can_isolate():
            chosen.append("--isolate")
        else:
            print(f"check: {SHARED_NETWORK}", file=sys.stderr)
        template = options.template or ["{file}"]
        servers = whole_class.Class(options.stage, paths, behaviours, chosen, template)
        return whole_class.check_each(servers, options.json, outputs)
    writer = writers.AsJson() if options.json else writers.OnPage(Page())
    go_on = options.all or bool(kinds)
    checking = report.Report(options.stage, writer, go_on, only=options.only, weights=weights)
    checked = checking.check(options.command)
    for output in outputs:
        output.add(name_of(options.command), checked)
    return 0 if checked["passed"] else 1
