"""The page of v1.0 in a real browser, and with curl."""

import shutil
import subprocess

import pytest
from browser import SECONDS, rows, two_windows
from classroom.terminal import wait_until
from missing import leave_out


@pytest.mark.stages(since="v1.0")
def test_two_windows(browser, server):
    two_windows(browser, server.port)


@pytest.mark.stages(since="v1.0")
def test_a_silent_connection_keeps_no_browser_waiting(browser, server, connect):
    """Browsers open some themselves."""
    connect()
    run = browser.open(f"http://127.0.0.1:{server.port}/")
    assert wait_until(lambda: len(rows(run)) == 3, SECONDS)


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
