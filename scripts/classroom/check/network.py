"""Gives a process, and all that it starts, a network in which there is only loopback. Linux only.

Then a server can use any port, whatever other servers do, and it can reach nobody.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # <linux/sched.h>
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # <linux/sockios.h>, <linux/if.h>


def isolate():
    """Give this process a network of its own. Return False if the system does not allow it.

    The process may have only one thread.
    """
    user, group = os.getuid(), os.getgid()
    try:
        unshare = ctypes.CDLL(None).unshare
        if unshare(CLONE_NEWNET):  # only root may do that; others are root in a space of their own
            if unshare(CLONE_NEWUSER | CLONE_NEWNET):
                return False
            with contextlib.suppress(OSError):  # an old kernel does not have it
                Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            request = struct.pack("16sh22x", b"lo", 0)
            _, flags = struct.unpack("16sh22x", fcntl.ioctl(control, SIOCGIFFLAGS, request))
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
    except (AttributeError, OSError):
        return False
    return True


def can_isolate():
    """Say whether this system lets a process have a network of its own; it tries that."""
    child = os.fork()
    if child == 0:
        os._exit(not isolate())
    _, status = os.waitpid(child, 0)
    return status == 0
