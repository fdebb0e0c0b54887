"""Draws pages that replay sessions in a browser, without a network, from the records of sessions.

What differs each time is left out, so that the same servers give the same pages.
"""

import itertools
import json
from pathlib import Path

from classroom.course import Stage
from classroom.drawing import IDLE, SERVED, WAITING, client_state, letters_of, tasks
from classroom.output import printable
from classroom.session import PROMPT, at_prompt

TEMPLATE = Path(__file__).with_name("replay.html")
STYLES = {WAITING: "waiting", SERVED: "served", IDLE: "idle", "": ""}


class Replay:
    """A page, which grows by the sessions that are added to it."""

    def __init__(self, title, stages: tuple[Stage, ...]):
        self.title = title
        self.stages = stages
        self.frames = []
        self.values = []  # what frames have in common; they hold its numbers
        # What a terminal can show: the number of the content to which something is added, or -1,
        # and a list of what is added, each a kind and a text.
        self.contents = [(-1, [])]
        self.shown = {}  # what a terminal shows now, by its letter: the number of a content, and it

    def add(self, title, steps, players):
        """Play a session on a server of each stage, and add it.

        `players` are Plays; those that check nothing get only what is typed.
        """
        letters = letters_of(steps)
        for player in players:
            player.server.wait_for_rest()
        records = zip(*(player.steps(steps) for player in players), strict=True)
        views = [self._view(player.record(), letters, steps) for player in players]
        self._frame(title, beginning(steps), views)
        for step, each in zip(steps, records, strict=True):
            self._frame(title, sentence(step), [self._view(r, letters, steps) for r in each])

    def _frame(self, title, say, views):
        frame = {"title": self._number(title), "say": printable(say), "views": views}
        self.frames.append(frame)

    def _number(self, value):
        """Return the number of a value that many frames have."""
        if value not in self.values:
            self.values.append(value)
        return self.values.index(value)

    def _view(self, record, letters, steps):
        return {
            "clients": {each: self._number(self._client(record, each)) for each in letters},
            "threads": self._number(None if at_prompt(steps) else threads_of(record)),
            "tasks": self._number(tasks(record).plain),
        }

    def _client(self, record, letter):
        """Return [the number of its content, its state, its style, its unread bytes or None]."""
        client = record.clients.get(letter)
        content = []
        if client:
            words = "python3" if letter == PROMPT else "nc 127.0.0.1 9000"
            content.append(("faint", f"$ {words}\n"))
            for kind, parts in itertools.groupby(client.content, key=lambda each: each[0]):
                text = printable("".join(text for _, text in parts).replace("\r\n", "\n"))
                content.append((kind, text))
        state, style = client_state(record, letter) if client else ("", "")
        unread = client.unread if client and client.connection == "open" else None
        state = state.partition("\n")[0]
        return [self._number_of(letter, content), state, STYLES[style], unread]

    def _number_of(self, letter, content):
        """Return the number of a terminal's content, which is mostly longer than its last one."""
        number, before = self.shown.get(letter, (0, []))
        if content == before:
            return number
        if content[: len(before)] == before:
            self.contents.append((number, content[len(before) :]))
        else:
            self.contents.append((-1, content))
        self.shown[letter] = len(self.contents) - 1, content
        return len(self.contents) - 1

    def page(self, links):
        """Return the HTML; `links` leads to the other pages."""
        data = {
            "sides": [
                {"name": f"{stage.name}: {stage.title}", "source": source_of(stage)}
                for stage in self.stages
            ],
            "contents": self.contents,
            "values": self.values,
            "frames": self.frames,
        }
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
        page = TEMPLATE.read_text(encoding="utf-8")
        return page.replace("TITLE", self.title).replace("LINKS", links).replace("DATA", text)


def source_of(stage):
    """Return the lines of a stage's server, without main()."""
    source = stage.server.read_text(encoding="utf-8")
    return source.partition("\n\ndef main")[0].split("\n")


def threads_of(record):
    """Return for each thread the number of its line, and what stands beside it."""
    found = []
    for thread in record.threads:
        client = f" for {thread.client}" if thread.client else ""
        request = f", sees {thread.request}" if thread.request else ""
        found.append([thread.line, f"{thread.name}{client}{request}"])
    return found


def beginning(steps):
    """Return what there is to see before the first step, as a sentence."""
    return "Python is at its prompt." if at_prompt(steps) else "The server waits for a client."


def sentence(step):
    """Return what a step of a session does, as a sentence."""
    name = "Python" if step.terminal == PROMPT else step.terminal
    match step.action:
        case "remark":
            return step.text
        case "types" | "shows":
            verb = f" {step.action}" if name != "Python" or step.action == "shows" else ""
            return f"{name}{verb}: {step.text or '(an empty line)'}"
        case "waits":
            return f"{name} gets no response, and waits."
        case "thread":
            return f"{step.text}{f' for {step.terminal}' * bool(step.terminal)}."
        case _:
            return f"{name} {step.action}."
