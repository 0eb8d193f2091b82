"""Waiting for what only cancelling ends: a connection, a verdict, a delay.

Lifetime: request (a plain function).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange

T = TypeVar("T")


async def patient(exchange: Exchange, downstream: Downstream, begin: Callable[[], Awaitable[T]]) -> T:
    """Waits for what only cancelling ends; the client's leaving does, and the timeout."""
    if not exchange.watched:
        exchange.watched = True
        downstream.on_disconnect(exchange.client_gone)
    if downstream.resume is not None:
        await asyncio.sleep(0)  # From here on a task runs us, so that it can be cancelled.
    _heed(exchange)
    task = exchange.task = asyncio.current_task()
    try:
        return await begin()
    except asyncio.CancelledError:
        if task is not None and exchange.stopped() is not None:
            task.uncancel()
            _heed(exchange)
        raise
    finally:
        exchange.task = None


def _heed(exchange: Exchange) -> None:
    """Raises what ends the exchange."""
    stop = exchange.stopped()
    if stop is not None:
        try:
            raise stop from None
        finally:
            del stop  # Its traceback has this frame: only the collector would free them.
