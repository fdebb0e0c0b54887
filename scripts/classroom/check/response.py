"""An HTTP response among the bytes that a server has sent, read by Python's own library."""

import http.client
import io
from typing import NamedTuple


class Response(NamedTuple):
    """An HTTP response that is complete."""

    status_line: bytes  # without its line end
    status: int
    headers: http.client.HTTPMessage  # headers["Location"], in any case
    body: bytes  # as it was before a server cut it into chunks
    rest: bytes  # what came after it
    has_bare_lf: bool  # a line of its head does not end in CRLF


class _Received(io.BytesIO):
    def makefile(self, _mode):
        """Return what http.client reads; it takes this object for a socket."""
        return self

    def close(self):
        """Stay open: http.client closes it at the end of the body, and `rest` follows there."""


def first_response(received, closed):
    """Return the first HTTP response in these bytes; None if it is not complete.

    Without a Content-Length, and without chunks, it is complete when the server has `closed` the
    connection.
    """
    stream = _Received(received)
    response = http.client.HTTPResponse(stream)
    try:
        response.begin()
        head = received[: stream.tell()]
        if response.length is None and not response.chunked and not closed:
            return None
        body = response.read()
    except (http.client.HTTPException, ValueError):
        return None
    whole, rest = received[: stream.tell()], received[stream.tell() :]
    # http.client also accepts a head, and chunks, without the empty line at the end.
    if not head.endswith((b"\n\n", b"\n\r\n")) or (response.chunked and whole[-4:] != b"\r\n\r\n"):
        return None
    status_line = head.partition(b"\n")[0].removesuffix(b"\r")
    bare_lf = head.count(b"\n") > head.count(b"\r\n")
    return Response(status_line, response.status, response.headers, body, rest, bare_lf)
