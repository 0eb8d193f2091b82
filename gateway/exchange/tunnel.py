"""WebSockets: the handshake's place among the attempts, and what follows its 101.

Lifetime: `Tunnels` is the process's, the others are a request's.

The handshake is a request like any other, so policies, routes, retries and timeouts are for it, and only for
it. After the 101 bytes are passed on unseen (`gateway.exchange.splice`); the exchange ends when both sides
are gone, and is recorded then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.exchange.exchange import ClientGone
from gateway.exchange.relay import operated
from gateway.exchange.splice import Splice
from gateway.http.flags import Flag
from gateway.upstream.errors import Stalled, UpstreamError, terminated

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.exchange.deadlines import Deadlines, Queue
    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.exchange.replay import Replay
    from gateway.http.headers import Headers
    from gateway.upstream import Connection, ResponseHead

SWITCHED = 101
HALF_OPEN = 10.0
"""Seconds of silence for which one direction outlives the other. Hardly anybody half closes a WebSocket: a
client that is gone looks the same."""


class Tunnels:
    """The tunnels of one process."""

    __slots__ = ("clock", "deadlines", "most", "open", "taken")

    def __init__(self, deadlines: Deadlines, clock: Callable[[], float]) -> None:
        self.deadlines = deadlines
        self.clock = clock
        self.open = 0
        self.taken = 0
        """Those that are being opened, too."""
        self.most = 0

    def begin(self) -> Handshake:
        """A place for one more. UpstreamError (UO) beyond `limits.tunnels`."""
        if self.taken >= self.most:
            raise Full
        self.taken += 1
        return Handshake(self)


class Full(UpstreamError):  # noqa: N818 - a state, not an error
    """There are as many tunnels as there may be."""

    def __init__(self) -> None:
        super().__init__(Flag.UPSTREAM_OVERFLOW, "overflow", cause="limits.tunnels are open")

    def details(self, *, started: bool = False) -> str:  # noqa: ARG002 - it never has
        """Ours; Envoy has no such limit."""
        return "tunnel_limit_reached"


class Silent(Stalled):
    """Nobody has said anything for `timeouts.tunnelIdle`."""

    def details(self, *, started: bool = False) -> str:  # noqa: ARG002 - it always has
        """A word of its own: another setting is at work than in other streams."""
        return "tunnel_idle_timeout"


class Handshake:
    """Stands where the upload of a request with a body stands (`gateway.exchange.upload`): it has none."""

    __slots__ = ("_tunnels",)

    complete = untouched = replayable = True
    replay: Replay | None = None

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    def attach(self, connection: Connection) -> None:
        """The head went out on `connection`."""
        connection.ask_to_switch()

    def pause(self) -> None:
        """There will be another attempt."""

    def forget(self) -> None:
        """There will be none."""

    def close(self) -> None:
        """The exchange is over."""
        self._tunnels.taken -= 1


class Tunnel:
    """One that is open."""

    __slots__ = ("_ended", "_exchange", "_moved", "_queue", "_tunnels", "splice")

    def __init__(self, exchange: Exchange, tunnels: Tunnels) -> None:
        self._exchange = exchange
        self._tunnels = tunnels
        self._ended = asyncio.get_running_loop().create_future()
        self._moved = 0
        patience = exchange.snapshot.config.settings.spec.timeouts.tunnel_idle
        self._queue: Queue = tunnels.deadlines.queue(patience)
        self._queue.start(self, tunnels.clock())
        self.splice = Splice(self._over, self._half_open)

    async def ended(self) -> None:
        """Returns when both sides are gone."""
        await self._ended

    def end(self) -> None:
        """Ends what is left of it, and tells the exchange how it went. Any number of times."""
        self._queue.end(self)
        self.splice.abort()

    def time_out(self) -> None:
        """Called each patience, for as long as the tunnel lasts."""
        moved = self.splice.moved
        if moved == self._moved:
            if self.splice.first is None:
                self._exchange.ended = Silent()
            self.splice.abort()
            return
        self._moved = moved
        self._queue.start(self, self._tunnels.clock())

    def _half_open(self) -> None:
        self._queue.end(self)
        self._queue = self._tunnels.deadlines.queue(min(HALF_OPEN, self._queue.patience))
        self._moved = self.splice.moved
        self._queue.start(self, self._tunnels.clock())

    def _over(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


async def run(
    exchange: Exchange, downstream: Downstream, head: ResponseHead, server: bytes, tunnels: Tunnels
) -> None:
    """Answers 101 and passes bytes on until both sides are gone. UpstreamError when the upstream cut it off,
    or nobody has said anything for too long; ClientGone when nobody waits for the 101.
    """
    connection = exchange.connection
    assert connection is not None
    if connection.closed:
        raise terminated(sent=True)
    _stop_clocks(exchange)
    given = downstream.switch(_headers(exchange, head, server))
    if given is None:
        raise ClientGone
    exchange.committed = True
    tunnel = Tunnel(exchange, tunnels)
    client, upstream = tunnel.splice.client, tunnel.splice.upstream
    transport, early = connection.hand_over()
    upstream.take(transport)
    transport, ahead = given
    client.take(transport)
    if transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]:
        client.pause_writing()  # The 101 has filled it; that was told to the protocol before.
    tunnels.open += 1
    try:
        for end, data in ((upstream, early), (client, ahead)):
            if data:
                end.data_received(data)
        await tunnel.ended()
        exchange.complete = True
        _conclude(exchange, tunnel.splice)
    except asyncio.CancelledError:
        exchange.details = "tunnel_drained"
        raise
    finally:
        tunnels.open -= 1
        exchange.bytes_received, exchange.bytes_sent = client.moved, upstream.moved
        tunnel.end()


def _headers(exchange: Exchange, head: ResponseHead, server: bytes) -> Headers:
    """As `relay.respond` makes them, operations of the route applied; like Envoy without the time it took."""
    headers = head.headers
    if server:
        headers.append((b"server", server))
    if exchange.set_cookie is not None:
        headers.append((b"set-cookie", exchange.set_cookie))
    exchange.status = head.status
    exchange.response_head = head.size
    return operated(exchange, headers)


def _stop_clocks(exchange: Exchange) -> None:
    """The timeouts of the route were the handshake's."""
    if exchange.deadline is not None:
        exchange.deadline.end(exchange)
    if exchange.trial is not None:
        exchange.trial.end()
        exchange.trial = None


def _conclude(exchange: Exchange, splice: Splice) -> None:
    """Who ended it: UpstreamError unless it was one of the two who are served."""
    if exchange.ended is not None:
        raise exchange.ended
    if splice.first is splice.client:
        exchange.flags = (*exchange.flags, Flag.CLIENT_GONE)
        exchange.details = "downstream_remote_disconnect"
    elif splice.failure is not None:
        raise terminated(sent=True)
