"""The time limit for silence inside a response (GatewaySettings `timeouts.streamIdle`).

Lifetime: request (one response). Made only for a response that does not come whole at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.flags import Flag
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.exchange.deadlines import Queue
    from gateway.exchange.exchange import Exchange


class Stalled(UpstreamError):  # noqa: N818 - an event, not an error
    """Neither side sent a byte for too long while the upstream's were awaited."""

    def __init__(self) -> None:
        super().__init__(Flag.STREAM_IDLE_TIMEOUT, "stream idle timeout", sent=True)

    def details(self, *, started: bool = False) -> str:  # noqa: ARG002 - there is one word for both
        """Envoy's."""
        return "stream_idle_timeout"


class Stall:
    """Ends an exchange whose upstream falls silent. Looks once a `patience`, so that a piece costs nothing:
    the silence it ends has lasted between one patience and two.
    """

    __slots__ = ("_clock", "_exchange", "_moved", "_queue", "waiting")

    def __init__(self, exchange: Exchange, queue: Queue, clock: Callable[[], float]) -> None:
        self.waiting = False
        """The upstream's next piece is awaited; otherwise the client has to take the last one."""
        self._exchange = exchange
        self._queue = queue
        self._clock = clock
        self._moved = -1
        queue.start(self, clock())

    def time_out(self) -> None:
        """Called each patience: nothing may have moved since the last time."""
        exchange = self._exchange
        moved = exchange.bytes_sent + exchange.bytes_received
        if self.waiting and moved == self._moved:
            exchange.stall()
            return
        self._moved = moved if self.waiting else -1
        self._queue.start(self, self._clock())

    def end(self) -> None:
        """The response is over."""
        self._queue.end(self)
