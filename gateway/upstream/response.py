"""The grammar of HTTP/1.1 responses: bytes in, a head and a body out; no I/O.

Lifetime: request. Heads of well-known lines are taken apart by looking those up; llhttp judges the syntax of
all others. What it lets pass and a gateway must not is refused here (RFC 9112 6.3, security.md section 3).
"""

from __future__ import annotations

import re
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.http.lines import Lines
from gateway.http.reply import ENDS_WITH_HEAD
from gateway.upstream.errors import protocol_error
from gateway.upstream.layout import CONNECTION, DATE, ENCODING, GRPC, KINDS, LENGTH, Layouts

if TYPE_CHECKING:
    from gateway.http.headers import Headers

SWITCHING = b"HTTP/1.1 101"
"""How a response begins that agrees to another protocol."""
END_OF_HEAD = b"\r\n\r\n"
"""llhttp demands CRLF, so the first of these ends the head, wherever the bytes were cut."""

_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_lines = Lines()
_layouts = Layouts()
_BARE_LF = re.compile(rb"(?<!\r)\n")
_UNPRINTABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Framing(IntEnum):
    """How the end of a body is known."""

    NONE = 0
    SIZED = 1
    CHUNKED = 2
    CLOSE = 3
    """The body ends with the connection."""


# Looking a member up in its class is a call.
BODILESS, SIZED, _CHUNKED, _CLOSE = Framing


class ResponseHead:
    """Status line and headers of one response, and how its body is framed."""

    __slots__ = ("dated", "framing", "grpc", "headers", "keep_alive", "length", "reason", "size", "status")

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a response head
        self,
        status: int,
        reason: bytes,
        size: int = 0,
        headers: Headers | None = None,
        framing: Framing = _CLOSE,
        length: int = 0,
        keep_alive: bool = False,
        dated: bool = False,
        grpc: bool = False,
    ) -> None:
        self.status = status
        self.reason = reason
        self.size = size
        """Bytes of the head."""
        self.headers: Headers = [] if headers is None else headers
        """What may be passed on: lower-case names; values as received. Hop-by-hop headers, those they name,
        and those that the gateway sets itself (`server`...) are not among them."""
        self.framing = framing
        self.length = length
        """Bytes of a SIZED body."""
        self.keep_alive = keep_alive
        """Whether head and framing allow another request on the connection."""
        self.dated = dated
        """Whether there is a Date."""
        self.grpc = grpc
        """Whether there is a grpc-status: the call failed before it began."""

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.framing.name} {self.length}>"


class _Parsed:
    """What llhttp makes of a head."""

    __slots__ = ("fields", "reason")

    def __init__(self) -> None:
        self.reason = b""
        self.fields: Headers = []

    def on_status(self, reason: bytes) -> None:
        """Parser callback; absent for an empty reason."""
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback, once a header line."""
        self.fields.append((name.lower(), value))


def parse_head(raw: bytes, *, to_head: bool, max_headers: int) -> ResponseHead:
    """The response head that is exactly `raw`, final CRLF CRLF included; UpstreamError when it is none.

    `to_head`: it answers a HEAD request. Interim responses (1xx) come out like others, with no body.
    """
    lines = raw.split(b"\r\n")
    status = _STATUS_LINES.get(lines[0])
    fields: Headers | None = None
    if status is not None and (fields := _lines.fields(lines[1:-2])) is not None:
        head = None if to_head else _usual(*status, len(raw), fields)
        if head is None:
            head = ResponseHead(*status, len(raw))
            frame(head, fields, to_head=to_head, old=False)
    else:  # an unusual status line, or a header that is not plainly well-formed
        head, fields = judged(raw)
        head.size = len(raw)
        frame(head, fields, to_head=to_head, old=raw.startswith(_VERSIONS[1]))
    if len(fields) > max_headers:
        raise protocol_error(f"more than {max_headers} headers")
    return head


def _usual(status: int, reason: bytes, size: int, fields: Headers) -> ResponseHead | None:
    """What `frame` makes of a response to anything but HEAD, where names and values are the usual ones."""
    layout = _layouts.of(fields)
    if layout is None or status in ENDS_WITH_HEAD:
        return None
    persists, framing, length = True, _CLOSE, 0
    if layout.connection_at >= 0:
        connection = fields[layout.connection_at][1]
        persists = connection == b"keep-alive"
        if not persists and connection != b"close":
            return None
    if layout.length_at >= 0:
        digits = fields[layout.length_at][1]
        if not digits.isdigit() or len(digits) > 18:
            return None
        framing, length = SIZED, int(digits)
    elif layout.encoding_at >= 0:
        if fields[layout.encoding_at][1] != b"chunked":
            return None
        framing = _CHUNKED
    else:
        persists = False
    headers = list(layout.keep(fields))
    return ResponseHead(status, reason, size, headers, framing, length, persists, layout.dated, layout.grpc)


_STATUS_LINES = {
    f"HTTP/1.1 {status.value} {status.phrase}".encode(): (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status.value > 101
}
"""The status lines everybody sends; other ones are for llhttp."""


def judged(raw: bytes) -> tuple[ResponseHead, Headers]:
    """A head that is not plainly well-formed, by llhttp's grammar."""
    parsed = _Parsed()
    parser = HttpResponseParser(parsed)
    try:
        parser.feed_data(raw)
    except HttpParserError as error:
        raise protocol_error(str(error)) from error
    except HttpParserUpgrade as error:
        raise protocol_error("unsolicited 101") from error
    status = parser.get_status_code()
    if not raw.startswith(_VERSIONS):
        raise protocol_error("not HTTP/1.1 or HTTP/1.0")
    if status < 100 or status > 599:
        raise protocol_error(f"status {status}")
    if _UNPRINTABLE.search(parsed.reason):
        raise protocol_error("control character in the reason phrase")
    return ResponseHead(status, parsed.reason), parsed.fields


def parse_switch(raw: bytes, *, max_headers: int) -> ResponseHead:
    """The 101 that is exactly `raw` and answers a request for WebSocket; UpstreamError when it names another
    protocol, or none. Its body has no end that HTTP knows of.
    """
    parsed = _Parsed()
    parser = HttpResponseParser(parsed)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:
        pass  # llhttp's word for it
    except HttpParserError as error:
        raise protocol_error(str(error)) from error
    else:
        raise protocol_error("101 without an upgrade")
    if len(parsed.fields) > max_headers:
        raise protocol_error(f"more than {max_headers} headers")
    if [value.strip(b" \t").lower() for name, value in parsed.fields if name == b"upgrade"] != [b"websocket"]:
        raise protocol_error("101 for another protocol than was asked for")
    head = ResponseHead(101, parsed.reason)
    head.size = len(raw)
    fields = [(name, value.rstrip(b" \t")) for name, value in parsed.fields if name != b"content-length"]
    frame(head, fields, to_head=False, old=False)
    return head


def check_partial_head(partial: bytearray, limit: int) -> None:
    """Refuses a head that can become nothing good, instead of waiting for the end of it.

    Bare LF must not be overlooked: the end of such a head would never be found.
    """
    if len(partial) > limit:
        raise protocol_error(f"response head larger than {limit} bytes")
    if not partial.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(partial):
        raise protocol_error("not HTTP/1.1 or HTTP/1.0")
    if _BARE_LF.search(partial):
        raise protocol_error("line without CR")


def frame(  # noqa: C901, PLR0912 - one pass, for it runs for every response
    head: ResponseHead, fields: Headers, *, to_head: bool, old: bool
) -> None:
    """Decides how the body ends (RFC 9112 6.3), whether the connection persists (9.3), what is passed on.

    llhttp's own `should_keep_alive` cannot be asked here: it forgets the Connection header when the head is
    the whole response.
    """
    framing, persists, suspect, length = _CLOSE, not old, False, 0
    headers = head.headers
    keep = headers.append
    kind_of = KINDS.get
    tokens: list[bytes] | None = None
    for field in fields:
        name, value = field
        kind = kind_of(name)
        if kind is None:
            keep(field)
        elif kind == DATE:
            head.dated = True
            keep(field)
        elif kind == GRPC:
            head.grpc = True
            keep(field)
        elif kind == CONNECTION:
            if value == b"keep-alive":
                persists = True
            elif value == b"close":
                suspect = True
            else:
                tokens = [*(tokens or ()), *(token.strip(b" \t") for token in value.lower().split(b","))]
        elif kind in {LENGTH, ENCODING}:
            if framing is not _CLOSE:
                raise protocol_error("two of Content-Length and Transfer-Encoding")
            if kind == LENGTH:
                framing, length = SIZED, _length(value)
                keep(field)
            elif value.strip(b" \t").lower() == b"chunked":
                framing = _CHUNKED
                suspect |= old  # RFC 9112 6.1: nothing that old can mean it, so this was its last message.
            else:
                raise protocol_error("transfer encoding other than chunked")
    if tokens is not None:
        if b"content-length" in tokens:  # Dropped as it asks, the answer would go on without its end.
            raise protocol_error("Connection names Content-Length")
        head.dated &= b"date" not in tokens
        suspect |= b"close" in tokens
        persists |= b"keep-alive" in tokens
        head.headers = headers = [field for field in headers if field[0] not in tokens]
    status = head.status
    if to_head or status < 200 or status in ENDS_WITH_HEAD:
        head.framing = Framing.NONE
        if status == 204 and framing is not _CLOSE:
            suspect |= length > 0 or framing is _CHUNKED  # Bytes may follow against all grammar.
            head.headers = [field for field in headers if field[0] != b"content-length"]
        head.keep_alive = persists and not suspect
        return
    head.framing, head.length = framing, length
    head.keep_alive = persists and not suspect and framing is not _CLOSE


def _length(value: bytes) -> int:
    value = value.strip(b" \t")
    if not value.isdigit() or len(value) > 18:
        raise protocol_error("Content-Length is no number")
    return int(value)


_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

MAX_CHUNK_OVERHEAD = 61440
"""Bytes of chunk extensions or trailers in a row without a byte of body."""


class ChunkedBody:
    """Takes a chunked body apart and drops its trailers: as headers they would escape policy (F1)."""

    __slots__ = ("_begun", "_overhead", "_parser", "complete", "pieces", "surplus")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """Body bytes of the last `feed`."""
        self.complete = False
        self.surplus = False
        """Whether bytes came after the end; also when that cannot be ruled out."""
        self._begun = -1
        self._overhead = 0
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._parser.feed_data(_CHUNKED_HEAD)

    def on_message_begin(self) -> None:
        """Parser callback: our own head first, then whatever follows the end."""
        self._begun += 1

    def on_body(self, piece: bytes) -> None:
        """Parser callback."""
        if not self.complete:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """Parser callback: last chunk and trailers are over."""
        self.complete = True

    def feed(self, data: bytes) -> list[bytes]:
        """The body bytes in `data`, in order; UpstreamError when it is no chunked body."""
        assert self._parser is not None, "fed after its end"
        self.pieces = []
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.complete:
                raise protocol_error(str(error)) from error
            self.surplus = True
        if self.complete:
            # llhttp skips CR and LF between messages in silence, so the end must be the last bytes here.
            exact = len(data) >= 5 and data.endswith(END_OF_HEAD) and data[-5:-4] not in {b"\r", b"\n"}
            self.surplus = self.surplus or self._begun > 0 or not exact
            self._parser = None  # It holds our bound methods: without this only the collector frees us.
        elif self.pieces:
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > MAX_CHUNK_OVERHEAD:
                raise protocol_error("chunk extensions or trailers too large")
        return self.pieces
