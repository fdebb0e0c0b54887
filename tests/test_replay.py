"""The pages that replay the sessions: what they show is what the sessions say."""

import json
import re
from xml.etree import ElementTree

import pytest
from browser import SECONDS, Chromium
from classroom import kernel
from classroom.course import ROOT, stages
from classroom.demo.playback import titled_sessions
from classroom.output import printable
from classroom.pictures.command import draw_replays
from classroom.pictures.replay import beginning, sentence
from classroom.terminal import wait_until

DOCS = ROOT / "docs"
PAGES = [stage.name for stage in stages()]


@pytest.mark.skipif(not kernel.LINUX, reason="elsewhere the kernel does not say what is unread")
def test_the_pages_are_what_is_played_today(tmp_path, nc):
    """Each byte, so the same servers give the same pages."""
    for drawn in draw_replays(nc, tmp_path / "replay"):
        path = DOCS / drawn.relative_to(tmp_path)
        assert drawn.read_text() == path.read_text(), f"{path}: ./scripts/draw"
        assert path.stat().st_size < 30_000
    there = {path.stem for path in (DOCS / "replay").iterdir()}
    assert there == {*PAGES, "compare"}


def test_the_index_leads_to_every_page():
    text = (DOCS / "index.html").read_text()
    assert re.findall(r'"replay/(.*)\.html"', text) == ["compare", *PAGES]


@pytest.fixture
def page(browser):
    """Return a function that opens a page at a width, for a reader who wants no motion."""

    def page(name, width=1400):
        file, mark, step = name.partition("#")
        window = browser.open((DOCS / "replay" / file).as_uri() + mark + step)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        window.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        window.call("Emulation.setEmulatedMedia", features=features)
        assert wait_until(
            lambda: window.run("document.querySelectorAll('section').length"), SECONDS
        )
        return window

    return page


# Goes on by the button, and returns for each step what is announced and what the terminals show.
ALL = """
(() => {
  const seen = [], next = document.getElementById("next")
  for (;;) {
    seen.push([
      document.getElementById("say").textContent,
      [...document.querySelectorAll(".terminal")].map(box => box.textContent).join("\\n"),
      document.documentElement.scrollWidth <= innerWidth,
    ])
    if (next.disabled) return JSON.stringify(seen)
    next.click()
  }
})()
"""


@pytest.mark.parametrize("browser", [Chromium], indirect=True)
@pytest.mark.parametrize("width", [400, 1400])
def test_every_step_of_every_session(page, width):
    for stage in stages():
        seen = json.loads(page(f"{stage.name}.html", width).run(ALL))
        sessions = [steps for _, _, steps in titled_sessions([stage])]
        assert len(seen) == sum(len(steps) + 1 for steps in sessions)
        for steps in sessions:
            assert seen.pop(0)[0] == beginning(steps)
            for step in steps:
                said, shown, fits = seen.pop(0)
                assert said == printable(sentence(step))
                assert fits, f"{step.place}: the page is wider than {width} pixels"
                mark = {"types": ">", "shows": "<"}.get(step.action)
                if mark and step.terminal != "python":
                    assert f"{mark} {printable(step.text)}" in shown, step.place


@pytest.mark.parametrize("browser", [Chromium], indirect=True)
def test_the_comparison(page):
    """At its last but one step, B waits on one side only."""
    window = page("compare.html#3")
    kernel = "[...document.querySelectorAll('.kernel')].map(box => box.innerText)"
    states = window.run(kernel)
    assert [state.split("\n")[0].strip() for state in states] == [
        "A: is served",
        "B: not accepted",
        "A: is served",
        "B: is served",
    ]
    assert "14 bytes unread" in states[1]


@pytest.mark.parametrize("browser", [Chromium], indirect=True)
def test_ways_to_another_step(page):
    """By link, key, button and slider; each step has a link of its own and is announced."""
    window = page("v0.2.html#7")

    def at():
        return window.run("document.getElementById('number').textContent.split(' ')[0]")

    assert at() == "7"
    for key, number in (("ArrowRight", "8"), ("ArrowLeft", "7"), ("x", "7")):
        window.run(f"dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")
        assert (at(), window.run("location.hash")) == (number, f"#{number}")
    window.run("document.getElementById('back').click()")
    assert at() == "6"
    slide = "at = document.getElementById('at'); at.value = 2; at.dispatchEvent(new Event('input'))"
    window.run(f"(() => {{ const {slide} }})()")
    assert at() == "2"
    said = window.run("document.getElementById('say').textContent")
    assert said == window.run("document.getElementById('at').getAttribute('aria-valuetext')")
    assert window.run("document.getElementById('say').getAttribute('aria-live')") == "polite"
    window.run("location.hash = '#0'")
    assert wait_until(lambda: at() == "0")
    assert window.run("document.getElementById('back').disabled")


# The README's first picture.


def test_the_hero_is_small_and_told():
    text = (DOCS / "pictures" / "hero.svg").read_text(encoding="utf-8")
    assert len(text) < 40_000
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}title").text == "The same lines typed into two servers"
    told = root.find(f"{name}desc").text
    assert "In v0.2, B: not accepted, 14 bytes unread." in told
    assert told.endswith("In v0.3, B: is served.")
    seconds = float(re.search(r"animation:\S+ ([\d.]+)s", text)[1])
    assert 12 <= seconds <= 15
    assert "prefers-color-scheme:dark" in text
    assert "prefers-reduced-motion:reduce){*{animation:none!important}}" in text
    assert "http://www.w3.org/2000/svg" in re.findall(r"https?://[^\"]+", text)
    assert len(re.findall(r"https?://", text)) == 1  # it fetches nothing


def test_the_hero_rests_on_its_last_moment():
    """Where nothing is animated, only what is there at the end is seen."""
    root = ElementTree.parse(DOCS / "pictures" / "hero.svg").getroot()
    groups = [g for g in root.iter("{http://www.w3.org/2000/svg}g") if g.get("opacity") != "0"]
    shown = " ".join("".join(group.itertext()) for group in groups)
    assert shown.count("anyone there?") == 3  # typed twice, and echoed by v0.3 only
    assert "B: not accepted14 bytes" in shown
    assert "has sent a line" not in shown
