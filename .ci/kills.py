"""End one of the commands at random moments, and look for what it leaves behind.

What may be left: processes, control groups, files in the temporary folder. After SIGKILL they may
stay until the next check, which must end them.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import uuid
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
# A server that is hard to end: it ignores signals, and has children that left its terminal, one
# of them with an empty environment.
STUBBORN = """
import os, signal, socket, time
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
    signal.signal(number, signal.SIG_IGN)
for clear in False, True:
    if not os.fork():
        os.setsid()
        if clear:
            os.environ.clear()
        time.sleep(1000)
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    client, _ = server.accept()
    while data := client.recv(1024):
        client.sendall(data)
    client.close()
"""
# Each command, and the seconds within which it is ended.
COMMANDS = {
    "suite": ("./scripts/test", 45),
    "demo": ("./scripts/demo v0.2", 4),
    "plain": ("./scripts/demo v0.2 --plain", 2),
    "check": ("./scripts/check v0.3 --all {folder}/1/server.py", 6),
    "each": ("./scripts/check v0.3 --each {folder}/*/server.py", 10),
}
GROUPS = "/sys/fs/cgroup/pids", "/sys/fs/cgroup"
OF_EVERY_RUN = "simpleSocketServer-", "pytest-of-"  # names in the temporary folder that may stay


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=COMMANDS, help="what to start and end")
    parser.add_argument("times", type=int, help="how often")
    parser.add_argument(
        "signals", nargs="?", default="INT,TERM,HUP", help="one of these each time (%(default)s)"
    )
    options = parser.parse_args()
    try:
        signals = [signal.Signals[f"SIG{name}"] for name in options.signals.split(",")]
    except KeyError as name:
        parser.error(f"there is no signal {name}; say INT,TERM,HUP or KILL")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        for number in range(8):
            path = Path(folder, str(number), "server.py")
            path.parent.mkdir()
            path.write_text(STUBBORN)
        shutil.copy(ROOT / "stages" / "v0.3" / "simpleSocketServer.py", f"{folder}/0/server.py")
        bad = sum(
            not kill_once(options.command, random.choice(signals), Path(folder, f"t{n}"))
            for n in range(options.times)
        )
    print(
        f"{options.command}: ended {options.times} times by {options.signals}, {bad} left a trace"
    )
    sys.exit(bad > 0)


def kill_once(name, number, temporary):
    """Start the command, end it, and return whether nothing is left."""
    temporary.mkdir()
    mark = uuid.uuid4().hex
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "TMPDIR": str(temporary),
        "KILLED_RUN": mark,
    }
    command, seconds = COMMANDS[name]
    words = [word.format(folder=temporary.parent) for word in command.split()]
    process, output = start(words, environment)
    moment = random.uniform(0, seconds)
    time.sleep(moment)  # not a wait: any moment will do
    traces = end(process, number)
    if number == signal.SIGKILL:
        checked = [str(ROOT / "scripts" / "check"), "v0.3", f"{temporary.parent}/0/server.py"]
        next_run = environment | {"KILLED_RUN": ""}
        subprocess.run(checked, env=next_run, stdout=subprocess.DEVNULL, check=True)
    deadline = time.monotonic() + (25 if number == signal.SIGKILL else 2)
    while time.monotonic() < deadline:
        if not ((left := processes(mark, temporary.parent)) or groups()):
            break
        time.sleep(0.05)
    files = [path.name for path in temporary.iterdir() if not path.name.startswith(OF_EVERY_RUN)]
    traces += [*map(describe, left), *groups(), *files]
    # Python prints its own when it is ended while it starts.
    if b"Traceback" in output and moment > 0.2:
        begin = output.find(b"Traceback")
        traces.append(output[begin : begin + 2000].decode(errors="replace"))
    if traces:
        print(f"{name}, {number.name} after {moment:.2f} s:", *traces, sep="\n  ", flush=True)
    for one in left:
        with contextlib.suppress(psutil.Error):
            one.kill()
    return not traces


def start(words, environment):
    """Start a command on a terminal of its own; return its process, and what it prints."""
    ours, its = pty.openpty()

    def enter_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in signal.SIGINT, signal.SIGHUP:  # which nohup and & ignore
            signal.signal(number, signal.SIG_DFL)

    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=enter_terminal,  # noqa: PLW1509 (no thread holds a lock)
    )
    os.close(its)
    output = bytearray()

    def read():
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(ours, 65536):
                output.extend(data)
        os.close(ours)

    threading.Thread(target=read, daemon=True).start()
    return process, output


def end(process, number):
    """Send the signal as a terminal would: Ctrl-C to the whole group. Return what went wrong."""
    with contextlib.suppress(ProcessLookupError):
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    try:
        process.wait(25)
    except subprocess.TimeoutExpired:
        process.kill()
        return ["it did not end within 25 seconds"]
    return []


def processes(mark, folder):
    """Return the processes of a run: those with its mark, and the servers of `folder`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if mark in process.environ().values() or str(folder) in " ".join(process.cmdline()):
                found.append(process)
    return found


def groups():
    """Return the control groups that are left: the check that made one holds a lock on it."""
    left = []
    for path in [path for folder in GROUPS for path in Path(folder).glob("check-*")]:
        with contextlib.suppress(OSError):  # it is locked, or has gone meanwhile
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.append(str(path))
            finally:
                os.close(descriptor)
    return left


def describe(process):
    with contextlib.suppress(psutil.Error):
        return f"process {process.pid}: {' '.join(process.cmdline())}"
    return f"process {process.pid}"


if __name__ == "__main__":
    main()
