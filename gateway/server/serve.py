"""One process that serves: uvicorn's server with our listeners, our signals and our way to stop.

Lifetime: process.

Stopping. SIGTERM or SIGINT: readiness says no and every response says `connection: close`, while connections
are still accepted, so that load balancers notice before anybody is turned away. Then the listeners close, and
what is under way has the drain timeout to finish. A second signal ends the patience.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.server import Server

from gateway.http.turn import Turn
from gateway.server.acceptor import SecureListener
from gateway.server.added_ports import AddedPorts
from gateway.server.edge import Edge
from gateway.server.protocol import EdgeProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from gateway.asgi import Gateway
    from gateway.config import GatewaySettings
    from gateway.http.peer import Peer
    from gateway.server.added_ports import Asked

FAREWELL: Final = 0.5
"""Seconds between the first signal and closed listeners."""
_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class EdgeServer(Server):
    """Serves `gateway` on sockets that are already open."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        announce: Callable[[Gateway], None] | None = None,
        asked: Asked | None = None,
    ) -> None:
        """`asked`: the addresses a configuration wants, for what a reload adds; None: that is not opened."""
        config = uvicorn.Config(
            gateway,
            http=EdgeProtocol,
            ws="none",
            interface="asgi3",
            lifespan="on",
            log_config=None,
            proxy_headers=False,  # the gateway decides whom to believe
            server_header=False,  # and says its own name
        )
        super().__init__(config)
        self.gateway = gateway
        self.exit_code = 0
        self._announce = announce
        self._asked = asked
        self._later: list[socket.socket] = []
        """Opened by reloads."""
        self._hurry: asyncio.Event | None = None

    def _settings(self) -> GatewaySettings:
        return self.gateway.control.snapshot.config.settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then accepts."""
        self._hurry = asyncio.Event()
        await super().startup([])  # Which ports speak TLS is known when the application has started.
        for each in sockets or ():
            self.servers.append(await self._accept_on(each))
        if self._asked is not None:
            control = self.gateway.control
            control.ports = AddedPorts(self._asked, control.snapshot.config, self._accept_later)
        if self._announce is not None and not self.should_exit:
            self._announce(self.gateway)

    async def _accept_on(self, listening: socket.socket) -> Any:
        """Begins to accept, in plain text or in TLS as the configuration has it for the port."""
        control, loop = self.gateway.control, asyncio.get_running_loop()
        port = listening.getsockname()[1]

        def protocol(peer: Peer | None = None) -> asyncio.Protocol:
            made = EdgeProtocol(self.config, self.server_state, self.lifespan.state, loop)
            made.peer = peer
            return made

        if port not in control.tls.ports:
            return await loop.create_server(protocol, sock=listening, backlog=self.config.backlog)
        return SecureListener(
            listening,
            protocol,
            table=lambda: control.tls.table(port),
            patience=lambda: self._settings().spec.timeouts.tls_handshake,
            handshakes=control.tls.handshakes,
        )

    async def _accept_later(self, listening: socket.socket) -> None:
        if self.should_exit:
            listening.close()
            return
        self._later.append(listening)
        self.servers.append(await self._accept_on(listening))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, then ends the application."""
        assert self._hurry is not None
        self.gateway.control.drain()
        Edge.of(self.config, self.lifespan.state, None).draining = True
        if not self.force_exit:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), FAREWELL)
        self.config.timeout_graceful_shutdown = self._settings().spec.timeouts.drain  # type: ignore[assignment]
        await super().shutdown([*(sockets or ()), *self._later])
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # one turn of the loop, in which their transports close
        if self.force_exit:
            self._leave()

    def _leave(self) -> None:
        """Ends the process without waiting for its threads, of which one may look at files for seconds."""
        Turn.of(asyncio.get_running_loop()).flush()
        self.gateway.telemetry.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.exit_code)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals while the server runs; unlike uvicorn, we do not raise them again at the end."""
        loop = asyncio.get_running_loop()
        for number in _END_SIGNALS:
            loop.add_signal_handler(number, self._end, number)
        try:
            yield
        finally:
            for number in _END_SIGNALS:
                loop.remove_signal_handler(number)

    def _end(self, number: int) -> None:
        if not self.should_exit:
            self.should_exit = True
            return
        self.force_exit = True
        self.exit_code = 128 + number
        if self._hurry is not None:
            self._hurry.set()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        for task in tuple(self.server_state.tasks):
            task.cancel()


def serve(
    gateway: Gateway,
    sockets: list[socket.socket],
    announce: Callable[[Gateway], None] | None = None,
    asked: Asked | None = None,
) -> int:
    """Serves until a signal ends it. Gives the exit code: 0 after a drain, 3 when it could not start."""
    server = EdgeServer(gateway, announce=announce, asked=asked)
    try:
        server.run(sockets)
    except SystemExit as left:  # uvicorn's answer to a lifespan that failed
        return left.code if isinstance(left.code, int) else 3
    except KeyboardInterrupt:  # before the signals were ours
        return 130
    return server.exit_code
