"""v1.0: a threaded HTTP server with a page and a form for browsers."""

import argparse
import html
import logging
import re
import signal
import socket
import sys
import threading
from urllib.parse import parse_qsl, unquote

GET = re.compile(r"GET /(?P<task_id>[^ ]*) HTTP/1\.1\s*")
POST = re.compile(r"POST / HTTP/1\.1\s*")
PAGE = """<!doctype html>
<title>ToDo</title>
{}
<form method="post"><input name="task_id"> <input name="value"> <button>POST</button></form>"""
request = threading.local()  # what this thread has read of a request


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
        lines = client.makefile("rb")
        try:
            # A line without an end: the client will send nothing more, or the line is too long.
            while (line := lines.readline(65536)).endswith(b"\n"):
                if line.isspace():
                    continue  # an empty line before a request
                request.line = line.decode(errors="replace")
                lengths = []
                # A shortcut: the server skips all other headers, which say more about the request.
                while (header := lines.readline(65536)).endswith(b"\n") and header.strip(b"\r\n"):
                    if header.lower().startswith(b"content-length:"):
                        lengths.append(header[15:].strip())
                length = lengths[0] if lengths else b"0"
                if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,4}", length):
                    break  # nobody knows where the body ends, or it is too long
                form = lines.read(int(length))
                if not header.endswith(b"\n") or len(form) < int(length):
                    break  # the client has left before the end of its request
                request.form = dict(parse_qsl(form.decode(errors="replace")))
                client.sendall(self.reply())
            logging.info("%s:%d left", *address)
        except OSError as error:  # a reset or a timeout
            logging.info("%s:%d left: %s", *address, error)
        finally:
            lines.close()
            client.close()

    def reply(self):
        if match := GET.fullmatch(request.line):
            task_id = unquote(match["task_id"])
            if not task_id:
                # sorted() copies the tasks in one step. A loop over the dict itself would fail if
                # another thread added a task meanwhile.
                tasks = [f"{key}: {value}" for key, value in sorted(self.todo_list.items())]
                rows = "\n".join(f"<p>{html.escape(task)}" for task in tasks)
                return response("200 OK", PAGE.format(rows))
            text = self.todo_list.get(task_id)
            if text is None:
                return response("404 Not Found", "no key match")
            return response("200 OK", html.escape(text))
        if POST.fullmatch(request.line) and request.form.keys() == {"task_id", "value"}:
            # No lock: storing one value is one step. To read, change and store would need one.
            self.todo_list[request.form["task_id"]] = request.form["value"]
            # The browser then asks for /, so reloading the page does not send the form again.
            return response("303 See Other\r\nLocation: /", "submit success")
        error = "error: say GET /task_id HTTP/1.1, or POST / HTTP/1.1 with a task_id and a value"
        return response("400 Bad Request", error)


def response(status, text):
    body = f"{text}\r\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


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
