"""How many retries there may be, and what becomes of those there may not."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from support.scripted import (
    Scripted,
    cluster,
    lines,
    many,
    reply,
    retrying,
    rule,
    scripted,
    status,
)
from support.stage import service, stage
from support.waiting import until


@pytest.mark.parametrize(("connections", "count"), [(1, 260), (2, 260), (4, 260), (16, 400), (64, 600)])
def test_while_everything_fails_retries_are_a_fifth(tmp_path: Path, connections: int, count: int) -> None:
    """The budget that is on by default: 20 % of the requests, what the reserve has paid for included.

    It holds whatever the machine makes of the concurrency. The share of what is in flight does not: it lets
    three retries pass beside any number of requests, so a few of these that are slow to come get more.
    """

    async def main() -> None:
        backends = [scripted(reply(503)) for _ in range(2)]
        async with backends[0].running(), backends[1].running():
            config = service("reviews", *(backend.port for backend in backends)) + retrying(
                "attempts: 3, retryOn: 5xx, backoff: 1ms"
            )
            async with stage(tmp_path, config) as gateway:
                statuses = await many(gateway, count, connections=connections)
                assert statuses == [503] * count
                tries = Counter(asked.number for backend in backends for asked in backend.asked)
                assert tries["1"] == count
                assert count < tries.total() <= 1.2 * count
                assert tries.keys() <= {"1", "2", "3", "4"}
                if connections == 1:
                    assert tries.total() >= 1.17 * count

    asyncio.run(main())


def test_the_limit_over_time_can_be_turned_off_alone(tmp_path: Path) -> None:
    """Then one request at a time has all its retries, as under Envoy's budget."""

    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: 5xx, backoff: 1ms")
            off = "  retryBudget: {overTime: {enabled: false}}"
            async with stage(tmp_path, config, settings=off) as gateway:
                await many(gateway, 20, connections=1)
                assert len(backend.asked) == 20 * 4

    asyncio.run(main())


def test_a_retry_budget_of_a_rule_is_istios_alone(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + retrying("attempts: 3, retryOn: 5xx, backoff: 1ms")
                + rule("reviews", "{retryBudget: {}}")
            )
            async with stage(tmp_path, config) as gateway:
                await many(gateway, 20, connections=1)
                assert len(backend.asked) == 20 * 4
                assert cluster(gateway).pool.retries_left(0) is None

    asyncio.run(main())


def test_an_occasional_failure_is_repeated_until_it_is_none(tmp_path: Path) -> None:
    """One request in fifteen needs three retries; few requests, one at a time."""

    async def main() -> None:
        backend = Scripted(
            lambda asked: reply(503 if asked.target == "/bad" and asked.number != "4" else 200)
        )
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: 5xx, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                for number in range(60):
                    assert status(await gateway.get("/good" if number % 15 else "/bad")) == 200
                assert len(backend.asked) == 60 + 4 * 3

    asyncio.run(main())


def test_a_retry_that_the_requests_have_not_earned_is_refused_and_said_so(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(503))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 1, retryOn: 5xx, backoff: 1ms")
            reserve = "  retryBudget: {overTime: {reserve: 1}}"
            async with stage(tmp_path, config, settings=reserve) as gateway:
                assert cluster(gateway).pool.retries_left(0) == 1
                assert [status(await gateway.get()) for _ in range(2)] == [503, 503]
                assert [told["response_flags"] for told in lines(gateway)] == ["URX", "UO"]
                assert len(backend.asked) == 3
                assert cluster(gateway).pool.retries_left(0) == 0

    asyncio.run(main())


def test_a_refused_retry_passes_the_failure_on_and_is_flagged(tmp_path: Path) -> None:
    """`maxRetries: 1`: the second of two that fail together is not repeated."""

    async def main() -> None:
        backend = scripted(reply(503), reply(503), reply(200))
        async with backend.running():
            config = (
                service("reviews", backend.port)
                + retrying("attempts: 2, retryOn: 5xx, backoff: 100ms")
                + rule("reviews", "{connectionPool: {http: {maxRetries: 1}}}")
            )
            async with stage(tmp_path, config) as gateway:
                backend.gate.clear()
                both = asyncio.gather(gateway.get(), gateway.get())
                await until(lambda: backend.under_way == 2)
                backend.gate.set()
                assert sorted(map(status, await both)) == [200, 503]
                flags = {json_line["response_flags"] for json_line in lines(gateway)}
                assert flags == {"-", "UO"}

    asyncio.run(main())
