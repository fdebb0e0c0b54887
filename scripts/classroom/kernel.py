"""What the kernel knows of connections and threads, which nc and the server do not tell.

Linux tells it all. Elsewhere what cannot be known is None, and who asks must wait a while instead.
"""

import os
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

LINUX = sys.platform == "linux"
# The states of a TCP connection by their numbers in the kernel (include/net/tcp_states.h).
ESTABLISHED, TIME_WAIT, CLOSE_WAIT, LISTEN = 1, 6, 8, 10

# Connections that have ended linger in TIME_WAIT, often by the thousand.
_STATES = 0xFFFF & ~(1 << TIME_WAIT | 1 << LISTEN)
# A request to sock_diag(7) for all TCP sockets over IPv4 with their tcp_info: a netlink header,
# then struct inet_diag_req_v2 with an empty address to match.
_DUMP = struct.pack("=IHHII", 72, 20, 0x301, 1, 0) + struct.pack(
    "=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 1 << (2 - 1), _STATES
)
_ERROR, _DONE = 2, 3  # kinds of netlink messages
_TCP_INFO, _BYTES_RECEIVED = 2, 128  # the attribute, and where in it the field stands


@dataclass(frozen=True)
class Connection:
    """A client's TCP connection to a server."""

    port: int  # the client's, by which the server's log calls it
    state: int  # of the client's end
    # What the server's end holds; None where the kernel cannot be asked, or that end is gone.
    accepted: bool | None = None
    unread: int | None = None  # bytes that arrived and that the server has not read
    received: int | None = None  # bytes that arrived in all


def connection(pid, port):
    """Return how the process `pid` is connected to the server on `port`, or None if it is not."""
    if not LINUX:
        states = {psutil.CONN_ESTABLISHED: ESTABLISHED, psutil.CONN_CLOSE_WAIT: CLOSE_WAIT}
        for found in psutil.Process(pid).net_connections("tcp4"):
            if found.raddr and found.raddr.port == port:
                return Connection(found.laddr.port, states.get(found.status, 0))
        return None
    files = {_link(path) for path in Path(f"/proc/{pid}/fd").glob("*")}
    ends = {(end.local, end.remote): end for end in _ends(port)}
    for (local, remote), end in ends.items():
        if remote == port and f"socket:[{end.inode}]" in files:
            if far_end := ends.get((port, local)):
                return Connection(
                    local, end.state, far_end.inode != 0, far_end.unread, far_end.received
                )
            return Connection(local, end.state)
    return None


class _End(NamedTuple):
    """One end of a connection, as the kernel tells it."""

    local: int
    remote: int
    state: int
    inode: int  # 0 while the connection is not accepted
    unread: int
    received: int


def _ends(port):
    """Yield both ends of every IPv4 connection to `port`."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as netlink:  # 4: SOCK_DIAG
        netlink.send(_DUMP)
        while True:
            messages = netlink.recv(1 << 20)
            while messages:
                length, kind = struct.unpack_from("=IH", messages)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError("the kernel does not answer sock_diag requests")
                local, remote = struct.unpack_from(">HH", messages, 20)
                if remote and port in (local, remote):
                    yield _unpack(messages[16:length], local, remote)
                messages = messages[(length + 3) & ~3 :]


def _unpack(message, local, remote):
    """Read struct inet_diag_msg and, of the attributes behind it, struct tcp_info."""
    unread, inode = struct.unpack_from("=I8xI", message, 56)
    received, attributes = 0, message[72:]
    while attributes:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _TCP_INFO:
            (received,) = struct.unpack_from("=Q", attributes, 4 + _BYTES_RECEIVED)
        attributes = attributes[(length + 3) & ~3 :]
    return _End(local, remote, message[1], inode, unread, received)


def _link(path):
    try:
        return os.readlink(path)
    except OSError:  # the file was closed meanwhile
        return None


def at_rest(pid, look=lambda: True):
    """Return what `look()` sees if all threads of `pid` slept and none ran meanwhile. Linux only.

    A program at rest does nothing more by itself until bytes come, or a time that it has set.
    """
    before = _sleeping_threads(pid)
    seen = look()
    return before is not None and _sleeping_threads(pid) == before and seen


def _sleeping_threads(pid):
    """Return how often each thread of `pid` was switched, or None if one is not asleep."""
    switches = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            status = (task / "status").read_text()
        except OSError:  # the thread ended meanwhile
            return None
        if "\nState:\tS" not in status:
            return None
        switches[task.name] = status.partition("\nvoluntary_ctxt_switches")[2]
    return switches
