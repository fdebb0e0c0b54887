"""The page of v1.0 in a real browser, and with curl."""

import shutil
import struct
import subprocess
import zlib

import pytest
from browser import SECONDS, Chromium, rows, store, two_windows
from classroom.course import ROOT
from classroom.terminal import wait_until
from missing import leave_out


@pytest.mark.stages(since="v1.0")
def test_two_windows(browser, server):
    two_windows(browser, server.port)


@pytest.mark.stages(since="v1.0")
def test_a_silent_connection_keeps_no_browser_waiting(browser, server, connect):
    """Browsers open some themselves."""
    connect()
    window = browser.open(f"http://127.0.0.1:{server.port}/")
    assert wait_until(lambda: len(rows(window)) == 3, SECONDS)


@pytest.mark.stages(since="v1.0")
@pytest.mark.parametrize("browser", [Chromium], indirect=True)
def test_the_picture_of_the_page(browser, server, request):
    """It contains the HTML of which it was made, and that is what a browser gets today."""
    path = ROOT / "docs" / "pictures" / "v1.0-page.png"
    window = browser.open(f"http://127.0.0.1:{server.port}/")
    assert wait_until(lambda: len(rows(window)) == 3, SECONDS)
    store(window, "task_04", "eat 1/2 pie")
    page = window.run("document.documentElement.outerHTML").encode()
    if request.config.getoption("draw"):
        path.write_bytes(with_text(window.picture(440, 230), page))
    assert text_of(path.read_bytes()) == page, "./scripts/test --draw tests/test_browser.py"


def with_text(png, text):
    """Return a PNG file with this text in it, as bytes in ISO 8859-1; nobody sees it."""
    chunk = b"tEXtpage\0" + text
    length, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return png[:-12] + length + chunk + checksum + png[-12:]  # the last twelve bytes are its end


def text_of(png):
    return png.partition(b"tEXtpage\0")[2][:-16]


@pytest.mark.stages(since="v1.0")
def test_curl(server):
    """It sends the form and goes where the response leads, on one connection."""
    if not shutil.which("curl"):
        leave_out("curl is missing; install Debian's package curl")
    url = f"http://127.0.0.1:{server.port}/"
    value = "世界 & <b>1 + 1</b>"
    form = [
        word
        for field in ("task_id=task_04", f"value={value}")
        for word in ("--data-urlencode", field)
    ]
    words = ["curl", "--silent", "--show-error", "--noproxy", "*", "--location"]
    # The status, the redirects that it followed, the connections that it opened.
    words += ["--write-out", "%{response_code} %{num_redirects} %{num_connects}"]
    done = subprocess.run(
        [*words, *form, url], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert "\n<p>task_04: 世界 &amp; &lt;b&gt;1 + 1&lt;/b&gt;\n" in done.stdout
    assert done.stdout.endswith("\n200 1 1")
