"""A real browser: headless Chromium, which gets its commands through a pipe."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

import psutil
import pytest
from classroom.terminal import wait_until
from missing import leave_out

NAMES = ["chromium", "chromium-browser", "google-chrome"]
SECONDS = 30  # at most, for each command
OPTIONS = [
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
]


class Browser:
    """Chromium, told what to do in its DevTools protocol: JSON with a zero byte at its end."""

    def __init__(self, chromium, folder):
        """Start the command `chromium`; its files go to `folder`."""
        theirs_in, self._commands = os.pipe()
        self._answers, theirs_out = os.pipe()
        words = [chromium, *OPTIONS, f"--user-data-dir={folder}"]
        # It may reach this machine only.
        words += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        if os.getuid() == 0:
            words.append("--no-sandbox")  # which does not work for root

        def arrange():  # Chromium reads descriptor 3 and writes 4, and ends when 3 is closed.
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        self._process = subprocess.Popen(
            words,
            pass_fds=(3, 4),
            preexec_fn=arrange,  # noqa: PLW1509 (no thread holds a lock)
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": folder},  # or its files stay in the temporary folder
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._received = b""

    def call(self, method, window=None, **params):
        """Call a method of the DevTools protocol; return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if window:
            message["sessionId"] = window
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer, end, rest = self._received.partition(b"\0")
            if not end:
                left = max(0, deadline - time.monotonic())
                assert select.select([self._answers], [], [], left)[0], f"{method} got no answer"
                self._received += os.read(self._answers, 65536)
                continue
            self._received = rest
            if (found := json.loads(answer)).get("id") == number:
                assert "error" not in found, found
                return found["result"]

    def open(self, url):
        """Open a Window."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        window = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Window(self, window)

    def close(self):
        everybody = [self._process, *psutil.Process(self._process.pid).children(recursive=True)]
        os.close(self._commands)
        os.close(self._answers)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        psutil.wait_procs(everybody, SECONDS)


class Window:
    """A window of the browser, with one page."""

    def __init__(self, browser, name):
        self._browser = browser
        self._name = name

    def call(self, method, **params):
        return self._browser.call(method, self._name, **params)

    def run(self, code):
        """Run JavaScript in it and return the result."""
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        return found["result"].get("value")

    def picture(self, width, height):
        """Return a picture of the page, as the bytes of a PNG file."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@pytest.fixture
def browser():
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if not chromium:
        leave_out("chromium is missing; install Debian's package chromium")
    # Not tmp_path: Chromium makes a socket in its folder, whose path may have 107 bytes at most.
    with (
        tempfile.TemporaryDirectory(prefix="chromium-") as folder,
        contextlib.closing(Browser(chromium, folder)) as browser,
    ):
        yield browser


def store(window, task_id, value):
    """Fill in the form, press its button, and wait for the page that shows the task."""
    window.run(
        f"document.querySelector('[name=task_id]').value = {json.dumps(task_id)};"
        f"document.querySelector('[name=value]').value = {json.dumps(value)};"
        "document.querySelector('button').click()"
    )
    shown = f"{task_id}: {value}"
    assert wait_until(lambda: shown in rows(window), SECONDS), rows(window)


def rows(window):
    return window.run("[...document.querySelectorAll('p')].map(p => p.textContent.trim())") or []


def two_windows(browser, port):
    """Let two windows store a task each. Both see both, and a text is never HTML."""
    url = f"http://127.0.0.1:{port}/"
    one, other = browser.open(url), browser.open(url)
    for window in (one, other):
        assert wait_until(lambda window=window: len(rows(window)) == 3, SECONDS)
    store(one, "task_04", "<script>document.title = 'mine'</script>")
    store(other, "task_05", "世界, \"and\" 'quotes' & 1/2 + 1 = 1.5")
    # The page after the form is one that was asked for with GET, so that a reload stores nothing.
    assert one.run("location.href") == url
    one.run("location.reload()")
    assert wait_until(lambda: len(rows(one)) == 5, SECONDS)
    assert rows(one) == rows(other)
    assert one.run("document.title") == "ToDo"
