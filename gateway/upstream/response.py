"""The grammar of HTTP/1.1 responses: bytes in, a head and a body out; no I/O.

Lifetime: request. llhttp judges the syntax; what it lets pass and a gateway must not is refused here
(RFC 9112 6.3, security.md section 3).
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.upstream.errors import protocol_error

if TYPE_CHECKING:
    from gateway.http.headers import Headers

END_OF_HEAD = b"\r\n\r\n"
"""llhttp demands CRLF, so the first of these ends the head, wherever the bytes were cut."""

_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_BODY_NAMES = frozenset({b"content-length", b"transfer-encoding"})
_FRAMING_NAMES = _BODY_NAMES | {b"connection"}
_BARE_LF = re.compile(rb"(?<!\r)\n")
_UNPRINTABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Framing(IntEnum):
    """How the end of a body is known."""

    NONE = 0
    SIZED = 1
    CHUNKED = 2
    CLOSE = 3
    """The body ends with the connection."""


class ResponseHead:
    """Status line and headers of one response, and how its body is framed.

    Its `on_*` methods are the parser's callbacks; `parse_head` makes one.
    """

    __slots__ = ("framing", "headers", "keep_alive", "length", "reason", "status")

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.headers: Headers = []
        """Lower-case names; values as received."""
        self.framing = Framing.NONE
        self.length = 0
        """Bytes of a SIZED body."""
        self.keep_alive = False
        """Whether head and framing allow another request on the connection."""

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.framing.name} {self.length}>"

    def on_status(self, reason: bytes) -> None:
        """Parser callback; absent for an empty reason."""
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback, once a header line."""
        self.headers.append((name.lower(), value))


def parse_head(raw: bytes, *, to_head: bool, max_headers: int) -> ResponseHead:
    """The response head that is exactly `raw`, final CRLF CRLF included; UpstreamError when it is none.

    `to_head`: it answers a HEAD request. Interim responses (1xx) come out like others, with no body.
    """
    head = ResponseHead()
    parser = HttpResponseParser(head)
    try:
        parser.feed_data(raw)
    except HttpParserError as error:
        raise protocol_error(str(error)) from error
    except HttpParserUpgrade as error:
        raise protocol_error("unsolicited 101") from error
    head.status = status = parser.get_status_code()
    if not raw.startswith(_VERSIONS):
        raise protocol_error("not HTTP/1.1 or HTTP/1.0")
    if status < 100 or status > 599:
        raise protocol_error(f"status {status}")
    if len(head.headers) > max_headers:
        raise protocol_error(f"more than {max_headers} headers")
    if _UNPRINTABLE.search(head.reason):
        raise protocol_error("control character in the reason phrase")
    _frame(head, to_head=to_head, old=raw.startswith(_VERSIONS[1]))
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


def _frame(head: ResponseHead, *, to_head: bool, old: bool) -> None:
    """Decides how the body ends (RFC 9112 6.3) and whether the connection persists (9.3).

    llhttp has refused the two framings together. Its own `should_keep_alive` cannot be asked here: it forgets
    the Connection header when the head is the whole response.
    """
    framing, length, persists, suspect = Framing.CLOSE, 0, not old, False
    for name, value in head.headers:
        if name not in _FRAMING_NAMES:
            continue
        if name == b"connection":
            tokens = [token.strip(b" \t") for token in value.lower().split(b",")]
            suspect |= b"close" in tokens
            persists |= b"keep-alive" in tokens
        elif framing is not Framing.CLOSE:
            raise protocol_error("two framing headers")
        elif name == b"content-length":
            framing, length = Framing.SIZED, int(value)
        elif value.strip(b" \t").lower() == b"chunked":
            framing = Framing.CHUNKED
            suspect |= old  # RFC 9112 6.1: nothing that old can mean it, so this was its last message.
        else:
            raise protocol_error("transfer encoding other than chunked")
    if to_head or head.status < 200 or head.status in {204, 304}:
        if head.status == 204 and framing is not Framing.CLOSE:
            suspect |= length > 0 or framing is Framing.CHUNKED  # Bytes may follow against all grammar.
            head.headers = [pair for pair in head.headers if pair[0] not in _BODY_NAMES]
        head.keep_alive = persists and not suspect
        return
    head.framing, head.length = framing, length
    head.keep_alive = persists and not suspect and framing is not Framing.CLOSE


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
