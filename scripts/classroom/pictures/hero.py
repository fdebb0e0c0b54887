"""Draws the README's first picture: the same lines typed into two servers, as an animated SVG.

It is a film of what was seen, and stays at its last moment. A program that plays no animation, and
a reader who wants none, see only that moment.
"""

import dataclasses
import itertools

from classroom.drawing import WAITING, client_state, letters_of
from classroom.pictures.replay import STYLES, sentence
from classroom.pictures.svg import WIDTH, box, picture, text

START, TYPED, SEEN = 1.5, 1.3, 2.4  # seconds for which each kind of moment is shown
HEIGHT, HALF, CLIENT = 400, 415, 188
TERMINAL, QUEUE, THREAD = 50, 200, 320  # where they begin, from the top
STYLE = "@media(prefers-reduced-motion:reduce){*{animation:none!important}}\n"


def terminal(client, x):
    """Yield what a terminal shows, as parts of an SVG."""
    lines = []
    for kind, parts in itertools.groupby(client.content, key=lambda each: each[0]):
        mark = {"typed": ">", "shown": "<"}[kind]
        words = "".join(part for _, part in parts)
        lines += [(kind, f"{mark} {line}") for line in words.splitlines()]
    for number, (kind, line) in enumerate(lines[-5:]):
        yield text(x + 10, TERMINAL + 42 + 20 * number, line, kind)


def queue(x, words, style, unread):
    """Yield a client's place in the kernel, with the bytes that nobody has read."""
    yield box(x, QUEUE, CLIENT, 62, style)
    on = "on" if style != "box" else "typed"
    yield text(x + 8, QUEUE + 24, words, on)
    yield box(x + 8, QUEUE + 36, 4 * unread, 14, "bar" if on == "on" else "rising")
    yield text(x + 14 + 4 * unread, QUEUE + 48, f"{unread} bytes", on)


def clients(record, places, typing=""):
    """Yield the terminals and queues of all clients but the one that is `typing`."""
    for letter, client in record.clients.items():
        if letter != typing:
            state, style = client_state(record, letter)
            first = state.partition("\n")[0]
            words = f"{letter}: {first}" if style == WAITING else f"{letter} {first}"
            yield from terminal(client, places[letter])
            yield from queue(places[letter], words, STYLES[style], client.unread)


def typed(client, letter, x):
    """Yield a client whose line is in the kernel, and not yet read or answered."""
    last = max(n for n, (kind, _) in enumerate(client.content) if kind == "typed")
    line = client.content[last][1]
    yield from terminal(dataclasses.replace(client, content=client.content[: last + 1]), x)
    yield from queue(x, f"{letter} has sent a line", "box", len(line))


def threads(record, begin, places):
    """Yield the threads, each with an arm to the client that it serves, from `begin` on."""
    for number, thread in enumerate(record.threads):
        width = (2 * CLIENT + 10) // len(record.threads) - 10
        x = begin + number * (width + 10)
        yield box(x, THREAD, width, 52, "served" if thread.client else "idle")
        yield text(x + 8, THREAD + 21, thread.name, "on")
        yield text(x + 8, THREAD + 42, f"{thread.call}()", "on")
        if thread.client:
            middle, end = x + width // 2, places[thread.client] + CLIENT // 2
            yield (
                f'<path class="arm" d="M{middle},{THREAD}C{middle},{THREAD - 30} '
                f'{end},{QUEUE + 92} {end},{QUEUE + 62}"/>'
            )


class Film:
    """An SVG in which each part is shown for as long as it is seen."""

    def __init__(self):
        self.moments = []  # (seconds when it begins, its parts)
        self.seconds = 0

    def add(self, seconds, parts):
        self.moments.append((self.seconds, list(parts)))
        self.seconds += seconds

    def svg(self, title, description, still):
        """Return the SVG; `still` are the parts that are always there."""
        spans = {}  # from (begin, end) to the parts that are shown for that time
        for part in dict.fromkeys(part for _, parts in self.moments for part in parts):
            there, at = [part in parts for _, parts in self.moments], 0
            for is_there, run in itertools.groupby(there):
                length = len(list(run))
                if is_there:
                    spans.setdefault((at, at + length), []).append(part)
                at += length
        style = STYLE + "".join(itertools.starmap(self._keyframes, spans))
        groups = [
            self._group(*span, [part for part in parts if part.startswith("<text") == is_text])
            for is_text in (False, True)  # no shape may cover a text
            for span, parts in spans.items()
        ]
        return picture((WIDTH, HEIGHT), title, description, [*still, *groups], style)

    def _group(self, begin, end, parts):
        # What is not there at the end is hidden where nothing is animated.
        hidden = "" if end == len(self.moments) else ' opacity="0"'
        return f'<g class="f{begin}-{end}"{hidden}>{"".join(parts)}</g>'

    def _keyframes(self, begin, end):
        """Return the rule that shows a group from one moment to another."""
        frames = []
        for number, (seconds, _) in enumerate(self.moments):
            is_shown = int(begin <= number < end)
            if not frames or frames[-1][1] != is_shown:
                frames.append((100 * seconds / self.seconds, is_shown))
        rules = "".join(f"{percent:.1f}%{{opacity:{shown}}}" for percent, shown in frames)
        name, seconds = f"f{begin}-{end}", f"{self.seconds:.1f}s"
        return f"@keyframes {name}{{{rules}}}.{name}{{animation:{name} {seconds} step-end both}}\n"


def hero(stages, steps, players):
    """Play a session on a server of each stage, which checks nothing, and return the SVG."""
    begins = [20 + HALF * number for number in range(len(stages))]
    places = [
        {letter: begin + number * (CLIENT + 10) for number, letter in enumerate(letters_of(steps))}
        for begin in begins
    ]

    def seen(records, typing=""):
        for record, begin, where in zip(records, begins, places, strict=True):
            yield from clients(record, where, typing)
            yield from threads(record, begin, where)

    for player in players:
        player.server.wait_for_rest()
    film, before = Film(), [player.record() for player in players]
    film.add(START, seen(before))
    for records in zip(*(player.steps(steps) for player in players), strict=True):
        typing = records[0].step.terminal
        parts = list(seen(before, typing))
        for record, where in zip(records, places, strict=True):
            parts += typed(record.clients[typing], typing, where[typing])
        film.add(TYPED, parts)
        film.add(SEEN, seen(records))
        before = records
    still = []
    for stage, begin, where in zip(stages, begins, places, strict=True):
        still.append(text(begin, 30, f"{stage.name}: {stage.title}", "title"))
        for letter, x in where.items():
            still += [box(x, TERMINAL, CLIENT, 140, "box"), box(x, QUEUE, CLIENT, 62, "box")]
            still.append(text(x + 10, TERMINAL + 20, letter, "faint"))
    said = [f"{sentence(step)}." for step in steps]
    description = " ".join([*said, *ends(before, stages)])
    return film.svg("The same lines typed into two servers", description, still)


def ends(records, stages):
    """Yield a sentence for each client, and what has become of it."""
    for record, stage in zip(records, stages, strict=True):
        for letter in record.clients:
            state = client_state(record, letter)[0].replace("\n", ", ")
            yield f"In {stage.name}, {letter}: {state}."
