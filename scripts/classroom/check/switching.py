"""Run a Python server whose threads take turns after each step.

    python switching.py server.py --port 9000

What a thread stores, it nearly always finds again, even if other threads use the same variable.
Here each thread sleeps before each bytecode of the server's file. Another one runs meanwhile, and
the mistake is seen every time.
"""

import runpy
import sys
import threading
import time
from pathlib import Path

MOMENT = 0.0001  # seconds


def main():
    del sys.argv[0]
    server = sys.argv[0]
    sys.path[0] = str(Path(server).resolve().parent)

    def at_step(*_):
        time.sleep(MOMENT)
        return at_step

    def at_call(frame, _event, _argument):
        if frame.f_code.co_filename != server:
            return None
        frame.f_trace_opcodes = True  # Python 3.13.0 ignores it, and tells of each line only
        return at_step

    threading.settrace(at_call)
    runpy.run_path(server, run_name="__main__")


if __name__ == "__main__":
    main()
