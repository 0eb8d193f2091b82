"""The head of a response, from ASGI's status and headers to bytes.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HAS_DATE: Final = 1
HAS_SERVER: Final = 2
WANTS_CLOSE: Final = 4

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}".encode() for status in range(200, 600)
}
_is_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_TEXT = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
"""What a header value may consist of (RFC 9110 5.5, obs-text included)."""
_OURS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date", b"server"})
"""Headers that framing and persistence hang on, or that we would add."""
_STARTS: dict[bytes, bytes] = {}
"""Header name -> line end, name, colon. Names repeat, so each is checked once."""
_MAX_STARTS = 1024


def render(status: int, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, int | None, int]:
    """The head without framing, persistence and its end; the Content-Length it carries, or None; what it
    has of `HAS_DATE`, `HAS_SERVER` and `WANTS_CLOSE`.

    Transfer-Encoding, Connection and Keep-Alive are the connection's own affair and dropped, as is the
    Content-Length of a 204. Raises RuntimeError for what cannot be sent: a status outside 200 to 599, a name
    or value that would break the head, two different lengths.
    """
    line = _STATUS_LINES.get(status)
    if line is None:
        raise RuntimeError(f"Response status {status} is not from 200 to 599.")
    parts = [line]
    length: int | None = None
    has = 0
    for name, value in headers:
        start = _STARTS.get(name)
        if start is None:
            name = name.lower()  # noqa: PLW2901 - applications write Content-Type
            if name in _OURS:
                if name == b"content-length":
                    if status == 204 or (same := _length(value, length)) is None:
                        continue
                    length = same
                elif name == b"date":
                    has |= HAS_DATE
                elif name == b"server":
                    has |= HAS_SERVER
                else:
                    if name == b"connection" and _says_close(value):
                        has |= WANTS_CLOSE
                    continue
                start = b"\r\n" + name + b": "
            else:
                start = _STARTS.get(name) or _start(name)
        parts.append(start)
        parts.append(value)
    head = b"".join(parts)
    if head.translate(None, _TEXT) != b"\r\n" * (len(parts) >> 1):
        raise RuntimeError("Invalid response header value.")
    return head, length, has


def joined(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head as `render` makes it, of headers that need no second look."""
    return b"\r\n".join([_STATUS_LINES[status], *map(_COLON.join, headers)])


def whole(status: int, headers: Iterable[tuple[bytes, bytes]], last_line: bytes, body: bytes) -> bytes:
    """A response on a connection that persists, complete: `joined`, perhaps one more line, the body."""
    return b"\r\n".join([_STATUS_LINES[status], *map(_COLON.join, headers), last_line, body])


def switching(headers: Iterable[tuple[bytes, bytes]], date: bytes, server: bytes, extra: bytes) -> bytes:
    """The complete 101 that lets WebSocket begin. `date`, `server`, `extra`: our own lines."""
    block, _, has = render(200, headers)
    return b"".join(
        (
            b"HTTP/1.1 101 Switching Protocols",
            block.removeprefix(_STATUS_LINES[200]),
            b"\r\n",
            b"" if has & HAS_DATE else date,
            b"" if has & HAS_SERVER else server,
            extra,
            b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n",
        )
    )


_COLON = b": "


def _start(name: bytes) -> bytes:
    if not _is_token(name):
        raise RuntimeError("Invalid response header name.")
    start = b"\r\n" + name + b": "
    if len(_STARTS) < _MAX_STARTS:
        _STARTS[name] = start
    return start


def _says_close(connection: bytes) -> bool:
    return any(option.strip() == b"close" for option in connection.lower().split(b","))


def _length(value: bytes, known: int | None) -> int | None:
    """The length `value` says; None when it was already `known`."""
    if not value.isdigit() or len(value) > 18:
        raise RuntimeError("Invalid Content-Length.")
    length = int(value)
    if known is None:
        return length
    if known != length:
        raise RuntimeError("Two different Content-Lengths.")
    return None
