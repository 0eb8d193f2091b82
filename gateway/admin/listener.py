"""The admin listener: its own socket, its own small server, the gateway's event loop.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.admin.address import CONNECTIONS, open_public, wanted_address
from gateway.admin.app import admin_app
from gateway.admin.console.sources import Sources, no_edge
from gateway.admin.guard import Guard, HostRule
from gateway.admin.workers import private_app, public_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from gateway.admin.app import Exposition
    from gateway.admin.siblings import Siblings
    from gateway.control.control import Control
    from gateway.telemetry.recorder import Recorder

logger = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds an answer under way may take when the process ends."""


class _Server(uvicorn.Server):
    """uvicorn without a process of its own: no signals, no lifespan, no words about starting and stopping."""

    async def open(self, listening: socket.socket) -> None:
        """Accepts connections from here on."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listening])
        # The date of answers; the loop that keeps it fresh begins a moment later.
        await self.on_tick(0)

    async def close(self) -> None:
        """Lets answers under way finish for a moment, then closes every connection."""
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in tuple(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(tuple(state.tasks), timeout=GRACE)
        for task in tuple(state.tasks):
            task.cancel()
        for connection in tuple(state.connections):
            connection.transport.abort()
        # One turn of the loop, so that the transports are gone when the loop is.
        await asyncio.sleep(0)


class AdminListener:
    """Serves the admin pages of a `Control`. A port that is taken costs the pages, not the gateway.

    With `siblings`, the pages of all workers, and to them our own.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        hosts: Iterable[str] = (),
        metrics: Exposition | None = None,
        recorder: Recorder | None = None,
        edge: Callable[[], Any] = no_edge,
        siblings: Siblings | None = None,
    ) -> None:
        """`metrics`: writes `/metrics`. `recorder`: the last exchanges, for the console. `edge`: the
        lifespan state's `Edge` when there is one. `siblings`: the workers of this gateway when there are
        several.
        """
        self._given = address
        self._hosts = tuple(hosts)
        self._metrics = metrics
        self._recorder = recorder
        self._edge = edge
        self._siblings = siblings
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.joined = False
        """Whether the other workers may ask this one."""
        self.address: str | None = None
        """Where it listens, as `host:port`; None while it does not."""

    def __repr__(self) -> str:
        return f"<AdminListener {self.address or 'off'}>"

    async def start(self, control: Control) -> None:
        """Opens the listener where `address`, else GATEWAY_ADMIN, else the settings say; `off` opens none.

        Never fails: an address that cannot be used is a warning.
        """
        text = wanted_address(self._given, control.loaded.require().settings)
        if not text:
            return
        siblings = self._siblings
        if siblings is not None:
            self.joined = await self._join(siblings, control)
            siblings = siblings if self.joined else None
        public = open_public(text) if self._siblings is None else self._siblings.open_public(text)
        if public is None:
            return
        self.address = public.address
        app = (
            admin_app(control, self._metrics, recorder=self._recorder, edge=self._edge)
            if siblings is None
            else public_app(self._sources(control), siblings, self._metrics)
        )
        guard = Guard(app, HostRule(public.host, self._hosts), several=siblings is not None)
        await self._serve(guard, public.listening)
        logger.info("admin listener on http://%s", self.address)

    def _sources(self, control: Control) -> Sources:
        return Sources(control, self._recorder, self._edge)

    async def _join(self, siblings: Siblings, control: Control) -> bool:
        """Opens our channel to the others; whether that could be done."""
        try:
            opened = siblings.open()
        except OSError as error:
            logger.error("%s: %s; it answers for itself alone", siblings, error)  # noqa: TRY400 - it says all
            return False
        await self._serve(private_app(self._sources(control)), opened)
        return True

    async def _serve(self, app: Any, opened: socket.socket) -> None:
        server = _server(app)
        self._servers.append(server)
        await server.open(opened)
        self._tasks.append(asyncio.get_running_loop().create_task(server.main_loop(), name="gateway-admin"))

    async def stop(self) -> None:
        """Closes the listener and its connections."""
        if self._siblings is not None:
            self._siblings.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The public one first: what it is being asked needs the other.
        for server in reversed(self._servers):
            await server.close()
        self._servers, self._tasks, self.address = [], [], None


class _Protocol(H11Protocol):
    """Without uvicorn's access log: its logger is the gateway's public one."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.access_log = False


def _server(app: Any) -> _Server:
    # `access_log=False` or a log level here would silence the loggers of the whole process.
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
    )
    return _Server(config)
