"""A folder for each user in the temporary folder: the locks that several processes share."""

import contextlib
import fcntl
import functools
import os
import stat
import tempfile
from pathlib import Path

from classroom.output import Problem


@functools.cache
def folder():
    """Return the folder; raise Problem if it is not the user's own.

    In the temporary folder, which all users share, somebody else may have made it first.
    """
    path = Path(tempfile.gettempdir()) / f"simpleSocketServer-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Problem(
            f"{path} is not a folder that belongs to you only; remove it, or let TMPDIR name "
            "another temporary folder"
        )
    return path


def open_file(name):
    """Return the descriptor of a file in the folder; create the file if it is missing."""
    return os.open(folder() / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


@contextlib.contextmanager
def lock(name, wait=True):
    """Let only one process at a time run the block.

    Raises BlockingIOError if another process runs it and `wait` is false.
    """
    descriptor = open_file(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
