"""v0.7: a threaded ToDo server that recognizes requests by regular expressions."""

import argparse
import logging
import re
import signal
import socket
import sys
import threading

GET = re.compile(r"GET/(?P<task_id>[^/]*)/[^/]*")
# DOTALL lets the value contain line ends, too.
POST = re.compile(r"POST/(?P<task_id>[^/=]*)=(?P<value>.*)/[^/]*", re.DOTALL)


class SimpleSocketServer:
    def __init__(self, host, port, timeout):
        self.timeout = timeout
        self.todo_list = {
            "task_01": "see someone",
            "task_02": "read book",
            "task_03": "play basketball",
        }
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Without this, bind() may fail for a minute after the server has ended.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, port))

    def listen(self):
        # With a short queue, some of many clients that connect at once wait for seconds.
        self.sock.listen(socket.SOMAXCONN)
        logging.info("listening on %s:%d", *self.sock.getsockname())
        while True:
            client, address = self.sock.accept()
            # Without this the server would wait forever for a client whose machine has crashed.
            # A shortcut: it also disconnects a client that is only slow to type.
            client.settimeout(self.timeout)
            threading.Thread(target=self.handle_client_request, args=(client, address)).start()

    def handle_client_request(self, client, address):
        logging.info("%s:%d accepted", *address)
        try:
            # b"" means that the client will send nothing more.
            while data := client.recv(1024):
                client.sendall(self.reply_to(data).encode() + b"\r\n")
            logging.info("%s:%d left", *address)
        except OSError as error:  # a reset or a timeout
            logging.info("%s:%d left: %s", *address, error)
        finally:
            client.close()

    def reply_to(self, data):
        # A shortcut: it takes what recv() returned for one request. It may be half of one, or two.
        try:
            request = data.decode()
            if match := GET.fullmatch(request):
                return self.todo_list.get(match["task_id"], "no key match")
            if match := POST.fullmatch(request):
                # No lock: storing one value is one step. To read, change and store would need one.
                self.todo_list[match["task_id"]] = match["value"]
                return "submit success"
            if re.match(r"(GET|POST)\b", request):
                raise ValueError("a request in another form")
            return "data no found"
        except ValueError:  # not UTF-8, or a request in another form
            return "error: say GET/task_id/status or POST/task_id=value/status, in UTF-8"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument("--port", default=9000, type=int, help="0: a free one (%(default)s)")
    parser.add_argument("--timeout", default=60, type=float, help="idle seconds (%(default)s)")
    options = parser.parse_args()
    if not 0 < options.timeout <= 86400:
        parser.error("argument --timeout: must be above 0 and at most 86400 seconds")
    logging.basicConfig(level=logging.INFO, format="%(threadName)s: %(message)s")
    # Ctrl-C ends the process at once, without a traceback, whatever its threads are doing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        server = SimpleSocketServer(options.host, options.port, options.timeout)
    except (OSError, OverflowError, TypeError) as error:
        sys.exit(f"{options.host}:{options.port}: {error}; try another --host or --port")
    logging.info(__doc__)
    try:
        server.listen()
    except (OSError, RuntimeError) as error:  # no more open files, or no more threads
        sys.exit(f"cannot accept more clients: {error}; end this server and start it again")


if __name__ == "__main__":
    main()
