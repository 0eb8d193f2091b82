"""What is put off to the end of a turn of the loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest

from gateway.http.turn import MOST, Turn


def test_records_come_before_writes_and_all_in_order() -> None:
    """Who sees an answer can see what is told of its request."""

    async def main() -> None:
        turn, done = Turn.of(asyncio.get_running_loop()), []
        turn.write(done.append, b"w1")
        turn.record(done.append, "r1")
        turn.write(done.append, b"w2")
        turn.record(done.append, "r2")
        assert done == []
        await asyncio.sleep(0)
        assert done == ["r1", "r2", b"w1", b"w2"]

    asyncio.run(main())


def test_a_loop_has_one() -> None:
    async def main() -> Turn:
        loop = asyncio.get_running_loop()
        assert Turn.of(loop) is Turn.of(loop)
        return Turn.of(loop)

    assert asyncio.run(main()) is not asyncio.run(main())


def test_it_does_not_keep_a_loop_alive() -> None:
    """Loops come and go in tests, and in programs that start their own."""
    loop = asyncio.new_event_loop()
    Turn.of(loop)
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()

    assert gone() is None


def test_many_writes_do_not_wait_for_the_end() -> None:
    """A long turn does not hold the first answers back until its last event."""

    async def main() -> None:
        turn, done = Turn.of(asyncio.get_running_loop()), []
        for number in range(MOST):
            assert done == []
            turn.write(done.append, b"%d" % number)
        assert len(done) == MOST
        turn.write(done.append, b"last")
        assert len(done) == MOST
        await asyncio.sleep(0)
        assert done[-1] == b"last"

    asyncio.run(main())


def test_what_is_put_off_at_the_end_is_not_forgotten() -> None:
    """A write may lead to another one; that is of the next turn."""

    async def main() -> None:
        turn, done = Turn.of(asyncio.get_running_loop()), []

        def again(data: bytes) -> None:
            done.append(data)
            turn.write(done.append, b"second")

        turn.write(again, b"first")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert done == [b"first", b"second"]

    asyncio.run(main())


def test_one_that_fails_does_not_take_others_along(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the rest is done."""

    async def main() -> None:
        turn, done = Turn.of(asyncio.get_running_loop()), []

        def fail(_: object) -> None:
            raise OSError("no")

        turn.record(fail, None)
        turn.record(done.append, "told")
        turn.write(fail, b"")
        turn.write(done.append, b"sent")
        with caplog.at_level(logging.ERROR, "gateway"):
            await asyncio.sleep(0)
        assert done == ["told", b"sent"]
        assert len(caplog.records) == 2

    asyncio.run(main())


def test_a_loop_that_is_over_is_not_kept() -> None:
    """Programs that run one loop after another would keep them all."""

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        Turn.of(loop).write(len, b"")
        await asyncio.sleep(0)
        return weakref.ref(loop)

    over = asyncio.run(main())
    gc.collect()
    assert over() is None
