"""What the kernel knows about connections and threads, and nc and the server do not show.

Linux tells all of it. On other systems an unknown value is None, and the caller has to wait a
while instead.
"""

import contextlib
import errno
import os
import platform
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

# With PSUTIL_ONLY=1 in its environment, Linux is treated like a system that tells nothing.
LINUX = sys.platform == "linux" and not os.environ.get("PSUTIL_ONLY")
TELLS_WAITS = LINUX and Path("/proc/self/schedstat").exists()  # for a core; see processor_time()
# The states of a TCP connection by their numbers in the kernel (include/net/tcp_states.h).
ESTABLISHED, TIME_WAIT, CLOSE_WAIT, LISTEN = 1, 6, 8, 10

# Connections that have ended linger in TIME_WAIT, often by the thousand.
_STATES = 0xFFFF & ~(1 << TIME_WAIT | 1 << LISTEN)
_SOCK_DIAG = 4  # the netlink protocol, and of netlink(7):
_REQUEST, _DUMP, _ERROR, _DONE = 0x1, 0x300, 2, 3
_TCP_INFO, _BYTES_RECEIVED = 2, 128  # the attribute, and the offset of the field in it


@dataclass(frozen=True)
class Connection:
    """A client's TCP connection to a server."""

    port: int  # the client's, by which the server's log calls it
    state: int  # of the client's end
    # About the server's end; None where the kernel cannot be asked, or that end is gone.
    accepted: bool | None = None
    unread: int | None = None  # bytes that arrived and that the server has not read
    received: int | None = None  # bytes that arrived in all
    on_the_way: int | None = None  # bytes, in both directions


def client_port(pid, port):
    """Return the port from which the process `pid` is connected to `port`, or None if it is not."""
    if not LINUX:
        return next((found.laddr.port for found in _connections(pid, port)), None)
    files = _files(pid)
    for end in _ends():
        if end.remote == port and f"socket:[{end.inode}]" in files:
            return end.local
    return None


def connection(pid, client_port, port):
    """Return the connection of `pid` from `client_port` to `port`, or None if it has ended."""
    if not LINUX:
        states = {psutil.CONN_ESTABLISHED: ESTABLISHED, psutil.CONN_CLOSE_WAIT: CLOSE_WAIT}
        for found in _connections(pid, port):
            if found.laddr.port == client_port:
                return Connection(client_port, states.get(found.status, 0))
        return None
    for end in _ends(client_port, port):
        for far_end in _ends(port, client_port):
            fin = far_end.state == CLOSE_WAIT  # a FIN has come, which Linux counts as a byte
            return Connection(
                client_port,
                end.state,
                far_end.inode != 0 or far_end.state not in {ESTABLISHED, CLOSE_WAIT},
                max(0, far_end.unread - fin),
                far_end.received - fin,
                end.unsent + far_end.unsent,
            )
        return Connection(client_port, end.state)
    return None


def _connections(pid, port):
    try:
        connections = psutil.Process(pid).net_connections("tcp4")
    except psutil.Error:  # it has ended meanwhile
        return []
    return [found for found in connections if found.raddr and found.raddr.port == port]


def listeners(pids):
    """Return (address, port) of each TCP socket at which one of these processes listens."""
    if not LINUX:
        found = []
        for pid in pids:
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                found += psutil.Process(pid).net_connections("tcp")
        return [tuple(each.laddr) for each in found if each.status == psutil.CONN_LISTEN]
    files = set().union(*map(_files, pids))
    return [
        (socket.inet_ntop(family, end.address[: 4 if family == socket.AF_INET else 16]), end.local)
        for family in (socket.AF_INET, socket.AF_INET6)
        for end in _ends(family=family, states=1 << LISTEN)
        if f"socket:[{end.inode}]" in files
    ]


def udp_ports(pids):
    """Return the ports of the UDP sockets of these processes."""
    ports = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            found = psutil.Process(pid).net_connections("udp")
            ports |= {each.laddr.port for each in found if each.laddr}
    return ports


class _End(NamedTuple):
    """One end of a connection, as the kernel describes it."""

    address: bytes  # its own; 4 or 16 bytes count
    local: int
    remote: int
    state: int
    inode: int  # 0 while the connection is not accepted
    unread: int
    unsent: int  # or not acknowledged yet
    received: int


def _ends(local=0, remote=0, family=socket.AF_INET, states=_STATES):
    """Return a list of that end of a connection over loopback; without ports, of all ends.

    The kernel finds one end at once, and walks through a large table for all of them. This is not
    a generator: Python would close the socket when it deletes the generator, and what is raised
    then, a KeyboardInterrupt too, is ignored.
    """
    found = []
    address = socket.inet_aton("127.0.0.1") + bytes(12)
    # A request to sock_diag(7): a netlink header, then struct inet_diag_req_v2.
    request = struct.pack("=IHHII", 72, 20, _REQUEST | (0 if local else _DUMP), 1, 0)
    request += struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 1 << (_TCP_INFO - 1), states)
    request += struct.pack(">HH16s16s4xII", local, remote, address, address, 0xFFFFFFFF, 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
        netlink.send(request)
        while True:
            messages = netlink.recv(1 << 20)
            while messages:
                length, kind = struct.unpack_from("=IH", messages)
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    (error,) = struct.unpack_from("=i", messages, 16)
                    if error == -errno.ENOENT:
                        return found
                    raise OSError(-error, "the kernel does not answer sock_diag requests")
                end = _unpack(messages[16:length])
                if 1 << end.state & states:
                    found.append(end)
                if local:
                    return found
                messages = messages[(length + 3) & ~3 :]


def _unpack(message):
    """Read struct inet_diag_msg and, from the attributes after it, struct tcp_info."""
    local, remote = struct.unpack_from(">HH", message, 4)
    unread, unsent, inode = struct.unpack_from("=II4xI", message, 56)
    received, attributes = 0, message[72:]
    while attributes:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _TCP_INFO:
            (received,) = struct.unpack_from("=Q", attributes, 4 + _BYTES_RECEIVED)
        attributes = attributes[(length + 3) & ~3 :]
    return _End(message[8:24], local, remote, message[1], inode, unread, unsent, received)


def family(pid):
    """Return the ids of a process and of all its descendants."""
    found = [pid]
    for parent in found:  # which grows meanwhile
        if not LINUX:
            with contextlib.suppress(psutil.Error):
                found += [child.pid for child in psutil.Process(parent).children()]
        for thread in _names(f"/proc/{parent}/task"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                path = Path(f"/proc/{parent}/task/{thread}/children")
                found += map(int, path.read_text().split())
    return found


def _names(folder):
    """Return the names in a folder of /proc; none if its process has ended meanwhile."""
    try:
        return os.listdir(folder)  # noqa: PTH208 (an iterator would fail later)
    except OSError:
        return []


def _files(pid):
    """Return the targets of a process's open files, as /proc names them."""
    found = set()
    for name in _names(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def processor_time(pid):
    """Return the seconds for which `pid` and its descendants have used a core until now.

    Where the kernel tells it, the time counts for which they waited for a core, too: then a busy
    computer hides no busy loop. Elsewhere it comes in hundredths of a second.
    """
    seconds = 0
    for member in family(pid):
        if not TELLS_WAITS:
            with contextlib.suppress(psutil.Error):  # it has just ended
                seconds += sum(psutil.Process(member).cpu_times()[:2])
            continue
        for thread in _names(f"/proc/{member}/task"):
            with contextlib.suppress(OSError):
                ran, waited, _ = Path(f"/proc/{member}/task/{thread}/schedstat").read_text().split()
                seconds += (int(ran) + int(waited)) / 1e9
    return seconds


def reads_keyboard(pid):
    """Say whether a thread of `pid` waits for standard input, as far as we may know."""
    number = {"x86_64": "0", "aarch64": "63"}.get(platform.machine())  # of the system call read
    for thread in _names(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):  # it ended, or we may not look
            call = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()
            if call[:2] == [number, "0x0"]:
                return True
    return False


def at_rest(pid, look=lambda: True, but=()):
    """Return what `look()` sees if all threads of `pid` slept and none ran meanwhile. Linux only.

    The threads of its descendants count as well; those whose ids are in `but` do not.
    A program at rest does nothing more by itself until bytes come, or a time that it has set.
    """
    before = _sleeping_threads(pid, but)
    seen = look()
    return before is not None and _sleeping_threads(pid, but) == before and seen


def _sleeping_threads(pid, but):
    """Return how often each thread of `pid` was switched, or None if one is not asleep."""
    switches = {}
    tasks = [
        (member, thread) for member in family(pid) for thread in _names(f"/proc/{member}/task")
    ]
    for member, thread in tasks:
        if int(thread) in but:
            continue
        try:
            status = Path(f"/proc/{member}/task/{thread}/status").read_text()
        except OSError:  # the thread ended meanwhile
            return None
        if "\nState:\tZ" in status:  # a child that has ended; its parent has not called wait()
            continue
        if "\nState:\tS" not in status:
            return None
        switches[thread] = status.partition("\nvoluntary_ctxt_switches")[2]
    return switches
