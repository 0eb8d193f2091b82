"""Timeouts that share a timer."""

from __future__ import annotations

import asyncio

from gateway.exchange.deadlines import Deadlines


class Waiting:
    def __init__(self, name: str, over: list[str]) -> None:
        self.name = name
        self.over = over
        self.done = asyncio.Event()

    def time_out(self) -> None:
        self.over.append(self.name)
        self.done.set()


def test_each_is_timed_out_in_turn_and_those_that_end_are_not() -> None:
    async def main() -> None:
        over: list[str] = []
        clock = asyncio.get_running_loop().time
        queue = Deadlines(clock).queue(0.02)
        first, ended, last = (Waiting(name, over) for name in ("first", "ended", "last"))
        for each in (first, ended, last):
            queue.start(each, clock())
        queue.end(ended)
        assert queue.running(last)

        await last.done.wait()

        assert over == ["first", "last"]
        assert not queue.running(last)

    asyncio.run(main())


def test_one_that_starts_later_ends_later_by_its_own_start() -> None:
    async def main() -> None:
        over: list[str] = []
        now = [0.0]
        queue = Deadlines(lambda: now[0]).queue(0.01)
        early, late = Waiting("early", over), Waiting("late", over)
        queue.start(early, 0.0)
        queue.start(late, 5.0)
        now[0] = 1.0
        await early.done.wait()
        assert over == ["early"]
        now[0] = 6.0
        queue._pass()
        assert over == ["early", "late"]

    asyncio.run(main())


def test_a_duration_has_one_queue() -> None:
    deadlines = Deadlines(lambda: 0.0)

    assert deadlines.queue(1.0) is deadlines.queue(1.0)
    assert deadlines.queue(1.0) is not deadlines.queue(2.0)
