"""Every message gets the response that a short model of docs/protocol.md gives.

Hypothesis draws lists of messages. If a server gives a wrong response, hypothesis looks for the
shortest list that shows it. Each run draws the same 100 lists for each stage, but this command
draws 5,000 new ones:

    ./scripts/test --hypothesis-profile=thorough tests/test_properties.py
"""

import contextlib
import html
import itertools
import re
import socket
import sys
from typing import NamedTuple
from urllib.parse import unquote

import psutil
import pytest
from classroom.terminal import Server, wait_until
from client import Client, shortened
from hypothesis import given, settings
from hypothesis import strategies as st

TASKS = {"task_01": "see someone", "task_02": "read book", "task_03": "play basketball"}
ERROR = b"error: ...\r\n"  # "..." is any text, because the protocol leaves it free


def model(stage_number, tasks, message):
    """Return a stage's right response to a message. A POST also changes `tasks`."""
    if stage_number <= (0, 3):
        return message
    if stage_number == (0, 4):
        return str(tasks).encode()
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return ERROR
    found = (
        by_form(tasks, text) if stage_number >= (0, 7) else by_letters(stage_number, tasks, text)
    )
    return ERROR if found is None else found.encode() + b"\r\n"


def by_letters(stage_number, tasks, text):
    """Return the response of v0.5 and v0.6, without its line end; None is an error."""
    if "GET" in text:
        match = re.fullmatch("[^/]*/([^/]*)/[^/]*", text)
        return tasks.get(match[1], "no key match") if match else None
    if "POST" in text and stage_number >= (0, 6):
        if not (match := re.fullmatch("[^/]*/([^/=]*)=([^/=]*)/[^/]*", text)):
            return None
        tasks[match[1]] = match[2]
        return "submit success"
    return "data no found"


def by_form(tasks, text):
    """Return the response of v0.7, without its line end; None is an error."""
    method, _, rest = text.partition("/")
    task_id, equals, tail = rest.partition("=")
    value, slash, _ = tail.rpartition("/")
    if method == "GET" and rest.count("/") == 1:
        return tasks.get(rest.partition("/")[0], "no key match")
    if method == "POST" and equals and slash and "/" not in task_id:
        tasks[task_id] = value
        return "submit success"
    return None if re.match(r"(GET|POST)(?!\w)", text) else "data no found"


# The messages. A client cannot delete a task, so each list of messages has its own task ids: the
# number of the list replaces "#". TEXT has no "/" and no "=", so a POST stores an ID and no other.

WORD = st.sampled_from(["status", "GET", "POST", "get", "Post", "FORGET", ""])
ID = st.sampled_from(["task_01", "", "#", " #", "#\t", "A# ", "é#\n", "\0#"])
TEXT = st.lists(st.sampled_from("aZ \t\r\n\0é世😀"), max_size=5).map("".join)
TASK = st.builds("{}={}".format, ID, TEXT | st.sampled_from(["read book", "世界", "and/or", "a=b"]))
GET = st.builds("GET/{}/{}".format, ID, WORD)
POST = st.builds("POST/{}/{}".format, TASK, WORD)
OTHER = st.lists(WORD | ID | TASK | TEXT, max_size=4).map("/".join)
# st.binary(), st.text() and numbers above 99 also give constants from the loaded modules of this
# project. A run of this file loads fewer modules than a run of all tests, and must draw the same.
DIGIT = st.integers(0, 15)
BYTES = st.lists(st.builds(lambda high, low: 16 * high + low, DIGIT, DIGIT)).map(bytes)
END = st.sampled_from(  # check() cuts the long message after 1,024 bytes
    [b"", b"\n", b"\r\n"] * 4 + [b"x" * 1024, b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"]
)
MESSAGE = st.one_of(  # GET is first and takes few choices, so it is easy to remove from a list
    st.tuples(GET.map(str.encode), END).map(b"".join),
    st.tuples(POST.map(str.encode), END).map(b"".join),
    st.tuples(OTHER.map(str.encode) | BYTES, END).map(b"".join),
)
MESSAGES = st.lists(MESSAGE.filter(len), min_size=1, max_size=10)
RESET = [b"POST/task_01=see someone/", b"POST/=/"]  # for the two ids without "#"


def talk(stage_number, port, tasks, messages):
    """Send the messages over one connection, and compare each response with the model's."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for message in messages:
            expected = model(stage_number, tasks, message)
            client.sendall(message)
            received = b""
            # Stop at the first wrong byte: no more bytes may come, and recv() would wait for them.
            while received != expected and expected.startswith(received):
                more = client.recv(4096)
                assert more, f"the server closed the connection after {shortened(message)}"
                received += more
                if expected == ERROR:
                    received = re.sub(rb"^error: [^\r\n]+", b"error: ...", received)
            assert received == expected, f"wrong response to {shortened(message)}"
        client.shutdown(socket.SHUT_WR)
        # v0.1 does not read again, so it does not notice this, and leaves the connection open.
        assert stage_number == (0, 1) or client.recv(4096) == b"", "more than one response"


def check(stage_number, port, **options):
    """Send lists of messages to the server at `port`; `options` are settings of hypothesis."""
    if stage_number >= (0, 8):
        check_http(stage_number, port, **options)
        return
    numbers = itertools.count(1)

    @settings(**options)
    @given(MESSAGES)
    def every_response_is_right(messages):
        number = b"%d" % next(numbers)
        messages = [message.replace(b"#", number)[:1024] for message in messages]
        tasks = dict(TASKS)
        if stage_number == (0, 1):  # which responds to the first message of a client only
            for message in messages:
                talk(stage_number, port, tasks, [message])
        else:
            talk(stage_number, port, tasks, [*RESET, *messages])
            # A second client must see the same tasks.
            talk(stage_number, port, tasks, [f"GET/{task_id}/".encode() for task_id in tasks])

    every_response_is_right()


# HTTP, from v0.8 on.


class Request(NamedTuple):
    line: str
    headers: list[str]
    body: str | None = None  # None: without Content-Length
    line_end: str = "\n"
    empty_lines: int = 0  # before it

    def encode(self):
        headers = list(self.headers)
        if self.body is not None:
            headers.append(f"content-LENGTH: {len(self.body.encode())}")
        lines = [self.line, *headers, "", ""]
        return (
            self.line_end * self.empty_lines + self.line_end.join(lines) + (self.body or "")
        ).encode()


def http_model(stage_number, tasks, request):
    """Return the status and the text of the right response to a request."""
    method, _, rest = request.line.rstrip().partition(" /")
    target, _, version = rest.partition(" ")
    for_browsers = stage_number >= (1, 0)
    if version == "HTTP/1.1" and method == "GET":
        task_id = unquote(target)
        if for_browsers and not task_id:
            return "200 OK", page(tasks)
        if task_id not in tasks:
            return "404 Not Found", "no key match"
        return "200 OK", html.escape(tasks[task_id]) if for_browsers else tasks[task_id]
    if version == "HTTP/1.1" and method == "POST":
        if for_browsers and not target:
            form = fields(request.body or "")
            if set(form) == {"task_id", "value"}:
                tasks[form["task_id"]] = form["value"]
                return "303 See Other\r\nLocation: /", "submit success"
        task_id, equals, value = target.partition("=")
        if not for_browsers and equals:
            tasks[unquote(task_id)] = unquote(value)
            return "200 OK", "submit success"
    syntax = "HTTP/1.1, or POST / HTTP/1.1 with a task_id and a value"
    if not for_browsers:
        syntax = "HTTP/1.1 or POST /task_id=value HTTP/1.1"
    return "400 Bad Request", f"error: say GET /task_id {syntax}"


def fields(form):
    """Return the fields of a form that are not empty; of those with one name, the last one."""
    pairs = [each.replace("+", " ").partition("=") for each in form.split("&")]
    return {unquote(name): unquote(value) for name, _, value in pairs if value}


def page(tasks):
    rows = [f"<p>{html.escape(f'{task_id}: {tasks[task_id]}')}" for task_id in sorted(tasks)]
    names = ('<input name="task_id">', '<input name="value">', "<button>POST</button>")
    form = f'<form method="post">{" ".join(names)}</form>'
    return "\n".join(["<!doctype html>", "<title>ToDo</title>", *rows, form])


# The page shows all tasks, so there are few ids. The first requests of each list store all of them.
IDS = ["task_01", "task_02", "task_03", "%20x", "%e4%b8%96", "x%2F", "a%3Db"]
HTTP_ID = st.sampled_from(["", *IDS])
VALUE = st.sampled_from(["", "x%20y", "1%2F2", "a=b", "%", "%3Cb%3E%26%22%27"])
HTTP_TASK = st.builds("{}={}".format, HTTP_ID, VALUE)
FIELD = st.one_of(
    st.builds("task_id={}".format, HTTP_ID),
    st.builds("value={}".format, VALUE | st.just("a+b")),
    st.sampled_from(["value", "task_id", "", "x=y", "v%61lue=x", "\n"]),
)
TASK_FORM = st.builds("task_id={}&value={}".format, HTTP_ID, VALUE)
FORM = TASK_FORM | st.lists(FIELD, max_size=4).map("&".join)
HTTP_LINE = st.one_of(
    st.builds("GET /{} HTTP/1.1".format, HTTP_ID),
    st.builds("POST /{} HTTP/1.1".format, HTTP_TASK | HTTP_ID),
    st.lists(
        st.sampled_from(["GET", "POST", "/", "/x", "=", "HTTP/1.1", "HTTP/1.0", "\xff", "\t"]),
        min_size=1,
        max_size=4,
    )
    .map(" ".join)
    .filter(str.strip),
)
HTTP_HEADERS = st.lists(st.sampled_from(["Host: localhost", "x", "GET /x HTTP/1.1"]), max_size=2)
LINE_END, EMPTY_LINES = st.sampled_from(["\n", "\r\n"]), st.integers(0, 2)


def http_request(line, body):
    return st.builds(Request, line, HTTP_HEADERS, body, LINE_END, EMPTY_LINES)


HTTP_REQUEST = http_request(HTTP_LINE, st.none())
BROWSER_REQUEST = st.one_of(
    http_request(st.just("POST / HTTP/1.1"), TASK_FORM),
    http_request(st.just("POST / HTTP/1.1"), FORM),
    http_request(HTTP_LINE, st.none() | FORM),
)


def http_talk(stage_number, port, requests, pieces):
    """Send the requests in pieces, and compare all responses with the model's."""
    tasks = dict(TASKS)
    kind = "html" if stage_number >= (1, 0) else "plain"
    sent, expected = b"", b""
    for request in requests:
        sent += request.encode()
        status, text = http_model(stage_number, tasks, request)
        body = f"{text}\r\n".encode()
        expected += (
            f"HTTP/1.1 {status}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        size = -(-len(sent) // pieces)
        for first in range(0, len(sent), size):
            client.sendall(sent[first : first + size])
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received == expected, f"wrong responses to {shortened(sent)}"


def check_http(stage_number, port, **options):
    """Send lists of HTTP requests to the server at `port`; `options` are settings of hypothesis."""
    if stage_number >= (1, 0):
        request, ids = BROWSER_REQUEST, IDS
        reset = [Request("POST / HTTP/1.1", [], f"task_id={each}&value=first") for each in ids]
    else:
        request, ids = HTTP_REQUEST, ["", *IDS]
        reset = [Request(f"POST /{each}=first HTTP/1.1", []) for each in ids]

    look = [Request(f"GET /{each} HTTP/1.1", []) for each in ids]

    @settings(**options)
    @given(st.lists(request, min_size=1, max_size=6), st.integers(1, 20))
    def every_response_is_right(requests, pieces):
        http_talk(stage_number, port, [*reset, *requests, *look], pieces)

    every_response_is_right()


def test_every_response_is_right(stage, server):
    check(stage.number, server.port)


# Whatever a client sends.


PART = st.sampled_from(
    [
        *(b"GET/task_01/status\n", b"POST/task_01=x/", b"GET /task_01 HTTP/1.1\r\n"),
        *(b"GET / HTTP/1.1\n", b"POST / HTTP/1.1\r\n", b"POST /a=b HTTP/1.1\r\n", b"Host: x\r\n"),
        *(b"Content-Length: 5\r\n", b"content-length:9999\n", b"Content-Length: -1\r\n"),
        *(b"Content-Length: \xb2\r\n", b"Transfer-Encoding: chunked\r\n", b"task_id=a&value=b"),
        *(b"\r\n", b"\n", b"\r", b" ", b"\t\r\n", b"\x0b\x0c\n", b"\x85\n", b"\xe2\x80\xa8\n"),
        *(b"%00%ff%zz", b"\xff\xfe\0", b"{}{0}%s", b"LONG"),
    ]
)


@pytest.mark.stages(since="v0.2")  # v0.1 leaves sockets to Python, as its lesson says
def test_whatever_a_client_sends(stage):
    """It raises nothing and leaves no thread behind, and the next client gets its response."""
    words = [sys.executable, "-X", "dev", "-W", "error", str(stage.server), "--port", "0"]
    with contextlib.closing(Server(words)) as server:

        @given(st.lists(PART | BYTES, max_size=8), st.sampled_from(["reset", "close", "shutdown"]))
        def every_client_is_served(parts, way_to_leave):
            with contextlib.closing(Client(server)) as client:
                for part in parts:
                    client.send(part.replace(b"LONG", b"x" * 70_000))
                if way_to_leave == "reset":
                    client.reset()
                if way_to_leave == "shutdown":
                    try:
                        client.socket.shutdown(socket.SHUT_WR)
                        while client.socket.recv(65536):
                            pass
                    except TimeoutError:
                        raise
                    except OSError:
                        pass  # the server has already closed the connection

        every_client_is_served()
        check(stage.number, server.port, max_examples=1)
        process = psutil.Process(server.child.pid)
        assert wait_until(lambda: process.num_threads() == 1)
        assert "Traceback" not in server.log()
        assert "Warning" not in server.log()
