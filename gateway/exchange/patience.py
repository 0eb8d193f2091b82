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
    if (stop := exchange.stopped()) is not None:
        raise stop
    task = exchange.task = asyncio.current_task()
    try:
        return await begin()
    except asyncio.CancelledError:
        if task is not None and (stop := exchange.stopped()) is not None:
            task.uncancel()
            raise stop from None
        raise
    finally:
        exchange.task = None
