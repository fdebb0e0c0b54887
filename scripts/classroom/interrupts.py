"""Ctrl-C, SIGTERM and a hang-up end a command, but never between two steps that belong together.

All three raise KeyboardInterrupt in the main thread, except in a block `with interrupts.held:`.
There something is created or removed; the interrupt follows at the end of the block. What
follows within five seconds is ignored: it could only interrupt what cleans up.
"""

import signal
import threading
import time

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
TO_CLEAN_UP = 5  # seconds


class _Held:
    """Counts the blocks that are running, in all threads, and keeps the signal that came meanwhile.

    Blocking the signals with a mask would not do: the kernel would give them to another thread,
    and Python would still raise KeyboardInterrupt in the main thread.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.blocks = 0
        self.waiting = None
        self.cleaned_up = 0  # when, at the latest, in the seconds of time.monotonic()

    def __enter__(self):
        with self.lock:
            self.blocks += 1

    def __exit__(self, *_):
        with self.lock:
            self.blocks -= 1
            number = None if self.blocks else self.waiting
        if number:
            self.waiting = None
            signal.raise_signal(number)


held = _Held()


def _interrupt(number, _frame):
    if held.blocks:
        held.waiting = number
    elif time.monotonic() > held.cleaned_up:
        held.cleaned_up = time.monotonic() + TO_CLEAN_UP
        raise KeyboardInterrupt(number)


def install():
    """Let the three signals raise KeyboardInterrupt, but not those that nohup has ignored."""
    held.cleaned_up = 0
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def ignore():
    """Ignore the three signals from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def number_of(interrupt):
    """Return the number of the signal that raised this KeyboardInterrupt."""
    return interrupt.args[0] if interrupt.args else signal.SIGINT
