"""Nothing drifts: each block, link, table and picture of every page is held to what it shows."""

import contextlib
import difflib
import importlib.util
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import test_behaviours
from broken.servers import FLAWS
from classroom import kernel, shared
from classroom.course import ROOT, stages
from classroom.pictures import svg
from classroom.pictures.command import draw_all
from classroom.play import Play, Prompt
from classroom.session import at_prompt, parse
from classroom.terminal import Breakdown, Server
from clones import run
from conftest import shows
from markdown_it import MarkdownIt
from missing import NO_FLASK, leave_out
from summary import table
from test_demo import contrast

NAMES = [stage.name for stage in stages()]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *(s.lesson for s in stages())]
PAGE_IDS = [str(page.relative_to(ROOT)) for page in PAGES]
every_page = pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
# The languages of blocks that a test below checks.
CHECKED = {"diff", "python", "python client", "sh", "sh server", "sh client"}
CHECKED |= {"sh flask", "session flask", "sh flask check"}  # by test_flask.py and test_check.py
CHECKED |= {"toml", "yaml", "sh gradescope"}  # by test_marks.py
CHECKED |= {f"session {name}" for name in NAMES}
CHECKED |= {f"report {flaw.name}" for flaw in FLAWS}


class Block(NamedTuple):
    info: str  # the language, and the words after it
    content: str
    place: str  # "docs/tags.md:7", its first line


def tokens_of(page):
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page, *infos):
    """Return the blocks of a page, or those whose language is one of `infos`."""
    return [
        Block(token.info, token.content, f"{page.relative_to(ROOT)}:{token.map[0] + 2}")
        for token in tokens_of(page)
        if token.type in {"fence", "code_block"} and (not infos or token.info in infos)
    ]


@every_page
def test_every_block_is_checked(page, record_property):
    """A block that cannot be checked must say so: ```text unchecked. Their number is printed."""
    for block in blocks(page):
        if "unchecked" in block.info.split():
            record_property("unchecked", block.place)
        elif block.info != "session" or not blocks(page, "sh server"):
            assert block.info in CHECKED, f"{block.place}: nobody checks this block"


# Links.


def anchors_of(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    tokens = tokens_of(page)
    return {
        re.sub(r"[^\w\- ]", "", following.content.lower()).replace(" ", "-")
        for token, following in itertools.pairwise(tokens)
        if token.type == "heading_open"
    }


@every_page
def test_links(page):
    for token in tokens_of(page):
        line_ends = 0
        for part in token.children or []:
            line_ends += part.type == "softbreak"
            target = part.attrs.get("href") or part.attrs.get("src")
            if not target or "://" in target:
                continue
            place = f"{page.relative_to(ROOT)}:{token.map[0] + 1 + line_ends}"
            path, _, anchor = target.partition("#")
            # At its tag, a lesson is in the top folder: only a link from the top works in both.
            base = ROOT if path.startswith("/") else page.parent
            found = base / path.lstrip("/") if path else page
            assert found.exists(), f"{place}: there is no {target}"
            if anchor:
                assert anchor in anchors_of(found), f"{place}: there is no heading for {target}"
            if page in (stage.lesson for stage in stages()):
                at_the_tag = path.startswith(("/docs/pictures/", "/docs/replay/"))
                assert at_the_tag, f"{place}: {target} is not at the tag"


# Quotations.


def hold_to(lines, expected, place):
    """Fail at the first of these lines of a page that is not the expected one.

    `place` is that of the first line.
    """
    path, _, first = place.rpartition(":")
    for number, (line, due) in enumerate(itertools.zip_longest(lines, expected), int(first)):
        assert line == due, f"{path}:{number}: today this line is {due!r}"


def test_a_lesson_shows_what_has_changed_since_the_stage_before(stage):
    after = stage.server.read_text().splitlines()
    for one, next_one in itertools.pairwise(stages()):
        if next_one == stage:
            before = one.server.read_text().splitlines()
            _, _, *changes = difflib.unified_diff(before, after, n=1, lineterm="")
            (block,) = blocks(stage.lesson, "diff")
            hold_to(block.content.splitlines(), changes, block.place)


def test_all_stages_have_the_same_main():
    """It is not part of a lesson, so nobody has to read it twice."""
    mains = {stage.server.read_text().partition("\ndef main():")[2] for stage in stages()}
    assert len(mains) == 1
    assert "server.listen()" in mains.pop()


def test_only_lessons_have_diffs_and_quotations():
    for page in set(PAGES) - {stage.lesson for stage in stages()} - {ROOT / "docs" / "flask.md"}:
        assert not blocks(page, "diff", "python")
    assert not blocks(stages()[0].lesson, "diff")


def test_what_a_lesson_quotes_stands_in_the_server(stage):
    for block in blocks(stage.lesson, "python"):
        assert block.content in stage.server.read_text(), f"{block.place}: not in the server"


def test_the_lines_that_a_teacher_asks_about_are_in_the_lessons():
    text = (ROOT / "docs" / "walkthrough.md").read_text(encoding="utf-8")
    lines = {
        stage.name: [step.line for steps in stage.sessions() for step in steps]
        for stage in stages()
    }
    asked = 0
    for number, row in enumerate(text.splitlines(), 1):
        if match := re.match(r"\| (v0\.\d) `(.+?)(…?)` \|", row):
            name, line, cut = match.groups()
            there = any(each.startswith(line) if cut else each == line for each in lines[name])
            assert there, f"docs/walkthrough.md:{number}: {name} has no line {line!r}"
            asked += 1
    assert asked


def test_table_of_behaviours():
    rows = {}
    for test in vars(test_behaviours).values():
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "behaviour" and not mark.kwargs.get("theirs"):
                rows[mark.args[0]] = {name: "yes" if shows(mark, name) else "no" for name in NAMES}
    lines = (ROOT / "docs" / "behaviours.md").read_text(encoding="utf-8").splitlines()
    head, *_ = expected = table(rows, NAMES)
    assert head in lines, f"docs/behaviours.md: there is no table that begins with {head!r}"
    first = lines.index(head)
    shown = list(itertools.takewhile(lambda line: line.startswith("|"), lines[first:]))
    hold_to(shown, expected, f"docs/behaviours.md:{first + 1}")


# Commands.


def test_commands_that_take_too_long_for_every_run():
    """Those that end others at random moments are started, and do nothing no times."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    kills = re.findall(r"`\.venv/bin/python (\.ci/kills\.py \w+) \d+( [A-Z,]+)?`", page)
    assert len(kills) == page.count("kills.py")
    for words, signals in kills:
        output = run(ROOT, sys.executable, *words.split(), "0", *signals.split())
        assert output.endswith("0 left a trace\n")


def test_the_benchmark():
    """It measures no times, and its table has the columns of the lesson's."""
    if not shutil.which("wrk"):
        leave_out("wrk is missing; install Debian's package wrk")
    head = run(ROOT, sys.executable, ".ci/benchmark.py", "0")
    assert head in stages()[-1].lesson.read_text(encoding="utf-8")


@every_page
def test_commands(page, repository, tmp_path, monkeypatch):
    """Run the commands of a page, from top to bottom, in a clone that can push."""
    commands = blocks(page, "sh")
    if not commands:
        return
    if "flask" in str(commands) and not importlib.util.find_spec("flask"):
        leave_out(NO_FLASK)  # and install nothing into .venv
    published, clone = tmp_path / "published", tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", "--bare", repository, published)
    run(tmp_path, "git", "clone", "--quiet", published, clone)
    run(clone, "git", "config", "user.name", "Reader")
    run(clone, "git", "config", "user.email", "reader@localhost")
    (clone / ".venv").symlink_to(ROOT / ".venv")
    run(clone, "./scripts/setup")
    shutil.copy(stages()[2].server, clone / "my_server.py")
    # Of the suite, which a page may start, one test is enough here.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n0 -k test_first_message")
    for block in commands:
        try:
            run(clone, "sh", "-e", "-x", "-c", block.content)
        except AssertionError as error:
            pytest.fail(f"{block.place}: {error}")
    if "git push" in "".join(block.content for block in commands):
        assert run(published, "git", "tag").split() == NAMES
    assert run(clone, "git", "branch", "--show-current") == "main\n"


@pytest.fixture
def port_9000():
    """Hold port 9000 for one test at a time; give False if somebody else has it."""
    with shared.lock("port-9000"):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", 9000))
                free = True
            except OSError:
                free = False
        yield free


@every_page
def test_by_hand(page, port_9000, nc, monkeypatch):
    """Start the server as a page says, connect as it says, and type its sessions, one by one."""
    servers, clients = blocks(page, "sh server"), blocks(page, "sh client")
    assert len(servers) == len(clients) <= 1
    if not servers:
        return
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(ROOT if page.parent.name == "docs" else page.parent)
    command = servers[0].content.strip() + ("" if port_9000 else " --port 0")
    with contextlib.closing(Server(["/bin/sh", "-c", f"exec {command}"])) as server:
        try:
            port = server.port
        except Breakdown as breakdown:
            pytest.fail(f"{servers[0].place}: {breakdown}")
        assert port == 9000 or not port_9000, f"{servers[0].place}: it listens on {port}"
        assert clients[0].content == "nc 127.0.0.1 9000\n", f"{clients[0].place}: no such client"
        for block in blocks(page, "session"):
            path, _, line = block.place.rpartition(":")
            # Nobody can look into a server that was started by hand.
            steps = [s for s in parse(block.content, path, int(line)) if s.action != "thread"]
            with contextlib.ExitStack() as stack:
                if typed := at_prompt(steps):
                    prompt = stack.enter_context(contextlib.closing(Prompt()))
                stack.enter_context(Play(prompt if typed else server, nc)).run(steps)


@every_page
def test_clients_in_python(page):
    """A client that a page shows gets its response from the server of the page's stage."""
    for block in blocks(page, "python client"):
        stage = next(stage for stage in stages() if stage.lesson == page)
        words = [sys.executable, str(stage.server), "--port", "0"]
        with contextlib.closing(Server(words)) as server:
            code = block.content.replace("9000", str(server.port))
            client = [sys.executable, "-c", code]
            done = subprocess.run(
                client, input="hello\n\n", capture_output=True, text=True, timeout=60, check=False
            )
        assert (done.stdout, done.stderr) == ("hello\n", ""), block.place


@every_page
def test_sessions_that_name_their_stage(page, nc):
    for stage in stages():
        for block in blocks(page, f"session {stage.name}"):
            words = [sys.executable, str(stage.server), "--port", "0"]
            with contextlib.closing(Server(words)) as server, Play(server, nc) as player:
                path, _, line = block.place.rpartition(":")
                player.run(parse(block.content, path, int(line)))


@every_page
@pytest.mark.skipif(not kernel.LINUX, reason="only Linux tells who has read a line")
def test_reports(page, tmp_path):
    """A report in a page is what a broken server's author sees today."""
    for flaw in FLAWS:
        for block in blocks(page, f"report {flaw.name}"):
            code = next(s for s in stages() if s.name == flaw.stage).server.read_text()
            (tmp_path / "my_server.py").write_text(code.replace(flaw.old, flaw.new))
            command = [ROOT / "scripts" / "check", flaw.stage, "my_server.py"]
            output = run(tmp_path, *command, status=1)
            hold_to(without_ports(block.content), without_ports(output), block.place)


def without_ports(report):
    """Return the lines of a report, without what is another number each time."""
    lines = re.sub(r"(?<=127\.0\.0\.1[ :])\d+", "", report).splitlines()
    return [line.rstrip() for line in lines]


# Pictures.


def without_ports_and_names(svg):
    """Return what the demo's picture says, without ports, and without names that Textual makes."""
    return re.sub(
        r"terminal-\d+|(?<=127\.0\.0\.1[ :])\d+|(?<=port )\d+", "", svg.replace("&#160;", " ")
    )


def test_pictures(tmp_path, nc):
    """The pictures are what today's servers do, each byte; only the demo shows its port."""
    for drawn in draw_all(nc, tmp_path):
        if not kernel.LINUX and drawn.name.endswith(("timeline.svg", "demo.svg", "hero.svg")):
            continue  # elsewhere the kernel does not say what is unread
        picture = ROOT / "docs" / "pictures" / drawn.name
        assert picture.exists(), f"./scripts/draw draws {picture.name}"
        shown, there = drawn.read_text(), picture.read_text()
        if drawn.name == "demo.svg":
            shown, there = map(without_ports_and_names, (shown, there))
        assert shown == there, f"{picture}: not what is played today; ./scripts/draw"
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in (ROOT / "docs" / "pictures").iterdir()
    } - {"v1.0-page.png"}  # which test_browser.py draws


OURS = [path for path in (ROOT / "docs" / "pictures").glob("*.svg") if path.name != "demo.svg"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_picture_can_be_read(path):
    """By who sees little or nothing: large text, a title, and what happens in words."""
    root = ElementTree.parse(path).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}title").text
    assert root.find(f"{name}desc").text.count(". ") > 1
    assert root.get("viewBox").split()[2] == str(svg.WIDTH)
    assert "text{font:14px " in root.find(f"{name}style").text
    for part in root.iter(f"{name}text"):
        end = int(part.get("x")) + svg.CHARACTER * len(part.text or "")
        assert end <= svg.WIDTH, f"{part.text!r} is cut"


def test_the_colours_of_a_picture():
    """Every text has the contrast that the demo has, on what it stands on, in light and dark."""
    light, dark = svg.STYLE.split("@media")
    for rules, back in ((light, "#ffffff"), (light + dark, "#0d1117")):
        fill = {
            name: colour
            for names, colour in re.findall(r"([\w.,]+)\{[^}]*fill:(#\w+)", rules)
            for name in names.split(",")
        }
        for name in ("text", ".faint", ".note", ".remark", ".shown"):
            assert contrast(long(fill[name]), back) >= 4.5, name
        for name in (".waiting", ".served", ".idle"):
            assert contrast(long(fill[".on"]), long(fill[name])) >= 4.5, name


def long(colour):
    """Return a colour with six digits."""
    return colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
