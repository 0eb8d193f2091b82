"""A wait that can be cut short: the back-off before a retry, the delay of a fault.

Lifetime: request. The client's leaving, the route's timeout and a stuck upload end it; whoever waits then
asks the exchange which of them it was.
"""

from __future__ import annotations

import asyncio


class Pause:
    """One wait. `end` may come before, during or after it."""

    __slots__ = ("_ended", "_waiter")

    def __init__(self) -> None:
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> bool:
        """Waits; whether the whole time passed."""
        if self._ended:
            return False
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return not self._ended

    def end(self) -> None:
        """There is nothing to wait for any more."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
