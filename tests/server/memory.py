"""A connection without a socket: bytes in, writes out. For properties that need thousands of connections."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import uvicorn
from serving import Echo
from support.clock import FakeClock
from uvicorn.server import ServerState

from gateway.server.edge import EDGE, Edge
from gateway.server.protocol import EdgeProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.server.limits import Limits

_REQUEST_ID = re.compile(rb"x-request-id: [0-9a-f-]{36}\r\n")


class MemoryTransport(asyncio.Transport):
    """A client that takes everything at once, and keeps its own direction open."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 40000)})
        self.writes: list[bytes] = []
        self.ended = ""
        """`eof`, `close` or `abort`."""
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after the end"
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        self.ended = self.ended or "eof"

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = self.ended or "close"

    def abort(self) -> None:
        self.ended = "abort"

    def is_closing(self) -> bool:
        return self.ended in {"close", "abort"}

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0


class Connection:
    """An EdgeProtocol on a MemoryTransport, in the running event loop."""

    def __init__(self, app: Any, limits: Limits | None = None) -> None:
        config = uvicorn.Config(
            app, http=EdgeProtocol, log_config=None, lifespan="off", ws="none", proxy_headers=False
        )
        config.load()
        loop = asyncio.get_running_loop()
        state: dict[str, Any] = {}
        clock = FakeClock()
        self.edge = state[EDGE] = Edge(
            config, state, loop, limits=limits, clock=clock, wall_clock=FakeClock(784111777.0)
        )
        self.server_state = ServerState()
        self.transport = MemoryTransport()
        self.protocol = EdgeProtocol(config, self.server_state, state, loop)
        self.protocol.connection_made(self.transport)

    async def feed(self, pieces: Sequence[bytes]) -> None:
        """Delivers pieces as long as the connection is open for reading, and lets the application work."""
        for piece in pieces:
            while not self.transport.reading:
                await asyncio.sleep(0)
            if self.transport.is_closing():
                break
            self.protocol.data_received(piece)
            await self.settle()

    async def settle(self) -> None:
        """Lets the loop run until every task waits for more bytes."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """The client leaves; waits until the application has noticed."""
        self.protocol.connection_lost(None)
        async with asyncio.timeout(5):
            while self.server_state.tasks:
                await asyncio.sleep(0)
        self.edge.sweeper.stop()

    @property
    def sent(self) -> bytes:
        """Everything written, with request ids blotted out."""
        return _REQUEST_ID.sub(b"x-request-id: -\r\n", b"".join(self.transport.writes))


async def transcript(pieces: Sequence[bytes], limits: Limits | None = None) -> tuple[Any, ...]:
    """All that matters of a connection that got these pieces: what the application saw, what went out, how it
    ended.
    """
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    app = Echo()
    connection = Connection(app, limits)
    await connection.feed(pieces)
    sent, ended = connection.sent, connection.transport.ended
    seen = [
        (each.scope["method"], each.scope["raw_path"], each.scope["query_string"], each.headers, each.body)
        for each in app.log.requests
        if each.ended == "complete"
    ]
    counts = connection.edge.refusals.counts
    await connection.close()
    assert errors == []
    return seen, sent, ended, counts
