"""A real uvicorn server with `EdgeProtocol` on a free port, in the test's own event loop."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop
from support.clock import FakeClock
from support.waiting import until
from uvicorn.server import Server

from gateway.server.edge import EDGE, Edge
from gateway.server.limits import Limits
from gateway.server.protocol import EdgeProtocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Coroutine


class Log:
    """The requests that reached the application, in order."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []

    @property
    def paths(self) -> list[bytes]:
        """Their raw paths."""
        return [seen.scope["raw_path"] for seen in self.requests]


class Seen:
    """One of them."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.headers = list(scope["headers"])
        """As they were when the application started."""
        self.body = b""
        self.ended = ""
        """`complete`, or the type of the message that came instead of a complete body."""


class Echo:
    """Reads the whole request body, then answers with it; 204 for a body of `none`. Notes what it saw."""

    def __init__(self) -> None:
        self.log = Log()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen = Seen(scope)
        self.log.requests.append(seen)
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                seen.ended = message["type"]
                return
            seen.body += message["body"]
            more = message["more_body"]
        seen.ended = "complete"
        await reply(send, 200, b"%b %b" % (scope["raw_path"], seen.body))


async def reply(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """A complete response with a Content-Length."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


class Serving:
    """The server under test."""

    def __init__(self, server: Server, edge: Edge, clock: FakeClock, wall: FakeClock) -> None:
        self.server = server
        self.edge = edge
        self.clock = clock
        """Of deadlines."""
        self.wall = wall
        """Of dates."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    @property
    def connections(self) -> list[EdgeProtocol]:
        """Open connections."""
        return list(self.server.server_state.connections)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        """Moves the clock, and looks at all deadlines once."""
        self.clock.now += seconds
        self.edge.sweeper.sweep()

    async def connected(self, count: int = 1) -> list[EdgeProtocol]:
        """Waits until so many connections are open."""
        await until(lambda: len(self.server.server_state.connections) == count)
        return self.connections


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a test on uvloop, which is what serves in production; on the loop of GATEWAY_TEST_LOOP if given."""
    chosen = os.environ.get("GATEWAY_TEST_LOOP", "uvloop")
    factory = uvloop.new_event_loop if chosen == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def at_rest(count: Any) -> int:
    """Waits until `count()` has begun and grows no more."""
    async with asyncio.timeout(10):
        before = -1
        while not count() or before != count():
            before = count()
            await asyncio.sleep(0.05)
        return before


@asynccontextmanager
async def serving(
    app: Any, *, limits: Limits | None = None, context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Serving]:
    """Serves `app` until the block ends; then every connection is cut and every task is done."""
    config = uvicorn.Config(
        app,
        http=EdgeProtocol,
        port=0,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        ssl_context_factory=(lambda _config, _default: context) if context else None,
        **{"ws": "none", "server_header": False, "timeout_graceful_shutdown": 5, **options},
    )
    config.load()
    server = Server(config)
    server.lifespan = config.lifespan_class(config)
    loop = asyncio.get_running_loop()
    clock, wall = FakeClock(), FakeClock(784111777.0)
    edge = Edge(config, server.lifespan.state, loop, limits=limits, clock=clock, wall_clock=wall)
    server.lifespan.state[EDGE] = edge
    await server.startup()
    running = Serving(server, edge, clock, wall)
    try:
        yield running
    finally:
        for listener in server.servers:
            listener.close()
        for connection in running.connections:
            connection.transport.abort()
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)
        edge.sweeper.stop()
