"""Real uvicorn in the test's own loop, on a free port of 127.0.0.1.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import uvicorn
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TICK = 0.1
"""Seconds, as in uvicorn."""


class _Server(uvicorn.Server):
    """Leaves the signals to the test, and says when it has started, or could not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()
        self._leaving = asyncio.Event()

    def leave(self, *, force: bool) -> None:
        """Ends it now, not at the next tick."""
        self.should_exit, self.force_exit = True, force
        self._leaving.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()

    async def main_loop(self) -> None:
        for counter in count():
            if await self.on_tick(counter):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), TICK)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.force_exit:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        for connection in tuple(self.server_state.connections):
            connection.shutdown()
        await self.lifespan.shutdown()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await until(lambda: not self.server_state.connections)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Any, *, force: bool = False, **options: Any) -> AsyncIterator[int]:
    """Serves an application; gives the port. `force`: connections are not waited for at the end. `options`:
    uvicorn's. RuntimeError when it does not start.
    """
    usual = {"lifespan": "on", "log_config": None, "access_log": False, "proxy_headers": False}
    config = uvicorn.Config(app, **{**usual, **options})
    config.load()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = _Server(config)
        task = asyncio.create_task(_run(server, listening))
        await server.settled.wait()
        try:
            if not server.started:
                raise RuntimeError("the server did not start")
            yield listening.getsockname()[1]
        finally:
            server.leave(force=force)
            await task


async def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    with suppress(SystemExit):  # Its way to say that the lifespan failed.
        await server.serve(sockets=[listening])
