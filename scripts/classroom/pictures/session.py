"""The picture of a session: a column for each terminal, with what was typed and what came back."""

import textwrap

from classroom.drawing import letters_of
from classroom.output import printable
from classroom.pictures.replay import sentence
from classroom.pictures.svg import CHARACTER, WIDTH, box, picture, text
from classroom.session import KINDS, PROMPT

ROW = 20  # pixels


def session(title, records):
    """Return the picture of a session as an SVG; its server was started by hand."""
    steps = [record.step for record in records]
    letters = letters_of(steps)
    column = (WIDTH - 40) // len(letters)
    places = {letter: 20 + column * number for number, letter in enumerate(letters)}
    parts = [text(20, 28, title, "title")]
    parts += [text(x + 10, 58, letter, "faint") for letter, x in places.items()]
    y, connected = 62, {}

    def write(x, line, style, width):
        nonlocal y
        for part in textwrap.wrap(line, int(width / CHARACTER), drop_whitespace=False) or [""]:
            y += ROW
            if style == "remark":  # it goes across the frames
                parts.append(box(x - 4, y - 15, round(CHARACTER * len(part)) + 8, ROW, "back"))
            parts.append(text(x, y, part, style))

    for step in steps:
        x = places.get(step.terminal, 20) + 10
        if step.action in {"remark", "thread"}:
            x = 30
            write(x, printable(step.line), "remark", WIDTH - 60)
            continue
        if not connected.get(step.terminal):
            words = "python3" if step.terminal == PROMPT else "nc 127.0.0.1 9000"
            write(x, f"$ {words}", "faint", column - 20)
        connected[step.terminal] = step.action not in {"leaves", "is closed"}
        if note := KINDS[step.action].note:
            write(x, note, "note", column - 20)
        elif step.action != "connects":
            mark, style = ("> ", "typed") if step.action == "types" else ("< ", "shown")
            if step.terminal == PROMPT:
                mark = ">>> " if step.action == "types" else ""
            write(x, mark + printable(step.text), style, column - 20)
    frames = [box(x, 40, column - 10, y - 26, "box") for x in places.values()]
    described = " ".join(sentence(step) for step in steps if step.action != "thread")
    return picture((WIDTH, y + 26), title, described, [*frames, *parts])
