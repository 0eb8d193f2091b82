"""Deadlines are kept late by at most a second, never early."""

from __future__ import annotations

import asyncio

from support.clock import FakeClock

from gateway.server.sweeper import INTERVAL, NEVER, Sweeper


class Patient:
    """Remembers when its patience ended."""

    def __init__(self, clock: FakeClock, deadline: float = NEVER) -> None:
        self.clock = clock
        self.deadline = deadline
        self.expired: list[float] = []

    def expire(self) -> None:
        self.expired.append(self.clock.now)
        self.deadline = NEVER


def test_a_deadline_is_never_early_and_at_most_one_interval_late() -> None:
    """Whenever in the second it was set."""

    async def main() -> None:
        clock = FakeClock()
        sweeper = Sweeper(asyncio.get_running_loop(), lambda: None, clock)
        every = []
        for step in range(60):
            clock.now = 1000 + step / 10
            if step % 10 == 0:
                sweeper.sweep()
            each = Patient(clock, sweeper.after(2.0))
            sweeper.watch(each)
            every.append((clock.now, each))
        for step in range(600, 1000):
            clock.now = 1000 + step / 100
            if step % 100 == 0:
                sweeper.sweep()
        for began, each in every:
            (ended,) = each.expired
            assert 2.0 <= ended - began <= 2.0 + 2 * INTERVAL
        sweeper.stop()

    asyncio.run(main())


def test_it_sleeps_while_there_is_nothing_to_watch() -> None:
    """And reads the clock anew when there is."""

    async def main() -> None:
        clock, ticks = FakeClock(), []
        sweeper = Sweeper(asyncio.get_running_loop(), lambda: ticks.append(clock.now), clock)
        assert sweeper._handle is None
        clock.now = 5000.0
        each = Patient(clock)
        sweeper.watch(each)
        assert (sweeper.now, ticks) == (5000.0, [5000.0])
        sweeper.forget(each)
        sweeper._handle.cancel()
        sweeper._pass()
        assert sweeper._handle is None
        assert repr(sweeper) == "<Sweeper of 0 at 5000.0>"

    asyncio.run(main())


def test_what_was_forgotten_does_not_expire() -> None:
    """Nor does what has no deadline."""

    async def main() -> None:
        clock = FakeClock()
        sweeper = Sweeper(asyncio.get_running_loop(), lambda: None, clock)
        gone, patient = Patient(clock, 1000.0), Patient(clock)
        sweeper.watch(gone)
        sweeper.watch(patient)
        sweeper.forget(gone)
        clock.now = 1e9
        sweeper.sweep()
        assert gone.expired == patient.expired == []
        sweeper.stop()

    asyncio.run(main())
