"""Checks a server that you have written against the behaviours of a stage."""

import argparse

from classroom.check import candidate, new, report, whole_class
from classroom.course import stages
from classroom.output import Page

EPILOG = """\
Your server must listen on 127.0.0.1, at the port that the checker chooses. {port} in the command
becomes that port. A Python file that contains --port gets it as an option. Any other command
finds it in the environment as PORT.

The server runs with your rights, so check only what you would run yourself.
Limits: 60 seconds of processor time, 2 GB of memory and 10 MB of output for each process, 200
processes and threads. Everything that the server starts ends with it."""


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
    if not (options.each or options.new) and (
        problem := candidate.problem_of_command(*options.command)
    ):
        parser.error(problem)
    return options


def main():
    """Run ./scripts/check; return 0 if all behaviours hold and 1 if not."""
    options = parse_arguments()
    if options.new:
        return new.write_new(options.stage, options.new)
    options.stage.sessions()  # raises SessionError for a malformed lesson
    candidate.sweep()
    if options.each:
        return whole_class.check_each(options.stage, options.command, options.all, options.json)
    writer = report.AsJson() if options.json else report.OnPage(Page())
    result = report.check(options.stage, options.command, options.all, writer)
    return 0 if result["passed"] else 1
