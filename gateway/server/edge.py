"""What the connections of one process share: application, limits, deadlines, refusals, standing headers.

Lifetime: process. It lives in the application's lifespan state: one for all listeners of a server.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from gateway.http.turn import Turn
from gateway.server.limits import Limits
from gateway.server.refusal import Refusals
from gateway.server.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from uvicorn import Config

    from gateway.config import GatewaySettings
    from gateway.server.cycle import Cycle
    from gateway.server.stream import Stream

    Direct = Callable[[Stream], Coroutine[Any, Any, None]]
    Application = Callable[..., Awaitable[None]]

EDGE: Final = "gateway.edge"
"""Key of the `Edge` in the lifespan state; `.refusals` of it is what a console shows."""
SETTINGS: Final = "gateway.settings"
"""Key under which the lifespan state may hold a function that returns the GatewaySettings in force; it is
asked for each new connection, so a reload counts. The defaults hold while there is none."""


class Edge:
    """One process's side of all client connections."""

    __slots__ = (
        "_held",
        "_limits",
        "_settings",
        "_wall_clock",
        "active",
        "app",
        "app_state",
        "asgi",
        "connections",
        "date_line",
        "direct",
        "draining",
        "extra_lines",
        "loop",
        "refusals",
        "root_path",
        "sends_date",
        "server_line",
        "sweeper",
        "turn",
    )

    def __init__(
        self,
        config: Config,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.loop = loop
        self.turn = Turn.of(loop)
        self.app: Application = config.loaded_app
        self.direct: Direct | None = getattr(config.loaded_app, "direct", None)
        """An application of our own kind, which takes streams; None: `app` is called the ASGI way."""
        self.app_state = app_state
        self.asgi = {"version": config.asgi_version, "spec_version": "2.3"}
        self.root_path = config.root_path
        self.refusals = Refusals()
        self.connections = 0
        self.active = 0
        """Requests in progress."""
        self.draining = False
        """Every response says `connection: close`; new connections are still served."""
        self._limits = limits or Limits()
        self._settings: GatewaySettings | None = None
        self._wall_clock = wall_clock
        self._held: list[Cycle] = []
        lines = [
            (name.lower(), b"%b: %b\r\n" % (name.lower(), value)) for name, value in config.encoded_headers
        ]
        self.server_line = b"".join(line for name, line in lines if name == b"server")
        """For responses without one: the settings' `serverName`, else what uvicorn is told; may be empty."""
        self.extra_lines = b"".join(line for name, line in lines if name not in {b"server", b"date"})
        self.sends_date = config.date_header
        self.date_line = b""
        """With its line end; for responses that have no date of their own."""
        self.sweeper = Sweeper(loop, self._tick, clock)
        if config.limit_concurrency is not None:
            self.app = self._at_most(config.limit_concurrency, self.app)
            self.direct = None

    def __repr__(self) -> str:
        return f"<Edge {self.connections} connections, {self.active} requests, {self.refusals}>"

    @classmethod
    def of(cls, config: Config, app_state: dict[str, Any], loop: asyncio.AbstractEventLoop | None) -> Edge:
        """The edge of this lifespan state, made with its first connection."""
        edge = app_state.get(EDGE)
        if edge is None:
            edge = app_state[EDGE] = cls(config, app_state, loop or asyncio.get_running_loop())
        assert isinstance(edge, Edge)
        return edge

    def follow_settings(self) -> Limits:
        """What a connection accepted now has to obey; from here on the settings' server name is ours."""
        ask = self.app_state.get(SETTINGS)
        if ask is not None and (settings := ask()) is not self._settings:
            self._settings, self._limits = settings, Limits.of(settings)
            name = settings.spec.server_name.encode("latin-1")
            self.server_line = b"server: %b\r\n" % name if name else b""
        return self._limits

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._wall_clock()

    def hold(self, cycle: Cycle) -> None:
        """Keeps the response head of `cycle` for its first body piece, until this turn of the loop ends."""
        if not self._held:
            self.loop.call_soon(self._flush)
        self._held.append(cycle)

    def _flush(self) -> None:
        held, self._held = self._held, []
        for cycle in held:
            cycle.flush()

    def _tick(self) -> None:
        if self.sends_date:
            self.date_line = b"date: %b\r\n" % formatdate(self._wall_clock(), usegmt=True).encode()

    def _at_most(self, limit: int, app: Application) -> Application:
        """`app`, but 503 beyond `limit` requests: uvicorn's `--limit-concurrency`, idle clients uncounted."""

        async def limited(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if self.active <= limit:
                await app(scope, receive, send)
                return
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"Service Unavailable"})

        return limited


def socket_name(name: Any) -> tuple[str, int | None] | None:
    """ASGI's form of a socket's name: host and port; path and None on a unix socket; None if nameless."""
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (str(name), None) if name else None
