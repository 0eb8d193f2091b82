"""Upstreams on real sockets that do exactly what a test tells them, and remember every byte.

    async with RecordingBackend() as backend:
        ...                                        # somebody connects to 127.0.0.1, backend.port
        link = await backend.link()                # the first connection
        await link.receive(b"\\r\\n\\r\\n")        # until these bytes have arrived
        await link.send(b"HTTP/1.1 200 OK\\r\\n", b"Content-Length: 0\\r\\n\\r\\n")
        link.finish()                              # FIN; or link.reset(), link.close()

`RecordingBackend(answer)` also answers every request head by itself; `echo()` is such an answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, Self

PATIENCE = 10.0
"""Seconds until a silent peer fails the test."""

Answer = Callable[[bytes], bytes]
"""Request head to response bytes."""


class Link(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, backend: RecordingBackend) -> None:
        self.received = b""
        """Every byte that came, ever."""
        self.ended = False
        """Whether the other side closed, or reset."""
        self.gone = asyncio.Event()
        """Set when the connection is over in both directions."""
        self.transport: Any = None
        self._backend = backend
        self._answered = 0
        self._moved = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self._backend.deaf:
            self.transport.pause_reading()
        self._backend.accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._moved.set()
        answer = self._backend.answer
        while answer is not None and (end := self.received.find(b"\r\n\r\n", self._answered)) >= 0:
            head, self._answered = self.received[self._answered : end + 4], end + 4
            self.transport.write(answer(head))

    def eof_received(self) -> bool:
        self.ended = True
        self._moved.set()
        return True  # Our direction stays open until the test closes it.

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.gone.set()
        self._moved.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def receive(self, mark: bytes | int) -> bytes:
        """Waits until `mark` (bytes, or so many bytes) has arrived; gives all received so far."""
        async with asyncio.timeout(PATIENCE):
            while len(self.received) < mark if isinstance(mark, int) else mark not in self.received:
                assert not self.ended, f"closed after {self.received!r}"
                await self._next()
        return self.received

    async def closed(self) -> bytes:
        """Waits until the other side closed; gives all received."""
        async with asyncio.timeout(PATIENCE):
            while not self.ended:
                await self._next()
        return self.received

    async def send(self, *pieces: bytes) -> None:
        """Sends pieces, each in a turn of the loop of its own, as far as the other side takes them."""
        for piece in pieces:
            self.transport.write(piece)
            await asyncio.sleep(0)
            await self._writable.wait()

    def finish(self) -> None:
        """Sends FIN and goes on receiving."""
        self.transport.write_eof()

    def reset(self) -> None:
        """Sends RST."""
        linger = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def close(self) -> None:
        """Sends FIN after what was sent, and leaves."""
        self.transport.close()

    def listen(self) -> None:
        """Starts to receive, on a backend that is deaf."""
        self.transport.resume_reading()

    async def _next(self) -> None:
        self._moved.clear()
        await self._moved.wait()


class RecordingBackend:
    """Listens on a free port of 127.0.0.1, or on a Unix socket. An async context manager."""

    def __init__(self, answer: Answer | bytes | None = None, *, path: str = "", deaf: bool = False) -> None:
        self.answer: Answer | None = (lambda _: answer) if isinstance(answer, bytes) else answer
        self.deaf = deaf
        """Accepts and does not read."""
        self.links: list[Link] = []
        self.port = 0
        self._path = path
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._path:
            self._server = await loop.create_unix_server(lambda: Link(self), self._path)
        else:
            self._server = await loop.create_server(lambda: Link(self), "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for _ in range(3):  # A connection may be accepted and not yet made known to us.
            await asyncio.sleep(0)
        for link in self.links:
            link.transport.abort()
        await self._server.wait_closed()
        for link in self.links:
            await link.gone.wait()

    def accepted(self, link: Link) -> None:
        """Called by each new connection."""
        self.links.append(link)
        self._changed.set()

    async def link(self, number: int = 0) -> Link:
        """Connection `number`, counted from 0; waits for it."""
        async with asyncio.timeout(PATIENCE):
            while len(self.links) <= number:
                self._changed.clear()
                await self._changed.wait()
        return self.links[number]

    @property
    def open(self) -> int:
        """Connections neither side has closed."""
        return sum(not link.ended for link in self.links)

    async def none_open(self) -> None:
        """Waits until the other side has closed every connection."""
        for link in self.links:
            await link.closed()


def echo(name: str = "echo") -> Answer:
    """An answer that tells, as JSON, what was asked: plain requests without a body."""

    def answer(head: bytes) -> bytes:
        line, *rest = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers = [item.split(": ", 1) for item in rest if item]
        told = {"backend": name, "method": method, "target": target, "headers": headers}
        body = json.dumps(told).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Backend: %s\r\n\r\n%s" % (
            len(body),
            name.encode(),
            b"" if method == "HEAD" else body,
        )

    return answer


def dead_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SilentPort:
    """A port whose connections are never accepted nor refused: the handshake stays without an answer."""

    def __enter__(self) -> int:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self._filling = []
        for _ in range(8):  # The kernel takes a few into its queue before it goes silent.
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self._listening.getsockname())
            self._filling.append(sock)
        return int(self._listening.getsockname()[1])

    def __exit__(self, *exc: object) -> None:
        for sock in (*self._filling, self._listening):
            sock.close()
