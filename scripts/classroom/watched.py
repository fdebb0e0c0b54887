"""Run a Python server, and tell on request at which lines its threads are.

    python watched.py DESCRIPTOR server.py --port 0

DESCRIPTOR is the number of an open socket, at whose other end classroom.threads asks with a byte,
and gets a line of JSON: for each thread [its name, the number of the server's line, request.line],
and the server's todo_list. While nobody asks, nothing here runs: a watched server comes to rest
like any other.
"""

import functools
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


def frame_in(server, frame):
    """Return the innermost frame of a thread that is in the file `server`, or None."""
    while frame and frame.f_code.co_filename != server:
        frame = frame.f_back
    return frame


def request_in(frame, thread):
    """Return the line of the global `request`, as a thread sees it in its frame, or None."""
    request = frame.f_globals.get("request")
    if isinstance(request, Local):
        seen = stored.get(thread, {})
    else:
        seen = getattr(request, "__dict__", {})
    line = seen.get("line")
    return line if isinstance(line, str) else None


def todo_list_of(frame, server):
    """Return the todo_list of the server that the function main() in the file `server` runs, or {}.

    Only main() is asked for its variables. To ask for them can keep their objects alive, and v0.1
    shows that Python closes a socket when no variable refers to it.
    """
    while frame and (frame.f_code.co_filename, frame.f_code.co_name) != (server, "main"):
        frame = frame.f_back
    tasks = getattr(frame and frame.f_locals.get("server"), "todo_list", None)
    if not isinstance(tasks, dict):
        return {}
    # A copy, which is made in one step: another thread may add a task.
    return {str(task_id): str(value) for task_id, value in dict(tasks).items()}


def answer(asker, server):
    while asker.recv(1):
        frames = sys._current_frames()
        places = []
        for thread in threading.enumerate():
            if frame := frame_in(server, frames.get(thread.ident)):
                places.append((thread.name, frame.f_lineno, request_in(frame, thread)))
        tasks = todo_list_of(frames.get(threading.main_thread().ident), server)
        asker.sendall(json.dumps([places, tasks]).encode() + b"\n")


def report(kind, error, traceback, server):
    """Print a traceback as Python does; it begins in the file `server`, not here."""
    while traceback and traceback.tb_frame.f_code.co_filename != server:
        traceback = traceback.tb_next
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)


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
    sys.excepthook = functools.partial(report, server=server)
    runpy.run_path(server, run_name="__main__")


if __name__ == "__main__":
    main()
