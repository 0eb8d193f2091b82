"""A backend that reads requests as strictly as RFC 9112 allows, with a parser of its own.

It shares no code with the gateway and uses no parser library: whatever ambiguity the gateway would pass on
is a `violation` here. It answers each request with what it was, so that an answer can be told from another's.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Self

from support.waiting import until

TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
VALUE = frozenset([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
TARGET = frozenset(byte for byte in range(0x21, 0x7F) if byte not in b'#"<>\\^`{|}')
PRINTABLE = frozenset(range(0x21, 0x7F))
HEX = frozenset(b"0123456789abcdefABCDEF")
DIGITS = frozenset(b"0123456789")
PATIENCE = 10.0


class Violation(Exception):  # noqa: N818 - what happened
    """Bytes that two readers might read differently."""


@dataclass(frozen=True)
class Received:
    """One request, whole."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes
    chunked: bool
    raw_head: bytes

    def values(self, name: bytes) -> list[bytes]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    @property
    def digest(self) -> bytes:
        """Tells this request from others: method, target and body."""
        seen = b"\0".join([self.method.encode(), self.target, self.body])
        return hashlib.sha256(seen).hexdigest()[:16].encode()


class StrictReader:
    """Requests out of bytes. `lenient`: takes what RFC 9112 lets senders do and a proxy must not pass on:
    chunk extensions, trailers, an empty line before the request, absolute-form.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self._bytes = b""

    @property
    def pending(self) -> bytes:
        """Bytes of a request that is not whole."""
        return self._bytes

    def feed(self, data: bytes) -> list[Received]:
        """The requests that are complete now. Raises Violation."""
        self._bytes += data
        found = []
        while (item := self._one()) is not None:
            found.append(item)
        return found

    def _one(self) -> Received | None:
        data = self._bytes
        if self._lenient and data.startswith(b"\r\n"):
            data = data[2:]
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head, rest = data[:end], data[end + 4 :]
        line, *lines = head.split(b"\r\n")
        method, target = self._request_line(line)
        headers = tuple(_field(item) for item in lines)
        length, chunked = _framing(headers)
        hosts = [value for name, value in headers if name == b"host"]
        _demand(len(hosts) == 1 and hosts[0] != b"", "not exactly one Host", head)
        if chunked:
            taken = self._chunks(rest)
            if taken is None:
                return None
            body, rest = taken
        else:
            if len(rest) < length:
                return None
            body, rest = rest[:length], rest[length:]
        self._bytes = rest
        return Received(method, target, headers, body, chunked, head)

    def _request_line(self, line: bytes) -> tuple[str, bytes]:
        parts = line.split(b" ")
        _demand(len(parts) == 3 and parts[2] == b"HTTP/1.1", "request line", line)
        method, target, _ = parts
        _demand(bool(method) and TCHAR.issuperset(method) and method.isupper(), "method", line)
        path, _, query = target.partition(b"?")
        allowed = PRINTABLE if self._lenient else TARGET
        _demand(bool(path) and allowed.issuperset(path), "target", line)
        _demand(PRINTABLE.issuperset(query), "query", line)  # forwarded as it came
        _demand(target[:1] == b"/" or target == b"*" or self._lenient, "target form", line)
        return method.decode(), target

    def _chunks(self, data: bytes) -> tuple[bytes, bytes] | None:
        body = b""
        while True:
            end = data.find(b"\r\n")
            if end < 0:
                return None
            size, extension, _ = data[:end].partition(b";")
            _demand(not extension or self._lenient, "chunk extension", data)
            _demand(0 < len(size) < 16 and HEX.issuperset(size), "chunk size", data)
            _demand(VALUE.issuperset(data[:end]), "control character in a chunk line", data)
            count, data = int(size, 16), data[end + 2 :]
            if count == 0:
                break
            if len(data) < count + 2:
                return None
            _demand(data[count : count + 2] == b"\r\n", "no line end behind a chunk", data)
            body, data = body + data[:count], data[count + 2 :]
        while True:
            end = data.find(b"\r\n")
            if end < 0:
                return None
            line, data = data[:end], data[end + 2 :]
            if not line:
                return body, data
            _demand(self._lenient, "trailer", line)
            _field(line)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    _demand(colon == b":" and bool(name) and TCHAR.issuperset(name), "header name", line)
    _demand(VALUE.issuperset(value), "header value", line)
    return name.lower(), value.strip(b" \t")


def _framing(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[int, bool]:
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    _demand(len(lengths) + len(codings) < 2, "ambiguous framing", repr(headers).encode())
    if codings:
        _demand(codings[0].lower() == b"chunked", "transfer coding", codings[0])
        return 0, True
    if lengths:
        _demand(0 < len(lengths[0]) < 19 and DIGITS.issuperset(lengths[0]), "length", lengths[0])
        return int(lengths[0]), False
    return 0, False


def _demand(holds: bool, what: str, where: bytes) -> None:
    if not holds:
        raise Violation(f"{what}: {where[:200]!r}")


FORBIDDEN = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings"}
    | {b"expect", b"proxy", b"proxy-authorization", b"x-original-url", b"x-rewrite-url", b"x-real-ip"}
    | {b"forwarded", b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-port"}
)
"""Headers no backend may be sent on behalf of a client that nobody trusts."""


HANDSHAKE = frozenset(
    {(b"connection", b"Upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")}
)
"""What makes a request one for a WebSocket."""


class StrictLink(asyncio.Protocol):
    """One connection to the backend."""

    transport: Any

    def __init__(self, backend: StrictBackend) -> None:
        self._backend = backend
        self._reader = StrictReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._backend.links.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.links.discard(self)
        if self._reader.pending:
            self._backend.unfinished.append(self._reader.pending)

    def data_received(self, data: bytes) -> None:
        backend = self._backend
        backend.raw += data
        try:
            found = self._reader.feed(data)
        except Violation as reason:
            backend.violations.append(str(reason))
            self.transport.close()
            return
        for request in found:
            odd = FORBIDDEN.intersection(name for name, _ in request.headers)
            if HANDSHAKE.issubset(request.headers):
                odd -= {b"connection", b"upgrade"}
            if odd:
                backend.violations.append(f"hop-by-hop or claimed: {sorted(odd)}")
            backend.requests.append(request)
            body = b"" if request.method == "HEAD" else request.digest
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Digest: %b\r\n\r\n%b"
                % (len(request.digest), request.digest, body)
            )


class StrictBackend:
    """Listens on a free port of 127.0.0.1. An async context manager."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.violations: list[str] = []
        self.unfinished: list[bytes] = []
        """Requests whose connection ended before they were whole."""
        self.raw = b""
        """Every byte that came, on whatever connection."""
        self.links: set[StrictLink] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: StrictLink(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for link in tuple(self.links):
            link.transport.abort()
        await until(lambda: not self.links)
        await self._server.wait_closed()

    def forget(self) -> None:
        """Starts afresh."""
        self.requests, self.violations, self.unfinished, self.raw = [], [], [], b""
