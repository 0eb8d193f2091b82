"""The time limit of one attempt (Istio `perTryTimeout`).

Lifetime: request (one attempt). Made only where a route has such a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exchange.retry import TryTimedOut

if TYPE_CHECKING:
    from gateway.exchange.deadlines import Queue
    from gateway.exchange.exchange import Exchange


class Trial:
    """Runs from when the whole request was sent until the response head comes."""

    __slots__ = ("_exchange", "_queue")

    def __init__(self, exchange: Exchange, queue: Queue, now: float) -> None:
        self._exchange = exchange
        self._queue = queue
        queue.start(self, now)

    def time_out(self) -> None:
        """The attempt fails, and may be repeated; once the response goes downstream it may take its time."""
        exchange, connection = self._exchange, self._exchange.connection
        if not exchange.committed and exchange.leased and connection is not None and not connection.complete:
            exchange.leased = False
            connection.abort(TryTimedOut())

    def end(self) -> None:
        """The attempt is over."""
        self._queue.end(self)
