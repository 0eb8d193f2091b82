"""Timeouts of requests: one queue for each duration, one timer for each queue.

Lifetime: process.

Theory. Requests with the same timeout end their patience in the order in which they began, so only the first
of a queue needs a timer. Starting and ending one is an entry in a dictionary, a third of a microsecond; a
timer of the loop for each request costs eight.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timed(Protocol):
    """What has a deadline."""

    def time_out(self) -> None:
        """The time is over."""


class Queue:
    """Everything that waits for at most `patience` seconds."""

    __slots__ = ("_clock", "_ends", "_timer", "patience")

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self.patience = patience
        self._clock = clock
        self._ends: dict[Timed, float] = {}
        """When the time of each is over; in that order."""
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Queue of {len(self._ends)} for {self.patience} s>"

    def start(self, timed: Timed, now: float) -> None:
        """`time_out` of `timed` is called in `patience` seconds."""
        self._ends[timed] = now + self.patience
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.patience, self._pass)

    def running(self, timed: Timed) -> bool:
        """Whether the time of `timed` is neither over nor ended."""
        return timed in self._ends

    def left(self, timed: Timed) -> float:
        """Seconds until the time of `timed` is over; 0 when it is not running."""
        end = self._ends.get(timed)
        return 0.0 if end is None else end - self._clock()

    def end(self, timed: Timed) -> None:
        """It is not, after all."""
        self._ends.pop(timed, None)

    def _pass(self) -> None:
        self._timer = None
        now = self._clock()
        over = []
        for timed, end in self._ends.items():
            if end > now:
                break
            over.append(timed)
        for timed in over:
            del self._ends[timed]
        if self._ends:
            first = next(iter(self._ends.values()))
            self._timer = asyncio.get_running_loop().call_later(max(first - now, 0.001), self._pass)
        for timed in over:
            timed.time_out()


class Deadlines:
    """The queues of one process, by duration."""

    __slots__ = ("_clock", "_queues")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._queues: dict[float, Queue] = {}

    def queue(self, patience: float) -> Queue:
        """The queue of a duration; there are as many as the configuration ever named."""
        queue = self._queues.get(patience)
        if queue is None:
            queue = self._queues[patience] = Queue(patience, self._clock)
        return queue
