"""Run a Python server, and tell on request at which lines its threads are.

    python watched.py DESCRIPTOR server.py --port 0

DESCRIPTOR is the number of an open socket, at whose other end classroom.threads asks with a byte,
and gets a line of JSON: [thread's name, number of the server's line] for each thread. While nobody
asks, nothing here runs: a watched server comes to rest like any other.
"""

import json
import runpy
import socket
import sys
import threading
from pathlib import Path


def line_of(ident, frames, server):
    """Return the number of the line in the file `server` that a thread executes, or None."""
    frame = frames.get(ident)
    while frame and frame.f_code.co_filename != server:
        frame = frame.f_back
    return frame and frame.f_lineno


def answer(asker, server):
    while asker.recv(1):
        frames = sys._current_frames()
        places = [
            (thread.name, line_of(thread.ident, frames, server)) for thread in threading.enumerate()
        ]
        asker.sendall(json.dumps(places).encode() + b"\n")


def main():
    _, descriptor, *sys.argv = sys.argv
    server = sys.argv[0]
    sys.path[0] = str(Path(server).resolve().parent)
    asker = socket.socket(fileno=int(descriptor))
    # A daemon: it may not keep the process alive when the server has ended.
    watcher = threading.Thread(target=answer, args=(asker, server), name="watcher", daemon=True)
    watcher.start()
    asker.sendall(b"%d\n" % watcher.native_id)
    runpy.run_path(server, run_name="__main__")


if __name__ == "__main__":
    main()
