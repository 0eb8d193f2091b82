"""Deadlines of all connections, looked at once a second.

Lifetime: process.

A timer for each request costs 8 us; a second more of patience costs nothing. So a connection
writes down when its patience ends, and one timer a process compares.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

INTERVAL: Final = 1.0
"""Seconds between two passes: how late a deadline may be kept, never how early."""
NEVER: Final = inf


class Expiring(Protocol):
    """What has a deadline."""

    deadline: float
    """On the sweeper's clock; NEVER when nothing is awaited of the peer."""

    def expire(self) -> None:
        """The deadline has passed."""


class Sweeper:
    """Calls `expire` on what is overdue. Sleeps while there is nothing to watch."""

    __slots__ = ("_clock", "_handle", "_loop", "_on_tick", "_watched", "awake", "now")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_tick: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._on_tick = on_tick
        self._watched: set[Expiring] = set()
        self._handle: asyncio.TimerHandle | None = None
        self.now = clock()
        """The clock at the last pass; reading it costs no system call."""
        self.awake = 0.0
        """Seconds of passes, without those for which the process got no turn: that is no fault of a peer."""

    def __repr__(self) -> str:
        return f"<Sweeper of {len(self._watched)} at {self.now:.1f}>"

    def after(self, patience: float) -> float:
        """The deadline `patience` seconds ahead; up to INTERVAL more, since `now` is of the past."""
        return self.now + patience + INTERVAL

    def watch(self, connection: Expiring) -> None:
        """Takes `connection` into the passes."""
        if self._handle is None:
            self.now = self._clock()
            self._on_tick()
            self._handle = self._loop.call_later(INTERVAL, self._pass)
        self._watched.add(connection)

    def forget(self, connection: Expiring) -> None:
        """Takes it out again."""
        self._watched.discard(connection)

    def sweep(self) -> None:
        """One pass."""
        before, now = self.now, self._clock()
        self.now = now
        self.awake += min(now - before, 2 * INTERVAL)
        self._on_tick()
        for connection in [each for each in self._watched if each.deadline <= now]:
            connection.expire()

    def stop(self) -> None:
        """No further passes."""
        self._watched.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _pass(self) -> None:
        self._handle = None
        self.sweep()
        if self._watched:
            self._handle = self._loop.call_later(INTERVAL, self._pass)
