"""Real browsers without a screen: Chromium, driven by a pipe, and Firefox, by a socket."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from classroom.terminal import wait_until
from missing import leave_out

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


class Chromium:
    """Chromium, told what to do in its DevTools protocol: JSON with a zero byte at its end."""

    NAMES = "chromium", "chromium-browser", "google-chrome"

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
        os.close(self._commands)
        os.close(self._answers)
        end(self._process)


def end(process):
    """End a browser that leads a process group, and wait for all its processes."""
    everybody = [process, *psutil.Process(process.pid).children(recursive=True)]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
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


# It may reach this machine only, at the port that it chooses.
PREFERENCES = """
user_pref("marionette.port", 0);
user_pref("network.dns.forceResolve", "127.0.0.1");
user_pref("network.proxy.type", 0);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("app.normandy.enabled", false);
"""


class Firefox:
    """Firefox, told what to do in its protocol Marionette: JSON, with its length before it."""

    NAMES = "firefox-esr", "firefox"

    def __init__(self, firefox, folder):
        """Start the command `firefox`; its files go to `folder`."""
        Path(folder, "user.js").write_text(PREFERENCES)
        self._process = subprocess.Popen(
            [firefox, "--headless", "--marionette", "--no-remote", "--profile", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": folder, "TMPDIR": folder},
            start_new_session=True,
        )
        port = Path(folder, "MarionetteActivePort")
        assert wait_until(lambda: port.exists() and port.read_text(), SECONDS)
        self._connection = socket.create_connection(("127.0.0.1", int(port.read_text())), SECONDS)
        self._answers = self._connection.makefile("rb")
        self._numbers = itertools.count(1)
        self._read()  # a greeting
        self.call("NewSession")

    def _read(self):
        length = b"".join(iter(lambda: self._answers.read(1), b":"))
        return json.loads(self._answers.read(int(length)))

    def call(self, name, **params):
        """Give a command of WebDriver; return its result."""
        command = json.dumps([0, next(self._numbers), f"WebDriver:{name}", params]).encode()
        self._connection.sendall(b"%d:%s" % (len(command), command))
        _, _, error, result = self._read()
        assert not error, error
        return result

    def open(self, url):
        """Open a FirefoxWindow."""
        handle = self.call("NewWindow", type="window")["handle"]
        window = FirefoxWindow(self, handle)
        self.call("Navigate", url=url)
        return window

    def close(self):
        self._answers.close()
        self._connection.close()
        end(self._process)


class FirefoxWindow:
    """A window of Firefox, with one page."""

    def __init__(self, browser, handle):
        self._browser = browser
        self._handle = handle
        browser.call("SwitchToWindow", handle=handle, focus=False)

    def run(self, code):
        """Run JavaScript in it and return the result; None while the page is being left."""
        self._browser.call("SwitchToWindow", handle=self._handle, focus=False)
        script = "return eval(arguments[0])"
        try:
            return self._browser.call("ExecuteScript", script=script, args=[code])["value"]
        except AssertionError as error:
            if "unloaded" not in str(error):
                raise
            return None


@pytest.fixture(params=[Chromium, Firefox], ids=["chromium", "firefox"])
def browser(request):
    command = next(filter(None, map(shutil.which, request.param.NAMES)), None)
    if not command:
        leave_out(f"{request.param.NAMES[0]} is missing; install Debian's package of this name")
    # Not tmp_path: Chromium makes a socket in its folder, whose path may have 107 bytes at most.
    with (
        tempfile.TemporaryDirectory(prefix="browser-") as folder,
        contextlib.closing(request.param(command, folder)) as browser,
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
