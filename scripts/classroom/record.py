"""Records what the demo writes to its terminal as an asciinema cast (asciicast, version 2)."""

import json
import shutil
import time

from textual.drivers.linux_driver import LinuxDriver


def recording_driver(file):
    """Return a Textual driver that also writes all output to the open `file`, line by line."""

    class RecordingDriver(LinuxDriver):
        begin = None  # in seconds, when the first output comes
        size = None

        def write(self, data):
            size = shutil.get_terminal_size()
            if self.begin is None:
                self.begin = time.monotonic()
                header = {"version": 2, "width": size.columns, "height": size.lines}
                file.write(f"{json.dumps(header)}\n")
            elif size != self.size:
                self.record("r", f"{size.columns}x{size.lines}")
            self.size = size
            self.record("o", data)
            super().write(data)

        def record(self, kind, data):
            seconds = round(time.monotonic() - self.begin, 6)
            file.write(f"{json.dumps([seconds, kind, data])}\n")
            file.flush()

    return RecordingDriver
