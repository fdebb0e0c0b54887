"""Mistakes that students make in a first threaded echo server, and how the check names each.

docs/check.md shows them as a table; tests/test_check.py hands them all in.
"""

from typing import NamedTuple

SERVER = """\
import argparse, os, signal, socket, threading
from concurrent.futures import ThreadPoolExecutor

class Server:
    def __init__(self, port):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen()
        self.clients = []

    def serve_forever(self):
        while True:
            client, address = self.sock.accept()
            threading.Thread(target=self.handle, args=(client,)).start()

    def handle(self, client):
        try:
            while data := client.recv(1024):
                client.sendall(data)
        except ConnectionError:
            pass
        client.close()

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
server = Server(parser.parse_args().port)
server.serve_forever()
"""
ACCEPT = "            client, address = self.sock.accept()\n"
THREAD = "            threading.Thread(target=self.handle, args=(client,)).start()\n"
LOOP = "            while data := client.recv(1024):\n"
SEND = "                client.sendall(data)\n"
ERROR = "        except ConnectionError:\n            pass\n"


class Mistake(NamedTuple):
    name: str  # in Markdown
    old: str  # a part of SERVER
    new: str  # what replaces it
    first: str  # how the report begins; … stands for anything


ONE_THREAD = "Nobody has called accept() for B: the only thread of your server is busy with A."
TYPE_ERROR = "A thread of your server ended with TypeError: … "
NO_THREAD = "Your server has accepted A, but nobody reads from A: it has started no thread."
MISTAKES = [
    Mistake("no `.start()`", ".start()", "", NO_THREAD),
    Mistake("`target=self.handle(client)`", "handle, args=(client,)", "handle(client)", ONE_THREAD),
    Mistake("`.run()` instead of `.start()`", ".start()", ".run()", ONE_THREAD),
    Mistake(
        "`.join()` at once",
        THREAD,
        "            thread = threading.Thread(target=self.handle, args=(client,))\n"
        "            thread.start()\n            thread.join()\n",
        "Nobody has called accept() for B: a thread serves A, and the main thread waits for it.",
    ),
    Mistake(
        "`args=(client)`, without the comma",
        "(client,)",
        "(client)",
        TYPE_ERROR + "args must be a tuple: (client,) has a comma, (client) has none.",
    ),
    Mistake(
        "no `self` in the method",
        "def handle(self, client)",
        "def handle(client)",
        TYPE_ERROR + "Look at the method's parameters, self first, and at args.",
    ),
    Mistake(
        "no `target=` and `args=`",
        "target=self.handle, args=(client,)",
        "self.handle, (client,)",
        "Your server … It raised AssertionError: group argument must be None for now. "
        "Thread() needs the names target= and args= before its arguments.",
    ),
    Mistake("the thread's line outside the loop", THREAD, THREAD[4:], NO_THREAD),
    Mistake(
        "`accept()` outside the loop",
        f"        while True:\n{ACCEPT}{THREAD}",
        f"        while True:\n{ACCEPT}{THREAD}".replace("        while True:\n", "").replace(
            "            ", "        "
        ),
        "Nobody has called accept() for B: your server called it for A, and never again.",
    ),
    Mistake(
        "one attribute for the client of all threads",
        LOOP + SEND,
        "            self.client = client\n" + LOOP + "                self.client.sendall(data)\n",
        "The response to A went to B.",
    ),
    Mistake(
        "a global variable for the client of all threads",
        f"{ACCEPT}{THREAD}\n    def handle(self, client):\n",
        f"            global client\n{ACCEPT}"
        "            threading.Thread(target=self.handle).start()\n\n    def handle(self):\n",
        "The response to A went to B.",
    ),
    Mistake(
        "`client.close()` in the main thread",
        THREAD,
        THREAD + "            client.close()\n",
        "A thread of your server ended with OSError: [Errno 9] Bad file descriptor.",
    ),
    Mistake(
        "`self.sock.close()` in the method",
        "        client.close()\n",
        "        client.close()\n        self.sock.close()\n",
        "Your server … It raised OSError: [Errno 9] Bad file descriptor.",
    ),
    Mistake(
        "no `listen()`",
        "        self.sock.listen()\n",
        "",
        "Your server ended with OSError: [Errno 22] Invalid argument. Is listen() called before "
        "accept()?",
    ),
    Mistake(
        "`input()` instead of `recv()`",
        "client.recv(1024)",
        "input().encode()",
        "Your server waits for its keyboard, and not for A.",
    ),
    Mistake(
        "`recv()` once",
        LOOP + SEND,
        "            client.sendall(client.recv(1024))\n",
        "Your server closed A's connection after it had answered once.",
    ),
    Mistake(
        "`recv()` twice",
        LOOP + SEND,
        "            client.sendall(client.recv(1024))\n" * 2,
        "Your server closed A's connection after it had answered.",
    ),
    Mistake(
        "it waits for a line end",
        LOOP + SEND,
        '            for line in client.makefile("rb"):\n                client.sendall(line)\n',
        "Your server has sent everything up to the last line end, and waits for another one.",
    ),
    Mistake(
        "it waits for `\\r`",
        LOOP + SEND,
        '            text = b""\n' + LOOP + "                text += data\n"
        '                if b"\\r" in text:\n                    client.sendall(text)\n',
        "Your server has read A's line, and answers only when \\r comes.",
    ),
    Mistake(
        "it waits for 1,024 bytes",
        "recv(1024)",
        "recv(1024, socket.MSG_WAITALL)",
        "Your server has read A's line, and answers only when 1,024 more bytes come.",
    ),
    Mistake(
        "`write()` without `flush()`",
        LOOP + SEND,
        '            output = client.makefile("wb")\n'
        + LOOP
        + "                output.write(data)\n",
        "Your server has read A's line, and answers only when thousands of bytes come.",
    ),
    Mistake(
        "`strip()`",
        "sendall(data)",
        "sendall(data.strip())",
        "The line came back without its line end.",
    ),
    Mistake(
        "`rstrip()` and another line end",
        "sendall(data)",
        'sendall(data.rstrip() + b"\\r\\n")',
        "The line came back with \\r\\n at its end instead of \\n.",
    ),
    Mistake(
        "a string for `sendall()`",
        "sendall(data)",
        "sendall(data.decode())",
        TYPE_ERROR + "Sockets send bytes: encode() makes bytes of a string.",
    ),
    Mistake(
        "`print()` instead of `sendall()`",
        "client.sendall(data)",
        "print(data.decode())",
        "Your server has read A's line and printed it, but sent nothing.",
    ),
    Mistake(
        "`decode()` of any bytes",
        "sendall(data)",
        "sendall(data.decode().encode())",
        "A thread of your server ended with UnicodeDecodeError: … Not all bytes are text.",
    ),
    Mistake(
        'no test for `b""`',
        LOOP,
        "            while True:\n                data = client.recv(1024)\n",
        "Two clients have left, and the server is still using the processor.",
    ),
    Mistake(
        "it ends when a client resets its connection",
        ERROR,
        "        except ConnectionError:\n            os._exit(1)\n",
        "Your server ended with status 1, after a client had reset its connection.",
    ),
    Mistake(
        "it writes to a client that has gone (SIGPIPE, in C)",
        ERROR,
        "        except ConnectionError:\n            import ctypes\n"
        "            ctypes.CDLL(None).signal(signal.SIGPIPE, 0)  # as in C, it ends the program\n"
        '            client.send(b"bye")\n',
        "Your server was ended by SIGPIPE, after a client had reset its connection.",
    ),
    Mistake(
        "a pool of three threads",
        f"        while True:\n{ACCEPT}{THREAD}",
        "        pool = ThreadPoolExecutor(3)\n"
        f"        while True:\n{ACCEPT}            pool.submit(self.handle, client)\n",
        "Your server serves A, B and C, and D must wait.",
    ),
    Mistake(
        "it sends to all clients",
        LOOP + SEND,
        "            self.clients.append(client)\n"
        + LOOP
        + "                for each in self.clients:\n                    each.sendall(data)\n",
        "A got what B had typed.",
    ),
    Mistake(
        "a port of its own",
        '("127.0.0.1", port)',
        '("127.0.0.1", 0)',
        "Your server listens on port ",
    ),
    Mistake(
        "`Server` is never called",
        "server = Server(parser.parse_args().port)\nserver.serve_forever()\n",
        "Server\n",
        "Your program came to its last line. Is main() called there, with ()?",
    ),
    Mistake(
        "UDP",
        "        self.sock.listen()\n",
        "        import time\n        self.sock = socket.socket(type=socket.SOCK_DGRAM)\n"
        '        self.sock.bind(("127.0.0.1", port))\n        time.sleep(60)\n',
        "Your server uses UDP (SOCK_DGRAM); let it use TCP (SOCK_STREAM).",
    ),
    Mistake(
        "`input()` at the start",
        "server.serve_forever()",
        "input()\nserver.serve_forever()",
        "Your server waits for its keyboard, and has not called accept() for A.",
    ),
]
