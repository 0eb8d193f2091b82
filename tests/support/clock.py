"""Time as an argument: it moves when a test says so."""

from __future__ import annotations

import asyncio


class FakeClock:
    """A clock that moves only when told to; calling it reads the time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += seconds


class FakeSleep:
    """An `asyncio.sleep` that ends when the test says so, and remembers how long it was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._sleeping: list[asyncio.Future[None]] = []
        self._changed = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping.append(future)
        self._changed.set()
        await future

    async def asleep(self, count: int = 1) -> None:
        """Waits until so many sleep at once."""
        while sum(not future.done() for future in self._sleeping) < count:
            self._changed.clear()
            await self._changed.wait()

    def wake(self) -> None:
        """Ends every sleep under way."""
        for future in self._sleeping:
            if not future.done():
                future.set_result(None)
        self._sleeping.clear()
