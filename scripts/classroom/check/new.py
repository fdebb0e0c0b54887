"""Writes a server to start from: the stage before, with the lesson's task at its top."""

import re
import shlex
from pathlib import Path

from classroom.course import SERVER, stages
from classroom.output import Problem, one_line


def write_new(stage, folder):
    """Write the server to start from into `folder`; raise Problem if there is one already."""
    path = Path(folder) / SERVER
    if path.exists():
        raise Problem(f"{path} is there already; choose another folder")
    here = stages()
    number = here.index(stage)
    if number == 0:
        what = "This server is not finished. Add what is missing, so that you see this:"
        start = re.sub(
            r"(accepted\", \*address\)\n).*?(?=\n\ndef main)",
            r"\1            # Your code starts here.\n",
            here[0].server.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
    else:
        before = here[number - 1]
        what = f"This is the server of {before.name}. Change it so that you see this:"
        start = before.server.read_text(encoding="utf-8")
    # Its log begins with this line.
    start = re.sub(r'\A""".*?"""', f'"""My server for {stage.name}."""', start, flags=re.DOTALL)
    lesson = stage.lesson.read_text(encoding="utf-8")
    task = re.search(r"## What you will see\n\n(.*?)\n\n", lesson, re.DOTALL)[1]
    check_it = one_line(shlex.join(["./scripts/check", stage.name, str(path)]))
    lines = [f"Your task, {stage.name}: {stage.title}.", what, "", *task.splitlines()]
    lines += ["", f"Check it: {check_it}"]
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}\n{start}", encoding="utf-8")
    place = one_line(str(path))
    print(f"{place} is where you start; its first lines say what to do. Then:\n\n    {check_it}")
    return 0
