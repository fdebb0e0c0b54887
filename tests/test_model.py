"""The property tests find bugs that no test in test_behaviours.py finds."""

import contextlib
import sys

import pytest
import test_properties
from classroom.course import number_of, stages
from classroom.terminal import Server
from hypothesis import Phase

# The stage, a part of its code, and the wrong code in the place of that.
SERVERS = {stage.name: stage.server for stage in stages()}
BUGS = {
    "turns CRLF into LF": ("v0.3", "(data)\n", '(data.replace(b"\\r\\n", b"\\n"))\n'),
    "finds GET in the first part only": ("v0.5", "in request:", 'in request.split("/")[0]:'),
    "stops at a NUL byte": ("v0.6", "data.decode()", 'data.decode().split("\\0")[0]'),
    "finds a request at the beginning": ("v0.7", "GET.fullmatch", "GET.match"),
    "takes POST without a value": ("v0.8", "=(?P<value>[^ ]*)", "=?(?P<value>[^ ]*)"),
    "decodes spaces only": (
        "v0.8",
        'unquote(match["value"])',
        'match["value"].replace("%20", " ")',
    ),
    "escapes all but quotes": ("v1.0", "html.escape(text)", "html.escape(text, quote=False)"),
    "stores an empty value": (
        "v1.0",
        'errors="replace")))',
        'errors="replace"), keep_blank_values=True))',
    ),
    "strips the id of a POST": ("v0.6", "todo_list[task_id]", "todo_list[task_id.strip()]"),
}


@pytest.mark.parametrize(
    ("stage_name", "old", "new"),
    [pytest.param(*bug, id=name) for name, bug in BUGS.items()],
)
def test_bug_is_found(stage_name, old, new, tmp_path):
    code = SERVERS[stage_name].read_text()
    assert code.count(old) == 1
    wrong_server = tmp_path / "server.py"
    wrong_server.write_text(code.replace(old, new))
    server = Server([sys.executable, str(wrong_server), "--port", "0"])
    with contextlib.closing(server), pytest.raises(AssertionError, match=r"^wrong responses? to "):
        # Only draw: one wrong response is enough, and the shortest list is not needed.
        test_properties.check(number_of(stage_name), server.port, phases=[Phase.generate])
