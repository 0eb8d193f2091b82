"""The admin listener: its own socket, its own small server, the gateway's event loop.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.admin.app import admin_app
from gateway.admin.console.sources import no_edge
from gateway.admin.guard import Guard, HostRule
from gateway.config.settings import host_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.admin.app import Exposition
    from gateway.control.control import Control
    from gateway.telemetry.recorder import Recorder

logger = logging.getLogger(__name__)

CONNECTIONS = 100
"""Connections at a time; further ones are answered 503."""

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
    """Serves the admin pages of a `Control`. A port that is taken costs the pages, not the gateway."""

    def __init__(
        self,
        *,
        address: str | None = None,
        hosts: Iterable[str] = (),
        metrics: Exposition | None = None,
        recorder: Recorder | None = None,
        edge: Callable[[], Any] = no_edge,
    ) -> None:
        """`metrics`: writes `/metrics`. `recorder`: the last exchanges, for the console. `edge`: the
        lifespan state's `Edge` when there is one.
        """
        self._given = address
        self._hosts = tuple(hosts)
        self._metrics = metrics
        self._recorder = recorder
        self._edge = edge
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.address: str | None = None
        """Where it listens, as `host:port`; None while it does not."""

    def __repr__(self) -> str:
        return f"<AdminListener {self.address or 'off'}>"

    async def start(self, control: Control) -> None:
        """Opens the listener where `address`, else GATEWAY_ADMIN, else the settings say; `off` opens none.

        Never fails: an address that cannot be used is a warning.
        """
        settings = control.loaded.require().settings.spec
        text = self._given or os.environ.get("GATEWAY_ADMIN") or settings.admin
        if text.lower() == "off":
            return
        try:
            host, port = host_port(text)
            opened = _open(host, port)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            logger.warning(
                "no admin listener on %s: %s. GATEWAY_ADMIN or `admin` of GatewaySettings can name another",
                text,
                why,
            )
            return
        self.address = f"[{host}]" if ":" in host else host
        self.address += f":{opened.getsockname()[1]}"
        rule = HostRule(host, self._hosts)
        if not rule.local:
            logger.warning("the admin listener on %s can be reached from other machines", text)
        app = Guard(admin_app(control, self._metrics, recorder=self._recorder, edge=self._edge), rule)
        self._server = _server(app)
        await self._server.open(opened)
        self._task = asyncio.get_running_loop().create_task(self._server.main_loop(), name="gateway-admin")
        logger.info("admin listener on http://%s", self.address)

    async def stop(self) -> None:
        """Closes the listener and its connections."""
        if self._task is None or self._server is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._server.close()
        self._server, self._task, self.address = None, None, None


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


def _open(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(CONNECTIONS)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened
