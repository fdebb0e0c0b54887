"""Compare how many pages per second v1.0 and other servers send, in interleaved rounds.

It needs Linux, two processors and wrk, which asks for the same page on eight connections. The
server has one processor, and wrk the other.
"""

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from classroom.check import candidate  # noqa: E402 (it is in scripts/)

BIN = ROOT / ".venv" / "bin"

# The page of v1.0, as the other servers make it.
PAGE = """
import html
tasks = {"task_01": "see someone", "task_02": "read book", "task_03": "play basketball"}

def page():
    rows = "\\n".join(f"<p>{html.escape(f'{key}: {task}')}" for key, task in sorted(tasks.items()))
    form = '<input name="task_id"> <input name="value"> <button>POST</button>'
    text = f"<!doctype html>\\n<title>ToDo</title>\\n{rows}\\n"
    return f'{text}<form method="post">{form}</form>\\r\\n'.encode()
"""
# Python's own server, without its two faults: a log line, and two packets for each response.
STANDARD = f"""{PAGE}
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = page()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Server(ThreadingHTTPServer):
    request_queue_size = 4096

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
# An app without a framework, for the servers of others.
APP = f"""{PAGE}
def app(environ, start_response):
    body = page()
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
"""
WAITRESS = [f"{BIN}/waitress-serve", "--threads=8", "--listen=127.0.0.1:{port}"]
GUNICORN = [f"{BIN}/gunicorn", "--threads=8", "--no-control-socket", "--bind=127.0.0.1:{port}"]
SERVERS = {
    "v1.0": [sys.executable, str(ROOT / "stages/v1.0/simpleSocketServer.py"), "--port", "{port}"],
    "`http.server`": [sys.executable, "-c", STANDARD],
    "Waitress": [*WAITRESS, "plain:app"],
    "gunicorn": [*GUNICORN, "plain:app"],
    "gunicorn, and Flask compiles and fills a template": [*GUNICORN, "todo:app"],
}


def pages_per_second(words, seconds):
    """Start a server, ask it for pages for this long, and end it."""
    with contextlib.closing(candidate.Candidate(["taskset", "-c", "0", *words])) as server:
        url = f"http://127.0.0.1:{server.port}/"
        command = ["taskset", "-c", "1", "wrk", "-t1", "-c8", f"-d{seconds}s", url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if wrong := re.search(r"(Non-2xx.*|Socket errors.*)", output):
            print(f"  {words[0]}: {wrong[1]}", file=sys.stderr)
        return float(re.search(r"Requests/sec: *([\d.]+)", output)[1])


def measure(rates, options):
    """Add the rates of all rounds to `rates`, a list for each server."""
    for number in range(1, options.rounds + 1):
        print(f"round {number} of {options.rounds}", file=sys.stderr)
        for name, words in SERVERS.items():
            rates[name].append(pages_per_second(words, options.seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rounds", nargs="?", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="for each server (%(default)s)")
    options = parser.parse_args()
    if missing := [name for name in ("wrk", "taskset") if not shutil.which(name)]:
        parser.error(f"there is no {missing[0]}; install Debian's packages wrk and util-linux")
    candidate.START = 60
    rates = {name: [] for name in SERVERS}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        shutil.copy(ROOT / "docs" / "flask" / "todo.py", folder)
        Path(folder, "plain.py").write_text(APP)
        os.chdir(folder)
        measure(rates, options)
    print("| server | pages per second | v1.0 sends |")
    print("|---|---:|---:|")
    ours = rates["v1.0"]
    for name, found in rates.items():
        if found:
            median = statistics.median(found)
            more = f"{statistics.median(ours) / median:.2g} times as many"
            print(f"| {name} | {median:,.0f} | {'' if found is ours else more} |")


if __name__ == "__main__":
    main()
