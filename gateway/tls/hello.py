"""The server name in a TLS ClientHello, before anything is decided about the connection.

Lifetime: request (one new connection). Source: RFC 8446 §4.1.2, RFC 6066 §3.

OpenSSL can change the certificate in the middle of a handshake, but neither whether the client must show one
nor versions, ciphers and revocation flags. So the name is read first, from bytes that stay in the socket, and
the handshake begins with everything right. OpenSSL's own reading of the name must agree (`ServerContext`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_BYTES: Final = 16 * 1024 + 5
"""Of a ClientHello with its record headers; larger ones are refused."""
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_RECORD: Final = 5
_HEADER: Final = 4


class Hello(NamedTuple):
    """What the first bytes say."""

    wanted: int = 0
    """Bytes needed before more can be said; 0: it is complete."""
    name: str = ""
    """The server name in lower case, empty when the client gives none."""
    error: str = ""
    """Why this is no acceptable beginning of TLS."""


NOT_TLS: Final = Hello(error="not_tls")
MALFORMED: Final = Hello(error="malformed_hello")
TOO_LARGE: Final = Hello(error="hello_too_large")


def read_hello(data: bytes) -> Hello:
    """Reads as much of a ClientHello as has arrived."""
    if data and data[0] != _HANDSHAKE:
        return NOT_TLS
    message, at = b"", 0
    while True:  # A hello may be cut into several records.
        if len(data) < at + _RECORD:
            return Hello(wanted=at + _RECORD)
        length = int.from_bytes(data[at + 3 : at + _RECORD])
        if data[at] != _HANDSHAKE or data[at + 1] != 3 or not length:
            return MALFORMED
        end = at + _RECORD + length
        if end > MAX_BYTES:
            return TOO_LARGE
        message += data[at + _RECORD : end]
        if message and message[0] != _CLIENT_HELLO:
            return MALFORMED
        size = _HEADER + int.from_bytes(message[1:_HEADER]) if len(message) >= _HEADER else MAX_BYTES
        if size > MAX_BYTES:
            return TOO_LARGE
        if len(data) < end:
            return Hello(wanted=end)
        if len(message) >= size:
            break
        at = end
    try:
        return Hello(name=_name(_Reader(message[_HEADER:size])))
    except ValueError:
        return MALFORMED


class _Reader:
    """Takes fields from the front; ValueError when they do not fit."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def take(self, size: int) -> bytes:
        begin, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise ValueError
        return self.data[begin : self.at]

    def vector(self, size: int) -> _Reader:
        return _Reader(self.take(self.number(size)))

    @property
    def more(self) -> bool:
        return self.at < len(self.data)


def _name(body: _Reader) -> str:
    body.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, ciphers, compressions
        body.vector(size)
    if not body.more:
        return ""
    extensions = body.vector(2)
    found: str | None = None
    while extensions.more:
        kind, value = extensions.number(2), extensions.vector(2)
        if kind != _SERVER_NAME:
            continue
        names = value.vector(2)
        if found is not None or value.more or names.number(1) != _HOST_NAME:
            raise ValueError
        name = names.vector(2).data
        if names.more or not name or not name.isascii() or not name.decode().isprintable():
            raise ValueError
        found = name.decode().lower()
    return found or ""
