"""Servers that are wrong on purpose: each is a stage with one thing changed.

For each of them: the behaviour that must catch it, and words that must be in the report on it.
tests/test_check.py hands them all in.
"""

from typing import NamedTuple

from classroom import kernel


class Flaw(NamedTuple):
    name: str
    stage: str
    old: str  # a part of the stage's server
    new: str  # what replaces it
    caught_by: str  # the behaviour
    report: str  # a part of the report on it


SEND = "                client.sendall(data)\n"
LOOP = "            while data := client.recv(1024):\n"
THREAD = "threading.Thread(target=self.handle_client_request, args=(client, address)).start()"
LEFT = "            client.close()\n"
REPLY = 'client.sendall(self.reply_to(data).encode() + b"\\r\\n")'
STORE = "self.todo_list[task_id] = value"

FIRST = "the first message is echoed"
EVERY = "every message is echoed"
SILENT = "a client is served while another one is silent"
NOTHING_LEFT = "clients that have gone leave no thread, no open file and no work behind"
NO_WORK = "while nobody sends anything, the server does no work"
SECOND_WAITS = "a second message stays unread in the kernel"
POST = "POST stores a task, new or old, for every client"

FLAWS = [
    # v0.1
    Flaw(
        "closes_after_its_answer",
        "v0.1",
        "                client.sendall(data)\n",
        "                client.sendall(data)\n                client.close()\n",
        SECOND_WAITS,
        "leaves the connection open",
    ),
    Flaw(
        "answers_twice",
        "v0.1",
        "                client.sendall(data)\n",
        "                client.sendall(data)\n                client.sendall(client.recv(1024))\n",
        SECOND_WAITS,
        "calls accept() again",
    ),
    Flaw(
        "does_not_read",
        "v0.1",
        "data = client.recv(1024)\n",
        'data = b""\n',
        FIRST,
        "nobody reads from A. Where does it call recv()?",
    ),
    # v0.2
    Flaw(
        "goes_on_at_the_end",
        "v0.2",
        "while data := client.recv(1024):",
        "while [data := client.recv(1024)]:",
        "a client that stays silent keeps the others waiting",
        'your server is busy, although A has left. Does its loop end when recv() returns b""?',
    ),
    Flaw(
        "loses_what_was_sent_while_waiting",
        "v0.2",
        "            client.settimeout(self.timeout)\n",
        "            client.settimeout(self.timeout)\n"
        "            if hasattr(self, 'not_the_first'):\n"
        "                import select\n"
        "                select.select([client], [], [], 0.2)[0] and client.recv(1024)\n"
        "            self.not_the_first = True\n",
        "a client that stays silent keeps the others waiting",
        "B should have been answered 'hello', but B shows nothing",
    ),
    Flaw(
        "accepts_once",
        "v0.2",
        "                client.close()\n",
        "                client.close()\n                import time; time.sleep(60)\n",
        "a client that stays silent keeps the others waiting",
        "calls accept() again only after",
    ),
    Flaw(
        "decodes_and_ends",
        "v0.2",
        "sendall(data)",
        "sendall(data.decode().encode())",
        "bytes that are not valid UTF-8 are echoed unchanged",
        "UnicodeDecodeError",
    ),
    # v0.3
    Flaw("upper_cases", "v0.3", "sendall(data)", "sendall(data.upper())", FIRST, "shows 'HELLO"),
    Flaw(
        "says_who_it_is",
        "v0.3",
        LOOP,
        '            client.sendall(b"echo\\n")\n' + LOOP,
        FIRST,
        "A should have been answered 'hello', but A shows 'echo",
    ),
    Flaw(
        "takes_three_seconds",
        "v0.3",
        SEND,
        "                import time; time.sleep(3)\n" + SEND,
        FIRST,
        "A shows nothing",
    ),
    Flaw(
        "answers_each_twice",
        "v0.3",
        "sendall(data)",
        "sendall(data + data)",
        FIRST,
        "then A shows 'hello",
    ),
    Flaw(
        "closes_after_a_reply",
        "v0.3",
        SEND,
        SEND + '                raise ConnectionError("answered")\n',
        EVERY,
        "must call recv() again after it has answered",
    ),
    Flaw(
        "answers_only_the_first",
        "v0.3",
        SEND,
        SEND + "                while client.recv(1024): pass\n",
        EVERY,
        "A should have been answered 'two', but A shows nothing",
    ),
    Flaw(
        "ends_at_an_empty_line",
        "v0.3",
        LOOP,
        "            while (data := client.recv(1024)).strip():\n",
        "an empty line is echoed",
        "A line end alone is a message",
    ),
    Flaw(
        "knows_ascii_only",
        "v0.3",
        "sendall(data)",
        "sendall(data.decode('ascii').encode())",
        "text in any script is echoed",
        "you do not need to know what they mean",
    ),
    Flaw(
        "decodes",
        "v0.3",
        "sendall(data)",
        "sendall(data.decode().encode())",
        "bytes that are not valid UTF-8 are echoed unchanged",
        "An echo needs no decode()",
    ),
    Flaw(
        "drops_the_line_end",
        "v0.3",
        "sendall(data)",
        "sendall(data.rstrip())",
        "a line comes back with its line end, unchanged",
        "The line came back without its line end.",
    ),
    Flaw(
        "sends_half",
        "v0.3",
        "sendall(data)",
        "sendall(data[:512])",
        "1,024 bytes are echoed",
        "how much you read",
    ),
    Flaw(
        "sends_a_part",
        "v0.3",
        "client.sendall(data)",
        "client.sendall(data) if len(data) < 1024 or data[-1] < 255 else client.send(data[:1000])",
        "a message longer than one recv() is echoed whole",
        "Long messages arrive in pieces",
    ),
    Flaw(
        "sends_without_an_end",
        "v0.3",
        SEND,
        SEND + "                while data[-1] == 255:\n                    client.sendall(data)\n",
        "a message longer than one recv() is echoed whole",
        "and more and more after that",
    ),
    Flaw(
        "serves_one_at_a_time",
        "v0.3",
        THREAD,
        "self.handle_client_request(client, address)",
        SILENT,
        "When A left, B was answered: your server serves one client at a time.",
    ),
    Flaw(
        "waits_for_its_thread",
        "v0.3",
        THREAD,
        "thread = threading.Thread(target=self.handle_client_request, args=(client, address))\n"
        "            thread.start()\n            thread.join()",
        SILENT,
        "where accept() is called again",
    ),
    Flaw(
        "tells_everybody",
        "v0.3",
        SEND,
        "                self.__dict__.setdefault('all', []).append(client)\n"
        "                for other in set(self.all):\n                    other.sendall(data)\n",
        "a client is served while another one chats",
        "A should have been answered 'three', but A shows 'two",
    ),
    Flaw(
        "answers_the_wrong_client",
        "v0.3",
        LOOP + SEND,
        "            self.latest = client\n" + LOOP + "                self.latest.sendall(data)\n",
        "a client is served while another one chats",
        "A should have been answered 'three', but A shows nothing",
    ),
    Flaw(
        "has_room_for_four",
        "v0.3",
        "            client.settimeout(self.timeout)\n",
        "            client.settimeout(self.timeout)\n"
        "            while threading.active_count() > 4:\n"
        "                threading.Event().wait(0.05)\n",
        "eight clients are served at once, each with its own answers",
        "however many clients there are",
    ),
    Flaw(
        "ends_with_its_first_client",
        "v0.3",
        'logging.info("%s:%d left", *address)',
        "import os; os._exit(1)",
        "a client that leaves makes room for the next one",
        "Your server ended with status 1, after A had left.",
    ),
    Flaw(
        "ends_at_a_reset",
        "v0.3",
        "        except OSError as error:",
        "        except ConnectionResetError:\n            import os; os._exit(3)\n"
        "        except OSError as error:",
        "a client that resets its connection makes room for the next one",
        "Your server ended with status 3, after a client had reset its connection.",
    ),
    Flaw(
        "never_ends_its_loop",  # the accident of the article
        "v0.3",
        LOOP + SEND,
        "            while True:\n                try:\n"
        "                    data = client.recv(1024)\n"
        "                    client.sendall(data) if data else client.close()\n"
        "                except:\n                    client.close()\n",
        NOTHING_LEFT,
        "still using the processor",
    ),
    Flaw(
        "spins_when_its_client_has_gone",
        "v0.3",
        LOOP,
        "            while True:\n                data = client.recv(1024)\n",
        NOTHING_LEFT,
        "still using the processor",
    ),
    Flaw(
        "leaves_a_thread",
        "v0.3",
        LEFT,
        LEFT + "            threading.Event().wait()\n",
        NOTHING_LEFT,
        "24 clients have come and gone, and have left 24 threads or processes and",
    ),
    Flaw(
        "leaves_the_connection_open",
        "v0.3",
        LEFT,
        "            self.__dict__.setdefault('kept', []).append(client)\n",
        NOTHING_LEFT,
        "have left 0 threads or processes and 24 open files behind",
    ),
    Flaw(
        "shares_what_it_receives",
        "v0.3",
        LOOP + SEND,
        "            while True:\n                self.data = client.recv(1024)\n"
        "                if not self.data:\n                    break\n"
        "                client.sendall(self.data)\n",
        "many clients talk at the same moment, and each gets its own answer",
        "but got 'client ",
    ),
    Flaw(
        "asks_again_and_again",
        "v0.3",
        LOOP,
        "            client.setblocking(False)\n            while True:\n                try:\n"
        "                    data = client.recv(1024)\n                except BlockingIOError:\n"
        "                    continue\n                if not data:\n"
        "                    break\n",
        NO_WORK,
        "A client is connected and silent, and the server is using the processor",
    ),
    Flaw(
        "starts_threads_without_clients",
        "v0.3",
        "        while True:\n            client, address",
        "        for _ in range(150):\n"
        "            threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "        while True:\n            client, address",
        NO_WORK,
        "No client has connected yet, and the server has 1",
    ),
    # v0.4
    Flaw(
        "ends_its_line",
        "v0.4",
        "str(self.todo_list).encode()",
        "str(self.todo_list).encode() + b'\\n'",
        "anything is answered with the whole list and no line end",
        "Whatever the message is, answer with str() of the dict",
    ),
    Flaw(
        "speaks_json",
        "v0.4",
        "str(self.todo_list)",
        "__import__('json').dumps(self.todo_list)",
        "anything is answered with the whole list and no line end",
        "Whatever the message is, answer with str() of the dict",
    ),
    Flaw(
        "has_no_answer_to_an_empty_line",
        "v0.4",
        "                client.sendall(",
        "                data.strip() and client.sendall(",
        "anything is answered with the whole list and no line end",
        "and should have got",
    ),
    # v0.5
    Flaw(
        "gives_the_whole_list",
        "v0.5",
        'return self.todo_list.get(task_id, "no key match")',
        "return str(self.todo_list)",
        "GET gives a task's text",
        "The middle one is the key",
    ),
    Flaw(
        "ends_at_an_unknown_key",
        "v0.5",
        'self.todo_list.get(task_id, "no key match")',
        "self.todo_list[task_id]",
        "GET of an unknown task gets no key match",
        "dict.get() takes a default",
    ),
    Flaw(
        "takes_small_letters",
        "v0.5",
        '"GET" in request',
        '"GET" in request.upper()',
        "a message that is not a request gets data no found",
        "in capitals",
    ),
    Flaw(
        "has_no_crlf",
        "v0.5",
        '+ b"\\r\\n"',
        '+ b"\\n"',
        "an answer ends in CRLF",
        "the bytes 13 and 10",
    ),
    Flaw(
        "crashes_on_another_shape",
        "v0.5",
        "except ValueError:",
        "except UnicodeDecodeError:",
        "a malformed GET gets one error line, and the connection stays open",
        "too few parts, or too many",
    ),
    Flaw(
        "crashes_on_bytes",
        "v0.5",
        "        try:\n            request = data.decode()\n",
        "        request = data.decode()\n        try:\n",
        "bytes that are not valid UTF-8 get one error line, and the connection stays open",
        "decode() raises UnicodeDecodeError",
    ),
    Flaw(
        "closes_after_an_error",
        "v0.5",
        REPLY,
        REPLY + '\n                if b"GET" in data and data.count(b"/") != 2:\n'
        '                    raise ConnectionError("wrong")',
        "a malformed GET gets one error line, and the connection stays open",
        "but got the end of the connection",
    ),
    # v0.6
    Flaw("forgets_posts", "v0.6", STORE, "pass", POST, "no key match"),
    Flaw(
        "shares_nothing",
        "v0.6",
        LOOP,
        "            self = __import__('copy').deepcopy(self.__class__.__new__(self.__class__))\n"
        "            self.todo_list = {'task_01': 'see someone', 'task_02': 'read book',\n"
        "                'task_03': 'play basketball'}\n" + LOOP,
        POST,
        "share one dict",
    ),
    Flaw("strips_values", "v0.6", STORE, STORE + ".strip()", POST, "unchanged"),
    Flaw(
        "mixes_keys",
        "v0.6",
        STORE,
        'self.todo_list["task_01"] = value',
        POST,
        "the key under which",
    ),
    Flaw(
        "stores_half_a_request",
        "v0.6",
        'method, assignment, status = request.split("/")',
        'method, assignment, *status = request.split("/")',
        "a malformed POST gets one error line and stores nothing",
        "only if all parts are there",
    ),
    # v0.7
    Flaw(
        "finds_a_form_anywhere",
        "v0.7",
        "GET.fullmatch(",
        "GET.search(",
        "a malformed GET gets one error line, and the connection stays open",
        "too many",
    ),
    Flaw(
        "knows_no_words",
        "v0.7",
        'r"(GET|POST)\\b"',
        'r"GET|POST"',
        "a request is recognized by its whole form",
        "error",
    ),
    Flaw(
        "ends_a_value_at_the_first_slash",
        "v0.7",
        "(?P<value>.*)/[^/]*",
        "(?P<value>[^/]*)/[^/]*",
        "a value may contain / and =",
        "ends at the last /",
    ),
    # v0.8
    Flaw(
        "answers_at_the_first_line",
        "v0.8",
        'while (header := lines.readline(65536)).endswith(b"\\n") and header.strip(b"\\r\\n"):\n'
        "                    pass",
        "header = line",
        "GET gets 200 and a task's text, or 404",
        "with the status 404",
    ),
    Flaw(
        "counts_no_line_end",
        "v0.8",
        "{len(body)}",
        "{len(text)}",
        "GET gets 200 and a task's text, or 404",
        "with the status 404",
    ),
    Flaw(
        "reads_once",
        "v0.8",
        'lines = client.makefile("rb")',
        'lines = __import__("io").BytesIO(client.recv(1024))',
        "GET gets 200 and a task's text, or 404",
        "with the status 404",
    ),
    Flaw(
        "decodes_no_values",
        "v0.8",
        'unquote(match["value"])',
        'match["value"]',
        "POST stores a percent-decoded value for every client",
        "percent-encoded",
    ),
    Flaw(
        "serves_one_http_client_at_a_time",
        "v0.8",
        THREAD,
        "self.handle_client_request(client, address)",
        "POST stores a percent-decoded value for every client",
        "Nobody has called accept() for this client." * kernel.LINUX,
    ),
    # v0.9
    Flaw(
        "shares_the_request",
        "v0.9",
        "threading.local()",
        'type("Namespace", (), {})()',
        "each client gets the response to its own request, however slowly it asks",
        "must belong to one client",
    ),
    # v1.0
    Flaw(
        "escapes_nothing",
        "v1.0",
        "html.escape(task)",
        "task",
        "a task's text is not HTML",
        "html.escape()",
    ),
    Flaw(
        "takes_half_a_form",
        "v1.0",
        " or len(form) < int(length)",
        "",
        "half a form, and a malformed one, store nothing",
        "not complete",
    ),
    Flaw(
        "knows_one_spelling",
        "v1.0",
        "header.lower()",
        "header",
        "a form stores a task for every client, and leads back to the page",
        "Content-Length says",
    ),
    Flaw(
        "leads_nowhere",
        "v1.0",
        '"303 See Other\\r\\nLocation: /"',
        '"303 See Other"',
        "a form stores a task for every client, and leads back to the page",
        "The response leads to nowhere, and not to '/'",
    ),
    Flaw(
        "sends_a_page_as_plain_text",
        "v1.0",
        "text/html",
        "text/plain",
        "GET / gets a page with all tasks and a form",
        "The page's Content-Type is 'text/plain; charset=utf-8'",
    ),
    Flaw(
        "ends_a_head_with_lf",
        "v1.0",
        "{len(body)}\\r\\n\\r\\n",
        "{len(body)}\\n\\n",
        "GET gets 200 and a task's text, or 404",
        "ends in LF, and not in CRLF",
    ),
]

# What is no server at all, by name: its code, and a part of the report on it.
NO_SERVERS = {
    "ends_at_once": (
        "import sys; sys.exit('oops')",
        "Your server ended with status 1, before it listened; it was run as: PORT=",
    ),
    "wants_its_port_as_an_argument": (
        "import sys; port = int(sys.argv[1])",
        "Does it want its port as an argument? Check it with: -- python3 FILE {port}",
    ),
    "never_listens": ("while True: pass", "Your server does not listen within"),
    "floods": (
        "while True: print('x' * 1000)",
        "Your server was ended because it wrote more than 10 MB",
    ),
    "forks_without_end": ("import os\nwhile True: os.fork()", "before it listened"),
    "hides_a_child": (
        "import os, time\nif not os.fork():\n    os.setsid()\n    os.fork()\ntime.sleep(1000)",
        "Your server does not listen within",
    ),
    "listens_elsewhere": (
        "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\ntime.sleep(1000)",
        "Your server listens on port ",
    ),
    "speaks_ipv6_alone": (
        "import os, socket, time\n"
        "s = socket.create_server(('::1', int(os.environ['PORT'])), family=socket.AF_INET6)\n"
        "time.sleep(1000)",
        "IPv6 only",
    ),
}
