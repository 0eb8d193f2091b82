"""A wait ends with its time, or at once when somebody ends it."""

from __future__ import annotations

import asyncio

from gateway.exchange.pause import Pause

HOUR = 3600.0


def test_a_wait_takes_its_time() -> None:
    assert asyncio.run(Pause().wait(0.001)) is True


def test_a_wait_can_be_ended() -> None:
    """Also twice in one turn of the loop."""

    async def main() -> None:
        pause = Pause()
        loop = asyncio.get_running_loop()
        loop.call_soon(pause.end)
        loop.call_soon(pause.end)
        assert await pause.wait(HOUR) is False

    asyncio.run(main())


def test_a_wait_that_was_ended_before_does_not_begin() -> None:
    pause = Pause()
    pause.end()
    assert asyncio.run(pause.wait(HOUR)) is False


def test_a_cancelled_wait_leaves_no_timer() -> None:
    async def main() -> None:
        pause = Pause()
        task = asyncio.ensure_future(pause.wait(HOUR))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        pause.end()

    asyncio.run(main())
