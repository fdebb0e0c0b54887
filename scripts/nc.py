#!/usr/bin/env python3
"""nc.py [-C] HOST PORT: a small nc for a computer that has none. It works on Windows, too.

It sends what you type to the server and shows what the server sends. It ends when the server
closes the connection, or when you press Ctrl-C. When your input ends, it tells the server so
and goes on showing. With -C, it sends CRLF at the end of each line, as HTTP demands.
"""

import contextlib
import os
import signal
import socket
import sys
import threading


def send_input(server, line_end, errors, not_sending):
    """Send what you type to the server. When your input ends, tell the server so."""
    try:
        while typed := os.read(0, 65536):
            not_sending.clear()
            server.sendall(typed.replace(b"\n", line_end))
            not_sending.set()
    except BrokenPipeError:
        pass  # The server has closed the connection. The main thread notices that by itself.
    except OSError as error:
        errors.append(error)
    not_sending.set()
    with contextlib.suppress(OSError):  # The connection may be gone.
        server.shutdown(socket.SHUT_WR)


def talk(server, line_end):
    """Copy bytes both ways until the server closes the connection."""
    # os.read() blocks until you type, and recv() until the server sends. A thread can wait in only
    # one of them, so there are two: this one waits for the server, and another one waits for you.
    errors, not_sending = [], threading.Event()
    not_sending.set()
    arguments = (server, line_end, errors, not_sending)
    # daemon: the process may end while that thread still waits for you.
    threading.Thread(target=send_input, args=arguments, daemon=True).start()
    while shown := server.recv(16384):  # A Windows console takes up to 32,767 bytes at once.
        os.write(1, shown)
    # After a reset, only one of the two calls fails. If it was sendall(), the error is in errors.
    not_sending.wait(timeout=1)
    if errors:
        raise errors[0]


def main():
    arguments = sys.argv[1:]
    if arguments in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    line_end = b"\n"
    if arguments[:1] == ["-C"]:
        del arguments[0]
        line_end = b"\r\n"
    if len(arguments) != 2 or not arguments[1].isdecimal():
        sys.exit("usage: nc.py [-C] HOST PORT")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream is None:  # It is closed, and the socket would get its number: 0, 1 or 2.
            os.open(os.devnull, os.O_RDONLY)
    try:
        with socket.create_connection((arguments[0], int(arguments[1]))) as server:
            talk(server, line_end)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"nc.py: {arguments[0]}:{arguments[1]}: {error}")


if __name__ == "__main__":
    main()
