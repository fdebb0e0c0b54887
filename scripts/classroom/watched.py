"""Run a Python server, and tell on request at which lines its threads are.

    python watched.py DESCRIPTOR server.py --port 0

DESCRIPTOR is the number of an open socket, at whose other end classroom.threads asks with a byte,
and gets a line of JSON: [thread's name, number of the server's line, request.line] for each thread.
While nobody asks, nothing here runs: a watched server comes to rest like any other.
"""

import json
import runpy
import socket
import sys
import threading
import weakref
from pathlib import Path

stored = weakref.WeakKeyDictionary()  # a thread's attributes of a threading.local(), by the thread


class Local(threading.local):
    """A threading.local() that remembers for the watcher what each thread stores in it."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        stored.setdefault(threading.current_thread(), {})[name] = value


def place_of(thread, frames, server):
    """Return the name of a thread, and what it does in the file `server`: the number of the line
    that it executes, and the line of the global `request` as it sees it, or None for either.
    """
    frame = frames.get(thread.ident)
    while frame and frame.f_code.co_filename != server:
        frame = frame.f_back
    if not frame:
        return thread.name, None, None
    request = frame.f_globals.get("request")
    if isinstance(request, Local):
        seen = stored.get(thread, {})
    else:
        seen = getattr(request, "__dict__", {})
    line = seen.get("line")
    return thread.name, frame.f_lineno, line if isinstance(line, str) else None


def answer(asker, server):
    while asker.recv(1):
        frames = sys._current_frames()
        places = [place_of(thread, frames, server) for thread in threading.enumerate()]
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
    threading.local = Local
    runpy.run_path(server, run_name="__main__")


if __name__ == "__main__":
    main()
