#!/usr/bin/env python3
"""nc.py HOST PORT: a small nc for a machine that has none.

What is typed goes to the server, and what the server sends is shown. It ends when the server
closes the connection, or with Ctrl-C; at the end of its input it says so to the server and
goes on showing.
"""

import os
import selectors
import signal
import socket
import sys


def talk(server):
    """Copy bytes both ways until the server closes."""
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    try:
        selector.register(sys.stdin, selectors.EVENT_READ)
    except PermissionError:  # epoll takes no plain file, and a file never keeps us waiting
        server.sendall(sys.stdin.buffer.read())
        server.shutdown(socket.SHUT_WR)
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                if not (shown := server.recv(65536)):
                    return
                sys.stdout.buffer.write(shown)
                sys.stdout.buffer.flush()
            elif typed := os.read(sys.stdin.fileno(), 65536):
                server.sendall(typed)
            else:
                selector.unregister(sys.stdin)
                server.shutdown(socket.SHUT_WR)


def main():
    arguments = sys.argv[1:]
    if arguments in (["-h"], ["--help"]):
        print(__doc__.strip())
        return
    if len(arguments) != 2 or not arguments[1].isdigit():
        sys.exit("usage: nc.py HOST PORT")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with socket.create_connection((arguments[0], int(arguments[1]))) as server:
            talk(server)
    except (OSError, OverflowError) as error:
        sys.exit(f"nc.py: {arguments[0]}:{arguments[1]}: {error}")


if __name__ == "__main__":
    main()
