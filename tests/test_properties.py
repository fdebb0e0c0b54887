"""Every message gets the response that a short model of docs/protocol.md gives.

Hypothesis draws lists of messages. If a server gives a wrong response, hypothesis looks for the
shortest list that shows it. Each run draws the same 100 lists for each stage, but this command
draws 5,000 new ones:

    ./scripts/test --hypothesis-profile=thorough tests/test_properties.py
"""

import itertools
import re
import socket
from urllib.parse import unquote

import pytest
from client import shortened
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
        check_http(port, **options)
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


def http_model(tasks, line):
    """Return the status and the text of the right response to a request's first line."""
    method, _, rest = line.rstrip().partition(" /")
    target, _, version = rest.partition(" ")
    task_id, equals, value = target.partition("=")
    if version == "HTTP/1.1" and method == "GET":
        text = tasks.get(unquote(target))
        return ("404 Not Found", "no key match") if text is None else ("200 OK", text)
    if version == "HTTP/1.1" and method == "POST" and equals:
        tasks[unquote(task_id)] = unquote(value)
        return "200 OK", "submit success"
    return (
        "400 Bad Request",
        "error: say GET /task_id HTTP/1.1 or POST /task_id=value HTTP/1.1",
    )


HTTP_ID = st.sampled_from(["task_01", "", "#", "%20#", "%e4%b8%96#", "#%2F", "a=b#"])
HTTP_TASK = st.builds("{}={}".format, HTTP_ID, st.sampled_from(["", "x%20y", "1%2F2", "a=b", "%"]))
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
HTTP_RESET = ["POST /task_01=see%20someone HTTP/1.1", "POST /= HTTP/1.1"]
LINE_END = st.sampled_from(["\n", "\r\n"])
HTTP_REQUEST = st.tuples(HTTP_LINE, HTTP_HEADERS, LINE_END, st.integers(0, 2))


def http_talk(port, tasks, requests, pieces):
    """Send the requests in pieces, and compare all responses with the model's."""
    sent, expected = b"", b""
    for line, headers, end, empty_lines in requests:
        sent += (end * empty_lines + end.join([line, *headers, "", ""])).encode()
        status, text = http_model(tasks, line)
        body = f"{text}\r\n".encode()
        expected += (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        size = -(-len(sent) // pieces)
        for first in range(0, len(sent), size):
            client.sendall(sent[first : first + size])
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received == expected, f"wrong responses to {shortened(sent)}"


def check_http(port, **options):
    """Send lists of HTTP requests to the server at `port`; `options` are settings of hypothesis."""
    numbers = itertools.count(1)

    @settings(**options)
    @given(st.lists(HTTP_REQUEST, min_size=1, max_size=6), st.integers(1, 20))
    def every_response_is_right(requests, pieces):
        number = str(next(numbers))
        requests = [(line.replace("#", number), *rest) for line, *rest in requests]
        reset = [(line, [], "\n", 0) for line in HTTP_RESET]
        http_talk(port, dict(TASKS), [*reset, *requests], pieces)

    every_response_is_right()


@pytest.mark.stages(until="v0.9")
def test_every_response_is_right(stage, server):
    check(stage.number, server.port)
