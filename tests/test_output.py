"""What the commands write: text from others steers nothing, and every way to write may fail."""

import ast
import os
import unicodedata

import pytest
from classroom.course import SERVER, stages
from classroom.output import Page, one_line, printable
from clones import command
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

LAST = stages()[-1]
COMMANDS = ["demo", "check", "draw"]
# What others may call their files, print, or type, and what it would do.
NAMES = {
    "markup": "[bold]x[/b] [final] [/dev/tty]",
    "an emoji's name": ":warning:",
    "an option": "--all",
    "colours and a cleared screen": "\x1b[32mPASSED\x1b[0m\x1b[2J",
    "the same in eight bits": "\x9b2J",
    "a second line": "one\ntwo\tthree",
    "the other writing direction": "\u202etxt.exe\u2066",
    "a pattern": "*?[a-z]$HOME `id` 'quoted' \"twice\"",
    "bytes that are not valid UTF-8": "\udce9\udcff",
    "any script": "世界 grüß नमस्ते 👨‍👩‍👧",
}


def steers(character):
    """Say whether a character may do more than appear, apart from line ends and tabs."""
    category = unicodedata.category(character)
    return category in {"Cc", "Cf", "Cs", "Zl", "Zp"} and character not in "\n\t\u200c\u200d"


@given(st.text(st.characters()))
def test_printable_text_steers_nothing_and_loses_nothing(text):
    """Each character is there, or an ASCII escape sequence instead of it."""
    for character in text:
        shown = printable(character)
        if shown != character:
            assert shown.isascii()
            assert ast.literal_eval(f"'{shown}'") == character
        else:
            assert not steers(character)
    assert printable(text) == "".join(map(printable, text))
    assert one_line(text) == printable(text).replace("\n", "\\n").replace("\t", "\\t")


@given(st.text(st.characters()))
def test_a_page_shows_text_as_it_is(text):
    """Nothing is markup, nothing an emoji's name: neither by itself nor in a table."""
    page = Page(file=open(os.devnull, "w"), width=10_000)  # noqa: PTH123, SIM115
    with page.capture() as capture:
        page.print(text, end="")
    assert capture.get() == printable(text).expandtabs(8)
    table = Table("head", box=None, show_header=False, pad_edge=False)
    table.add_row(one_line(text))
    with page.capture() as capture:
        page.print(table)
    assert capture.get().rstrip() == one_line(text).rstrip()
    page.file.close()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "status", "error"),
    [
        ("| true", 0, ""),
        (">/dev/full", 1, "{name}: [Errno 28] No space left on device\n"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
    ],
)
def test_an_output_that_cannot_be_written(name, redirection, status, error):
    done = command("/bin/sh", "-c", f"./scripts/{name} --help {redirection}")
    assert (done.returncode, done.stderr) == (status, error.format(name=name))


@pytest.mark.parametrize("options", ["", "--json", "--each", "--new"])
@pytest.mark.parametrize("redirection", ["| true", ">/dev/full", ">&-"])
def test_a_check_whose_output_cannot_be_written(tmp_path, options, redirection):
    """Neither pytest nor rich says anything of its own."""
    new = tmp_path / "new" if options == "--new" else tmp_path / SERVER
    (tmp_path / SERVER).write_text("")
    words = f"./scripts/check {options} {LAST.name} {new}"
    done = command("/bin/sh", "-c", f"{words} {redirection}")
    if redirection == ">/dev/full":
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "check: [Errno 28] No space left on device"
    else:
        assert not done.stderr or options == "--each", done.stderr
    assert "Traceback" not in done.stderr


def test_errors_do_not_steer_the_terminal():
    """What one has typed comes back in the error line."""
    evil = "\x1b[2J\u202e"
    for words in (["check", evil, "x"], ["check", LAST.name, evil], ["demo", evil], ["draw", evil]):
        name, *arguments = words
        done = command(f"./scripts/{name}", *arguments)
        assert done.returncode == 2
        assert r"\x1b[2J\u202e" in done.stderr
        assert not any(map(steers, done.stderr))


def test_a_terminal_without_utf8(monkeypatch):
    """The demo and the check write what such a terminal knows, and ? for the rest."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = command("./scripts/demo", LAST.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "? waits" in done.stdout or "waits" not in done.stdout
    done = command("./scripts/check", LAST.name, str(LAST.server))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"? {'GET' if LAST.number > (0, 4) else 'the'}" in done.stdout
