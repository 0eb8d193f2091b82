"""A client that sends exactly the bytes it is given, and reads responses without forgiving anything.

    async with Raw(port) as raw:
        await raw.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        response = await raw.response()
        assert (response.status, response.body) == (200, b"hello")
        assert await raw.closed() == b""

`talk(port, data)` is the short form for one connection and everything that comes back on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl

PATIENCE = 10.0
"""Seconds until a silent server fails the test."""


class CutOff(Exception):  # noqa: N818 - what happened
    """The connection ended inside a response. `received` is what had come of it."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"cut off after {received!r}")
        self.received = received


@dataclass(frozen=True)
class Response:
    """One response, as it came."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    """Names in lower case, values latin-1."""
    body: bytes
    raw: bytes
    """Every byte of it, framing included."""
    framing: str
    """`none`, `length`, `chunked` or `close`."""
    interim: tuple[int, ...] = ()
    """Statuses of the 1xx responses before it."""

    def values(self, name: str) -> list[str]:
        """All values of the header `name`."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """The only value of `name`, or None; two lines of it fail the test."""
        values = self.values(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Raw:
    """One connection."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        tls: ssl.SSLContext | None = None,
        name: str | None = "localhost",
    ) -> None:
        """`name`: the server name of a TLS handshake; None: it has none."""
        self._address = (host, port)
        self._tls = tls
        self._name = name
        self._received = b""
        """What came of the current response."""
        self._pushed_back = b""

    async def __aenter__(self) -> Self:
        host, port = self._address
        # The limit makes the client stop reading when nobody reads from it, so a server feels it.
        self.reader, self.writer = await asyncio.open_connection(
            host, port, ssl=self._tls, server_hostname=(self._name or "") if self._tls else None, limit=65536
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.transport.abort()

    @property
    def port(self) -> int:
        """Ours: the server's `client` port."""
        return int(self.writer.get_extra_info("sockname")[1])

    async def send(self, *pieces: bytes) -> None:
        """Sends the pieces, each in a write of its own, as far as the server takes them."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def send_slowly(self, data: bytes) -> None:
        """Sends byte by byte, each in a segment of its own."""
        for index in range(len(data)):
            self.writer.write(data[index : index + 1])
            await asyncio.sleep(0)

    def half_close(self) -> None:
        """Sends FIN: nothing more will be sent."""
        self.writer.write_eof()

    async def response(self, *, head: bool = False) -> Response:
        """The next final response. `head`: it answers HEAD, so it has no body."""
        async with asyncio.timeout(PATIENCE):
            interim: list[int] = []
            while True:
                self._received = b""
                status, reason, headers = await self._head()
                if status >= 200 or status == 101:
                    break
                interim.append(status)
            framing, body = await self._body(status, headers, head=head)
            return Response(status, reason, headers, body, self._received, framing, tuple(interim))

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes, whatever they mean."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(mark)

    async def closed(self) -> bytes:
        """Waits until the server closes its direction; gives what it still sent. A reset counts as closing."""
        async with asyncio.timeout(PATIENCE):
            rest = b""
            try:
                while piece := await self.reader.read(65536):
                    rest += piece
            except ConnectionError:
                pass
            return rest

    async def at_end(self) -> bool:
        """Waits for the next byte, which is kept for `response`, or for the end."""
        try:
            byte = await self.reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError):
            return True
        self._pushed_back = byte
        return False

    async def _line(self) -> bytes:
        try:
            line = self._pushed_back + await self.reader.readuntil(b"\r\n")
        except asyncio.IncompleteReadError as error:
            raise CutOff(self._received + error.partial) from None
        except ConnectionError:
            raise CutOff(self._received) from None
        self._pushed_back = b""
        self._received += line
        return line[:-2]

    async def _exactly(self, size: int) -> bytes:
        try:
            data = await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise CutOff(self._received + error.partial) from None
        except ConnectionError:
            raise CutOff(self._received) from None
        self._received += data
        return data

    async def _head(self) -> tuple[int, str, list[tuple[str, str]]]:
        version, status, reason = (await self._line()).decode("latin-1").split(" ", 2)
        assert version == "HTTP/1.1"
        assert len(status) == 3
        headers = []
        while line := await self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon
            assert name == name.strip()
            headers.append((name.lower(), value.strip(" \t")))
        return int(status), reason, headers

    async def _body(self, status: int, headers: list[tuple[str, str]], *, head: bool) -> tuple[str, bytes]:
        lengths = [value for name, value in headers if name == "content-length"]
        codings = [value for name, value in headers if name == "transfer-encoding"]
        assert len(lengths) + len(codings) < 2, f"ambiguous framing: {headers}"
        if head or status in {101, 204, 304}:
            return "none", b""
        if codings:
            assert codings == ["chunked"]
            return "chunked", await self._chunks()
        if lengths:
            return "length", await self._exactly(int(lengths[0]))
        rest = await self.closed()
        self._received += rest
        return "close", rest

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self._line()).split(b";")[0], 16):
            body += await self._exactly(size)
            assert await self._line() == b""
        while await self._line():
            pass  # trailers
        return body


async def talk(port: int, *pieces: bytes, count: int | None = None, head: bool = False) -> list[Response]:
    """Sends the pieces on one connection and gives the next `count` responses, or all until the server closes.

    A response that is cut off raises `CutOff`.
    """
    responses: list[Response] = []
    async with Raw(port) as raw:
        with contextlib.suppress(ConnectionError):  # refused in the middle: the refusal can still be read
            await raw.send(*pieces)
        while count is None or len(responses) < count:
            async with asyncio.timeout(PATIENCE):
                if count is None and await raw.at_end():
                    break
            responses.append(await raw.response(head=head))
    return responses
