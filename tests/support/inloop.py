"""Real uvicorn in the test's own loop, on a free port of 127.0.0.1.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class _Server(uvicorn.Server):
    """Leaves the signals to the test, and says when it has started, or could not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()

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
            server.should_exit = True
            server.force_exit = force
            await task


async def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    with suppress(SystemExit):  # Its way to say that the lifespan failed.
        await server.serve(sockets=[listening])
