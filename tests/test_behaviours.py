"""What the servers do, each behaviour said once, with the stages that show it.

Each runs on every stage, and must fail on those that do not show it; see conftest.py.
"""

import contextlib
import html
import re
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import psutil
import pytest
from classroom import kernel
from classroom.check import candidate
from classroom.check.candidate import SWITCHING
from classroom.play import FORM, Mismatch
from classroom.terminal import PATIENCE, Server, wait_until
from client import shortened


def behaviour(text, **kwargs):
    """Mark a test as a behaviour of the stages from `since` to `until`.

    `flaw=True` marks a flaw that a lesson explains: a server without it is no worse. `ours=True`
    marks what is only about our own programs: options, log and exit status. Servers of others need
    neither of them. `theirs=True` marks what only they are asked. All but our own behaviours and
    flaws have a `hint` for the server's author. `by_hand` are lines to type for what no nc can do.
    """
    return pytest.mark.behaviour(text, **kwargs)


# So many clients talk at once, so many times. A right server may have a pool of 32 threads.
MANY, ROUNDS = 24, 5
# What resets its connection to port 9000. An nc that ends does not.
RESET = (
    "a client: python3 -c \"import socket, struct; client = socket.create_connection(('127.0.0.1', "
    "9000)); client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); "
    'client.close()"'
)
LINES = 400  # that a client of an echo server sends without waiting; they fit into the kernel
MOST_THREADS = 100  # of a server with one client; Java starts 30
WHOLE_LIST = b"{'task_01': 'see someone', 'task_02': 'read book', 'task_03': 'play basketball'}"


# Echo.


@behaviour(
    "the first message is echoed",
    until="v0.3",
    hint="Send what recv() returns back with sendall(), unchanged and once.",
)
def test_first_message(play):
    play("""
        A> hello
        A< hello
    """)


@behaviour(
    "a line comes back with its line end, unchanged",
    until="v0.3",
    hint="Send back exactly what recv() returned. strip() removes the line end, and print() or a "
    "function for lines may add another one.",
)
def test_line_end(connect):
    client = connect()
    client.send(b"hello\n")
    client.expect(b"hello\n")


@behaviour(
    "a second message stays unread in the kernel",
    until="v0.1",
    hint="After its answer, v0.1 calls accept() again and leaves the connection open. Look at "
    "what comes after sendall().",
)
def test_second_message_waits(play):
    play("""
        A> hello
        A< hello
        A> are you there?
        A waits
        A leaves
    """)


@behaviour(
    "the connection of an answered client is closed when the next one connects",
    until="v0.1",
    flaw=True,
)
def test_answered_client_is_closed(connect):
    first, second = connect(), connect()
    for client in (first, second):
        client.send(b"hello\n")
        client.expect(b"hello\n")
    first.expect(b"")


@behaviour(
    "every message is echoed",
    since="v0.2",
    until="v0.3",
    hint="The server must call recv() again after it has answered. Look at the loop around "
    "recv(), and at what ends it.",
)
def test_every_message(play):
    play("""
        A> one
        A< one
        A> two
        A< two
        A> three
        A< three
    """)


@behaviour(
    "an empty line is echoed",
    until="v0.3",
    hint='A line end alone is a message of one byte. Only b"" from recv() means that the '
    "client has disconnected.",
)
def test_empty_line(play):
    play("""
        A>
        A<
    """)


@behaviour(
    "text in any script is echoed",
    until="v0.3",
    hint="Send back the bytes that you received; you do not need to know what they mean.",
)
def test_any_script(play):
    play("""
        A> grüß dich, 世界
        A< grüß dich, 世界
    """)


@behaviour(
    "bytes that are not valid UTF-8 are echoed unchanged",
    until="v0.3",
    hint="Send back the bytes that you received. An echo needs no decode(), and a zero byte "
    "does not end a message.",
)
def test_echo_of_bytes(connect):
    client = connect()
    client.send(b"\xff\x00\xfe\n")
    client.expect(b"\xff\x00\xfe\n")


@behaviour(
    "1,024 bytes are echoed",
    until="v0.3",
    hint="recv(1024) may return 1,024 bytes. Look at how much you read, and whether you send "
    "all of it.",
)
def test_1024_bytes(connect):
    client = connect()
    client.send(b"x" * 1023 + b"\n")
    client.expect(b"x" * 1023 + b"\n")


@behaviour("of a longer message the first 1,024 bytes are echoed", until="v0.1", flaw=True)
def test_cut_message(connect):
    client = connect()
    client.send(b"x" * 1025)
    client.expect(b"x" * 1024)
    if client.wait():
        raise Mismatch("the rest came, too")


@behaviour(
    "a message longer than one recv() is echoed whole",
    since="v0.2",
    until="v0.3",
    hint="Long messages arrive in pieces, and each recv() returns one. Send each piece back at "
    "once, without waiting for a line end. Use sendall(), because send() may send only a "
    "part.",
)
def test_long_message(connect):
    client = connect()
    message = bytes(range(256)) * 200
    client.send(message)
    client.expect(message)
    client.send(b"and more\n")  # a server that has sent too much is found now, if not before
    client.expect(b"and more\n")


# The ToDo list.


@behaviour(
    "anything is answered with the whole list and no line end",
    since="v0.4",
    until="v0.4",
    hint="Whatever the message is, answer with str() of the dict, as bytes, and nothing else.",
)
def test_whole_list(connect):
    client = connect()
    for message in (b"x" * 1024, b"hello\n", b"\n", b"\xff\n", b"GET/task_01/status\n"):
        client.send(message)
        client.expect(WHOLE_LIST)


@behaviour(
    "GET gives a task's text",
    since="v0.5",
    until="v0.7",
    hint="GET/task_01/status has three parts, separated by /. The middle one is the key.",
)
def test_get(play):
    play("""
        A> GET/task_01/status
        A< see someone
        A> GET/task_03/status
        A< play basketball
    """)


@behaviour(
    "an answer ends in CRLF",
    since="v0.5",
    until="v0.7",
    hint="Each answer ends with the bytes 13 and 10: \\r\\n in most languages.",
)
def test_crlf(connect):
    client = connect()
    client.send(b"GET/task_01/status\n")
    client.expect(b"see someone\r\n")
    client.send(b"hello\r\n")
    client.expect(b"data no found\r\n")


@behaviour(
    "a request may be 1,024 bytes long",
    since="v0.5",
    until="v0.7",
    hint="Read at least 1,024 bytes at a time, or you cut a long request. The third part may "
    "be anything: ignore it.",
)
def test_long_request(connect, server):
    client = connect()
    client.send(b"GET/task_01/".ljust(1023, b"x") + b"\n")
    client.expect(b"see someone\r\n")
    if not server.may_sleep and client.wait():  # of others it takes too long to know
        raise Mismatch("what was cut off is answered as well")


@behaviour(
    "GET of an unknown task gets no key match",
    since="v0.5",
    until="v0.7",
    hint="For a key that is not in the dict, answer: no key match. dict.get() takes a default "
    "as its second argument. Do not change the key: spaces and capitals count.",
)
def test_get_unknown(play):
    play("""
        A> GET/task_99/status
        A< no key match
        A> GET//status
        A< no key match
        A> GET/ task_01/status
        A< no key match
        A> GET/TASK_01/status
        A< no key match
    """)


@behaviour(
    "a message that is not a request gets data no found",
    since="v0.5",
    until="v0.7",
    hint="A message without GET in capitals (from v0.6 on, without POST too) gets: data no found.",
)
def test_no_request(play):
    play("""
        A> hello
        A< data no found
        A>
        A< data no found
        A> get/task_01/status
        A< data no found
    """)


@behaviour(
    "a malformed GET gets one error line, and the connection stays open",
    since="v0.5",
    until="v0.7",
    hint="A request may have too few parts, or too many. Answer with a line that begins with "
    "'error: ', and call recv() again.",
)
def test_malformed_get(connect):
    client = connect()
    for message in (b"GET\n", b"GET/task_01\n", b"GET/task_01/status/x\n"):
        client.send(message)
        client.expect_error()
        client.send(b"GET/task_01/status\n")
        client.expect(b"see someone\r\n")


@behaviour(
    "bytes that are not valid UTF-8 get one error line, and the connection stays open",
    since="v0.5",
    until="v0.7",
    hint="decode() raises UnicodeDecodeError. Catch it, answer with a line that begins with "
    "'error: ', and call recv() again.",
)
def test_not_utf8(connect):
    client = connect()
    for message in (b"GET/\xff\xfe/status\n", b"\xff\n"):
        client.send(message)
        client.expect_error()
    client.send(b"GET/task_01/status\n")
    client.expect(b"see someone\r\n")


@behaviour(
    "POST stores a task, new or old, for every client",
    since="v0.6",
    until="v0.7",
    hint="POST/task_id=value/status stores the value unchanged, where every client's GET finds "
    "it. Look at whether all clients share one dict, and at the key under which you store "
    "the value.",
)
def test_post(play):
    play("""
        A connects
        B> POST/task_04=learn sockets/status
        B< submit success
        A> GET/task_04/status
        A< learn sockets
        A> POST/task_01=世界/status
        A< submit success
        A leaves
        B> GET/task_01/status
        B< 世界
        C> GET/task_04/status
        C< learn sockets
        C> GET/task_02/status
        C< read book
        C> POST/= a value without a key/and any third part
        C< submit success
        A> GET//status
        A<  a value without a key
        A> POST/task_02=/status
        A< submit success
        C> GET/task_02/status
        C<
    """)


@behaviour(
    "a malformed POST gets one error line and stores nothing",
    since="v0.6",
    until="v0.7",
    hint="Split the request first, and store the value only if all parts are there. Otherwise "
    "answer with a line that begins with 'error: ', and call recv() again.",
)
def test_malformed_post(connect):
    client = connect()
    for message in (b"POST\n", b"POST/task_01=x\n", b"POST/task_01/status\n"):
        client.send(message)
        client.expect_error()
        client.send(b"GET/task_01/status\n")
        client.expect(b"see someone\r\n")


@behaviour(
    "a request is recognized by its whole form",
    since="v0.7",
    until="v0.7",
    hint="Compare the whole message with the form of a request, in Python with re.fullmatch(). "
    "FORGET/task_01/status only contains the letters GET.",
)
def test_whole_form(play):
    play("""
        A> FORGET/task_01/status
        A< data no found
        A> please GET/task_01/status
        A< data no found
        A> GETTING/task_01/status
        A< data no found
        A> POST/task_05=on TARGET/status
        A< submit success
        A> GET/task_05/status
        A< on TARGET
    """)


@behaviour(
    "a value may contain / and =",
    since="v0.7",
    until="v0.7",
    hint="The id ends at the first =, and the value ends at the last /.",
)
def test_value_with_separators(play):
    play("""
        A> POST/task_05=eat 1/2 cake, a=a/status
        A< submit success
        A> GET/task_05/status
        A< eat 1/2 cake, a=a
        A> POST/a/b=c/status
        A< error: say GET/task_id/status or POST/task_id=value/status, in UTF-8
    """)


# HTTP.


@behaviour(
    "GET gets 200 and a task's text, or 404",
    since="v0.8",
    hint="GET /task_01 HTTP/1.1 and an empty line ask for task_01. A response is a line like "
    "HTTP/1.1 200 OK, headers, an empty line, and the text. The header Content-Length says how "
    "many bytes the text has.",
)
def test_http_get(connect):
    client = connect()
    for target, status, text in (
        ("task_01", 200, "see someone"),
        ("task_99", 404, "no key match"),
        ("task%5F03", 200, "play basketball"),
    ):
        client.ask(f"GET /{target}")
        client.expect_response(status, text)


@behaviour(
    "a request ends with an empty line",
    since="v0.8",
    hint="The first line alone is not a request. Read on until an empty line comes; the headers "
    "before it may be ignored.",
)
def test_http_end_of_a_request(connect, server):
    client = connect()
    client.send(b"GET /task_01 HTTP/1.1\r\n")
    if not server.may_sleep and client.wait():  # of others it takes too long to know
        raise Mismatch("it answers before the empty line")
    client.send(b"Host: localhost\r\nX-Anything: GET /task_02 HTTP/1.1\r\n\r\n")
    client.expect_response(200, "see someone")


@behaviour(
    "POST stores a percent-decoded value for every client",
    since="v0.8",
    until="v0.9",
    hint="In POST /task_id=value HTTP/1.1, the id and the value are percent-encoded: %20 is a "
    "space and %2F is a slash. In Python, urllib.parse.unquote() decodes them.",
)
def test_http_post(connect):
    one, other = connect(), connect()
    one.ask("POST /task_04=eat%201%2F2%20cake,%20a=%E4%B8%96")
    one.expect_response(200, "submit success")
    other.ask("GET /task_04")
    other.expect_response(200, "eat 1/2 cake, a=\u4e16")


@behaviour(
    "requests that arrive together get a response each",
    since="v0.8",
    hint="What recv() returns may contain the end of one request and the beginning of the next. "
    "Keep what is left over. In Python, makefile() and readline() do that for you.",
)
def test_http_together(connect):
    client = connect()
    requests = [f"GET /{task} HTTP/1.1\r\nHost: x\r\n\r\n" for task in ("task_01", "task_02")]
    client.send("".join(requests).encode())
    client.expect_response(200, "see someone")
    client.expect_response(200, "read book")


@behaviour(
    "a request may arrive byte by byte",
    since="v0.8",
    hint="A request may need many calls of recv(). Collect the bytes until the empty line.",
)
def test_http_byte_by_byte(connect):
    client = connect()
    for byte in b"GET /task_01 HTTP/1.1\r\nHost: x\r\n\r\n":
        client.send(bytes([byte]))
    client.expect_response(200, "see someone")


@behaviour("a request whose end never comes is dropped", since="v0.8", ours=True)
@pytest.mark.parametrize(
    "sent",
    [
        b"GET /task_01 HTTP/1.1\r\nHost: localhost\r\n",
        # Nobody waits for the end of a line that is longer than 65,536 bytes.
        b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 65_536),
        b"GET /task_01 HTTP/1.1\r\nHost: %s\r\n\r\n" % (b"x" * 65_536),
    ],
    ids=["head", "line", "header"],
)
def test_http_unfinished(connect, sent):
    client = connect()
    client.send(sent)
    with contextlib.suppress(OSError):  # it has been disconnected already
        client.socket.shutdown(socket.SHUT_WR)
    client.expect(b"")


@behaviour(
    "a request in another form gets 400, and the next one gets its own response",
    since="v0.8",
    hint="Answer with HTTP/1.1 400 Bad Request and a text, and read the next request.",
)
def test_http_malformed(connect, server):
    client = connect()
    for line in (b"GET/task_01/status", b"hello", b"POST /x HTTP/1.1"):
        client.send(line + b"\r\nHost: localhost\r\n\r\n")
        client.expect_response(400)
        if server.foreign:  # others may close the connection, because they cannot tell where the
            client = connect()  # next request begins
        client.ask("GET /task_01")
        client.expect_response(200, "see someone")


@behaviour(
    "each client gets the response to its own request, however slowly it asks",
    since="v0.9",
    hint="What has been read of a request must belong to one client. A global variable belongs "
    "to all threads; use local variables, an object for each client, or threading.local().",
)
def test_own_response(connect, server):
    slow, quick = connect(), connect()
    slow.send(b"GET /task_01 HTTP/1.1\r\n")
    server.wait_for_rest()
    quick.ask("GET /task_02")
    quick.expect_response(200, "read book")
    slow.send(b"Host: localhost\r\n\r\n")
    slow.expect_response(200, "see someone")


def page(client):
    """Return the page, as text."""
    client.ask("GET /")
    found = client.expect_response(200)
    if found.headers.get_content_type() != "text/html":
        raise Mismatch(f"the page's Content-Type is {found.headers['Content-Type']!r}")
    return found.body


def send_form(client, body, status):
    """Send a form and return the response."""
    client.ask("POST /", FORM, f"content-LENGTH: {len(body)}", body=body)
    return client.expect_response(status)


@behaviour(
    "GET / gets a page with all tasks and a form",
    since="v1.0",
    hint='The page is HTML with each task_id and its text, and a form: <form method="post"> with '
    "the fields task_id and value.",
)
def test_page(connect):
    text = page(connect())
    words = ["task_01", "see someone", "task_02", "read book", "task_03", "play basketball"]
    words += ["<form", 'name="task_id"', 'name="value"']
    if missing := [word for word in words if word not in text]:
        raise Mismatch(f"the page does not contain {missing[0]!r}")


@behaviour(
    "a form stores a task for every client, and leads back to the page",
    since="v1.0",
    hint="The form is the body of POST /, as many bytes as Content-Length says. Decode it, in "
    "Python with urllib.parse.parse_qsl(), store the value, and answer with 303 and the header "
    "Location: /.",
)
def test_form(connect, server):
    one, other = connect(), connect()
    found = send_form(one, b"task_id=task_04&value=eat+1%2F2+pie%2C+%E4%B8%96", 303)
    location = found.headers.get("Location", "nowhere")
    if urlsplit(location).path != "/":  # an absolute address is right, too
        raise Mismatch(f"the response leads to {location}, and not to '/'")
    other.ask("GET /task_04")
    other.expect_response(200, "eat 1/2 pie, \u4e16")
    if "eat 1/2 pie" not in page(one):
        raise Mismatch("the page does not contain the new task")
    if not server.foreign:  # others may answer with 400
        send_form(one, b"task_id=task_05&value=not+UTF-8:+\xff%FF", 303)
        other.ask("GET /task_05")
        other.expect_response(200, "not UTF-8: \ufffd\ufffd")


@behaviour(
    "a task's text is not HTML",
    since="v1.0",
    hint="Replace <, >, & and quotation marks before you put a text into HTML, in Python with "
    "html.escape(). Otherwise a text can be a program that runs in every browser.",
)
def test_text_is_not_html(connect):
    client = connect()
    send_form(client, b"task_id=%3Ci%3E&value=%3Cscript%3Ealert(1)%3C%2Fscript%3E", 303)
    text = page(client)
    is_there = "<script>alert(1)</script>" in html.unescape(
        text
    )  # there are several ways to escape
    if not is_there or "<script" in text or "<i>" in text:
        raise Mismatch("the page contains a text that is not escaped")


@behaviour(
    "half a form, and a malformed one, store nothing",
    since="v1.0",
    hint="Both names must be in the form. And a client may leave before it has sent as many bytes "
    "as its Content-Length says: then the form is not complete.",
)
def test_half_a_form(connect, server):
    client, leaving = connect(), connect()
    for body in (b"", b"task_id=task_01", b"value=x"):
        send_form(client, body, 400)
    if not server.foreign:  # others may ignore what they do not know
        send_form(client, b"task_id=task_01&value=x&more=y", 400)
    for lengths in ("x", "24, 24", "24\r\nContent-Length: 0", "10000"):
        unclear = connect()
        unclear.ask("POST /", FORM, f"Content-Length: {lengths}")
        if not server.foreign:  # others may answer with 400
            unclear.expect(b"")
    leaving.ask("POST /", FORM, "Content-Length: 99", body=b"task_id=task_01&value=x")
    leaving.socket.shutdown(socket.SHUT_WR)
    server.wait_for_rest()
    client.ask("GET /task_01")
    client.expect_response(200, "see someone")


# Who is served, and who waits.


@behaviour(
    "a client that stays silent keeps the others waiting",
    until="v0.2",
    hint="A blocking server waits in recv() for its client, and calls accept() again only "
    "after that client has left.",
)
def test_silent_client_blocks(play):
    play("""
        A connects
        B> hello
        B waits
        A leaves
        B< hello
    """)


@behaviour(
    "a second client waits until the first has left",
    since="v0.2",
    until="v0.2",
    hint="A blocking server serves one client at a time, and what the others type waits in the "
    "kernel.",
)
def test_second_client_waits(play):
    play("""
        A> hello
        A< hello
        B> what I typed
        B> while I waited
        B waits
        A> still here
        A< still here
        B waits
        A leaves
        B< what I typed
        B< while I waited
    """)


@behaviour(
    "a client is served while another one is silent",
    since="v0.3",
    hint="A is silent, and the server must wait for B at the same time. Look at where accept() "
    "is called again, and at what the server waits for before that.",
)
def test_served_beside_silent(play, protocol):
    play(f"A connects\n{protocol.talks('B', 'hello')}")


@behaviour(
    "a client is served while another one chats",
    since="v0.3",
    hint="The server must wait for all its clients at the same time. Look at what reads from B "
    "while A is connected, and at the variables that your clients share.",
)
def test_served_beside_chatting(play, protocol):
    texts = ["one", "two", "three", "four"]
    play("\n".join(map(protocol.talks, "ABAB", texts)))


@behaviour(
    "eight clients are served at once, each with its own answers",
    since="v0.3",
    hint="Each client gets the answers to its own lines, however many clients there are. Look "
    "at the variables that your clients share, and at any limit on the number of clients.",
)
def test_eight_clients(play, protocol):
    letters = "ABCDEFGH"
    lines = [f"{letter} connects" for letter in letters]
    for message in ("first", "second"):
        lines += [protocol.asks(letter, f"{message} of {letter}") for letter in letters]
        lines += [protocol.gets(letter, f"{message} of {letter}") for letter in letters]
    play("\n".join(lines))


@behaviour(
    "many clients talk at the same moment, and each gets its own answer",
    since="v0.3",
    hint="What belongs to one client must be in local variables: its socket, and what recv() has "
    "returned. All threads share a global variable, and the attributes of the server.",
)
def test_many_at_once(start_server, connect, protocol):
    server, clients = start_server(switching=True), []
    is_slow = SWITCHING in server.words  # but then each mistake is seen at once
    while len(clients) < MANY:
        # Two at the same moment. Of some servers, no more may wait for accept().
        clients += [connect(server), connect(server)]
        if not all(picks_up(server, client) for client in clients[-2:]):
            raise Mismatch(f"nobody has called accept() for one of {len(clients)} clients")
    for number in range(0 if is_slow else 10 * ROUNDS):
        two = connect(server), connect(server)
        for client in two:
            client.send(protocol.own_request(0, number))
        for client in two:
            protocol.expect_own_response(client, 0, number)
            client.close()
    for message in range(ROUNDS if is_slow else 20 * ROUNDS):
        for number, client in enumerate(clients):
            client.send(protocol.own_request(number, message))
        for number, client in enumerate(clients):
            protocol.expect_own_response(client, number, message)
    if protocol.is_echo:  # all threads have more to do, so they run at the same time
        lines = [b"%d says %s\n" % (number, b"%d " % number * 20) for number in range(MANY)]
        for _ in range(1 if is_slow else 2 * ROUNDS):
            for client, line in zip(clients, lines, strict=True):
                client.send(line * LINES)
            for client, line in zip(clients, lines, strict=True):
                client.expect(line * LINES)


def picks_up(server, client):
    """Return whether the server has accepted a client, as soon as it is clear."""

    def is_clear():
        return client.accepted() or (
            kernel.LINUX and not server.may_sleep and server.at_rest(lambda: not client.accepted())
        )

    wait_until(is_clear, server.patience)
    return client.accepted()


@behaviour(
    "a client that leaves makes room for the next one",
    hint="After a client has left, the server must serve the next one. Look at what happens "
    'when recv() returns b"".',
)
def test_next_client(play, protocol):
    play(f"{protocol.talks('A', 'hello')}\nA leaves\n{protocol.talks('B', 'hello')}")


@behaviour(
    "a client that leaves without sending anything makes room for the next one",
    hint="A client may leave before it has sent anything. Then the first recv() already "
    'returns b"".',
)
def test_next_client_after_silence(play, protocol):
    play(f"A connects\nA leaves\n{protocol.talks('B', 'hello')}")


@behaviour(
    "a client that resets its connection makes room for the next one",
    hint="A client may reset the connection. Then recv() or sendall() raises "
    "ConnectionResetError, which must not end the server.",
    by_hand=[RESET],
)
def test_next_client_after_reset(play, protocol, connect, server):
    client = connect()
    wait_until(client.accepted)
    client.reset()
    server.wait_for_rest()  # if it ends now, this is the reason
    play(protocol.talks("A", "hello"))


@behaviour("its log says which stage it is, whom it accepted, and who was lost", ours=True)
def test_log(stage, connect, server):
    assert server.log().startswith(f"MainThread: {stage.name}: {stage.summary}")
    client = connect()
    assert wait_until(lambda: f": 127.0.0.1:{client.port} accepted\n" in server.log())
    client.reset()
    left = rf": 127\.0\.0\.1:{client.port} left: .*[Rr]eset.*\n"
    assert wait_until(lambda: re.search(left, server.log()))


@behaviour("its log says who has left", since="v0.2", ours=True)
def test_log_of_those_who_left(connect, server):
    client = connect()
    client.socket.shutdown(socket.SHUT_WR)
    client.expect(b"")
    assert f": 127.0.0.1:{client.port} left\n" in server.log()


@behaviour("a half-closed client still gets its answer", ours=True)
def test_half_close(connect, protocol):
    client = connect()
    client.send(protocol.request("hello").encode())
    client.socket.shutdown(socket.SHUT_WR)
    answer = protocol.response("hello").encode()
    client.expect(re.compile(re.escape(answer) + rb"(\r?\n)?"), shortened(answer))


@pytest.fixture(scope="session")
def idle(request):
    """Let a client of each stage sit silent, all at once, on servers with a timeout of one second.

    Returns {the stage's name: (seconds until the server closed, the server's log after that)}.
    """
    found = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for stage in request.config.stages:
            words = [sys.executable, str(stage.server), "--port", "0", "--timeout", "1"]
            server = stack.enter_context(contextlib.closing(Server(words)))
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            data = stage.name, server, time.monotonic()
            selector.register(client, selectors.EVENT_READ, data)
        while selector.get_map() and (ready := selector.select(PATIENCE)):
            for key, _ in ready:
                assert key.fileobj.recv(1) == b""
                selector.unregister(key.fileobj)
                name, server, begin = key.data
                seconds = time.monotonic() - begin
                wait_until(lambda server=server: " left: " in server.log())
                found[name] = seconds, server.log()
    return found


@behaviour("a client that sends nothing is disconnected after the timeout", ours=True)
def test_idle_timeout(stage, idle):
    seconds, log = idle[stage.name]
    assert 0.9 < seconds < 4
    assert "left: timed out" in log


@behaviour(
    "while nobody sends anything, the server does no work",
    hint="A thread that has nothing to do must be blocked in a call like accept(), recv() or "
    "select(). Look at loops that go on without any bytes, and at where threads are started.",
)
def test_no_work(connect, server, protocol):
    def check(moment):
        wait_until(server.at_rest, server.patience)  # it may still be starting threads
        threads, _ = held(server)
        assert threads <= MOST_THREADS, f"{moment}, and the server has {threads} threads"
        assert not is_busy(server), f"{moment}, and the server is using the processor"

    check("no client has connected yet")
    client = connect()
    picks_up(server, client)
    check("a client is connected and silent")
    client.send(protocol.request("hello").encode())
    assert client.wait(), "it does not answer"
    check("a client has its answer and is silent")


@behaviour(
    "clients that have gone leave no thread, no open file and no work behind",
    hint='Look at whether the loop ends when recv() returns b"", whether you close the socket, '
    "and whether you wait for each child process.",
)
def test_nothing_left_behind(connect, server, protocol):
    def come_and_go(clients, settled):
        """Return how many threads and open files are kept of so many clients.

        It looks again until `settled()` of the two numbers is true.
        """
        before = held(server)
        for number in range(clients):
            client = connect()
            client.send(protocol.request("hello").encode())
            assert client.wait(), "it does not answer"
            # All of it: closed with a byte unread, a connection ends with a reset.
            assert client.socket.recv(65536)
            client.reset() if number % 2 else client.close()

        def kept():
            return [now - then for now, then in zip(held(server), before, strict=True)]

        wait_until(lambda: settled(*kept()), server.patience)
        return kept()

    # What the first clients leave behind may be kept for the next ones.
    come_and_go(2, settled=lambda *_: True)
    assert wait_until(server.at_rest, server.patience), (
        "two clients have left, and the server is still using the processor"
    )
    clients, allowed = 8, 0
    kept = come_and_go(clients, settled=lambda *kept: max(kept) <= 0 or server.at_rest())
    if server.foreign and max(kept) > 0:
        # Who leaves politely is kept, or who does not, or both: half of them at least. A pool, to
        # which a server adds one now and then, grows less than that.
        clients, allowed = 24, max(*kept, 6)
        kept = come_and_go(clients, settled=lambda *kept: max(kept) <= allowed)
    assert max(kept) <= allowed, (
        f"{clients} clients have come and gone, and have left {kept[0]} threads or processes and "
        f"{kept[1]} open files behind"
    )
    assert not is_busy(server), "all clients have left, and the server is still using the processor"


@behaviour(
    "a client may be silent for five seconds",
    theirs=True,  # ours have an option for it, and a test
    hint="A client is silent while its user thinks. Look at what settimeout() gets: after a "
    "minute of silence you may disconnect a client, but not after a few seconds.",
)
def test_long_silence(silence, protocol):
    client = silence.client()
    if select.select([client.socket], [], [], max(0, silence.until - time.monotonic()))[0]:
        came = client.socket.recv(1024)
        what = f"got {shortened(came)}" if came else "was disconnected"
        seconds = candidate.SILENCE + time.monotonic() - silence.until
        raise Mismatch(f"a client was silent for {seconds:.1f} seconds, and {what}")
    client.send(protocol.own_request(0, 0))
    protocol.expect_own_response(client, 0, 0)


def held(server):
    """Return how many threads and open files the server's processes have."""
    threads = files = 0
    for pid in kernel.family(server.child.pid):
        with contextlib.suppress(psutil.Error):  # it has ended, so it has no open files
            threads += psutil.Process(pid).num_threads()
            files += psutil.Process(pid).num_fds()
    return threads, files


def is_busy(server):
    """Say whether it takes a fifth of a core; twice, for a moment may be no good one."""
    pid = server.child.pid
    for seconds in (0.02 if kernel.TELLS_WAITS else 0.1, 0.5):
        before = kernel.processor_time(pid)
        # A busy loop shows in time that passes, so there is nothing to wait for but time itself.
        time.sleep(seconds)
        used = kernel.processor_time(pid) - before
        # What a thread waits for a core is counted when it gets one.
        is_waiting = kernel.TELLS_WAITS and seconds < 0.5 and not server.at_rest()
        if used < seconds / 5 and not is_waiting:
            return False
    return True


# Flaws that a lesson tells of.


@behaviour(
    "more than 1,024 bytes are treated as two messages", since="v0.4", until="v0.7", flaw=True
)
def test_more_than_one_recv(connect, protocol):
    client = connect()
    client.send(b"x" * 1025)
    answer = protocol.response("hello").encode()
    two = rb"(" + re.escape(answer) + rb"(\r\n)?){2}"
    client.expect(re.compile(two), f"{shortened(answer)} twice")


@behaviour(
    "two requests that arrive together are treated as one", since="v0.5", until="v0.7", flaw=True
)
def test_two_requests_in_one_packet(connect):
    client = connect()
    client.send(b"GET/task_01/status\nGET/task_02/status\n")
    client.expect_error()
    client.send(b"GET/task_01/status\n")
    client.expect(b"see someone\r\n")


@behaviour(
    "one request that arrives in two parts is treated as two",
    since="v0.5",
    until="v0.7",
    flaw=True,
)
def test_one_request_in_two_packets(connect):
    client = connect()
    client.send(b"GET/task")
    client.expect_error()
    client.send(b"_01/status\n")
    client.expect(b"data no found\r\n")


@behaviour("FORGET/task_01/status is treated as a GET", since="v0.5", until="v0.6", flaw=True)
def test_forget(play):
    play("""
        A> FORGET/task_01/status
        A< see someone
    """)


@behaviour("a value cannot contain / or =", since="v0.6", until="v0.6", flaw=True)
def test_value_with_a_separator(connect):
    client = connect()
    for value in (b"and/or", b"a=b"):
        client.send(b"POST/task_01=" + value + b"/status\n")
        client.expect_error()
        client.send(b"GET/task_01/status\n")
        client.expect(b"see someone\r\n")


@behaviour("a value is cut where the status is left out", since="v0.6", until="v0.7", flaw=True)
def test_value_without_a_status(play):
    play("""
        A> POST/task_05=eat 1/2 cake
        A< submit success
        A> GET/task_05/status
        A< eat 1
    """)


@behaviour(
    "a client that asks slowly gets another client's response",
    since="v0.8",
    until="v0.8",
    flaw=True,
)
def test_another_response(connect, server):
    slow, quick = connect(), connect()
    slow.send(b"GET /task_01 HTTP/1.1\r\n")
    server.wait_for_rest()
    quick.ask("GET /task_02")
    quick.expect_response(200, "read book")
    slow.send(b"Host: localhost\r\n\r\n")
    slow.expect_response(200, "read book")


@behaviour("a body in chunks is taken for the next request", since="v0.8", flaw=True)
def test_smuggling(connect):
    client = connect()
    client.ask("POST /", "Transfer-Encoding: chunked")
    client.ask("GET /task_01")
    if "task_id" not in client.expect_response(400).body:
        raise Mismatch("the error does not say what the form must contain")
    client.expect_response(200, "see someone")


# The program: its options, and how it ends.


def run(stage, *options):
    """Run a server that must end by itself; return its exit status and standard error."""
    done = subprocess.run(
        [sys.executable, str(stage.server), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@behaviour("a port in use is one clear line and exit status 1", ours=True)
def test_port_in_use(stage, server):
    status, error = run(stage, "--port", str(server.port))
    assert status == 1
    assert re.fullmatch(r"127\.0\.0\.1:\d+: .*in use; try another --host or --port\n", error)


@behaviour("a bad option gives a clear error", ours=True)
@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("--port nine", 2),
        ("--port 70000", 1),
        ("--timeout 0", 2),
        ("--timeout 86401", 2),
        ("--timeout -1", 2),
        ("--timeout nan", 2),
        ("--host ::1", 1),
        ("--host x..ü", 1),
        ("--colour red", 2),
    ],
)
def test_bad_option(stage, options, status):
    name, value = options.split()
    returned, error = run(stage, name, value)
    assert returned == status
    *usage, last = error.splitlines()
    assert not usage or usage[0].startswith("usage:")
    assert name in last or value in last
    assert "Traceback" not in error


@behaviour("its --help shows the defaults", ours=True)
def test_help(stage):
    words = [sys.executable, str(stage.server), "--help"]
    output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert stage.summary in output
    for default in ("address to bind (127.0.0.1)", "a free one (9000)", "idle seconds (60)"):
        assert default in output


@behaviour("it listens on loopback unless told otherwise", ours=True)
def test_loopback(server):
    assert f"MainThread: listening on 127.0.0.1:{server.port}\n" in server.log()


@behaviour("Ctrl-C ends it at once and quietly, with clients connected", ours=True)
def test_ctrl_c(server, connect):
    for _ in range(3):
        connect()
    log = server.log()
    server.child.sendintr()
    assert wait_until(lambda: not server.alive())
    assert server.child.signalstatus == signal.SIGINT
    assert "Traceback" not in server.log()
    assert server.log().count("\n") <= log.count("\n") + 3  # "accepted" may still come


@behaviour("it can be started again as soon as it has ended", ours=True)
def test_port_is_free_again(server, connect, start_server, protocol):
    client = connect()
    client.send(protocol.request("hello").encode())
    assert client.socket.recv(1024)
    server.child.sendintr()  # the server closes first: its end stays behind in TIME_WAIT
    assert client.socket.recv(1024) == b""
    client.close()
    # A day is the longest timeout that there is.
    assert start_server("--port", str(server.port), "--timeout", "86400").port == server.port
