"""Shared buckets over a real Redis: names, what is remembered, what is counted."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.clock import FakeClock
from support.redis import Redis

from gateway.config.rate_store import RedisStore
from gateway.security.rate_bucket import MOST_KEYS, Quota, StoreError
from gateway.security.rate_redis import REMEMBERED, RedisBuckets
from gateway.security.redis_line import Line


@asynccontextmanager
async def buckets(server: Redis, folder: Path, clock: FakeClock) -> AsyncIterator[RedisBuckets]:
    settings = RedisStore.model_validate({"address": server.address, "timeout": "1s", "prefix": "edge"})
    line = Line(settings, folder, rng=random.Random(1))
    line.start()
    await line.tried(10)
    try:
        yield RedisBuckets(line, clock=clock)
    finally:
        await line.stop()


def test_keys_are_named_bounded_and_say_nothing_of_clients(tmp_path: Path) -> None:
    """Prefix, name of the limit, a digest; what clients send is never in it, however long."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            async with buckets(server, tmp_path, FakeClock()) as found:
                await found.take(Quota("per client & more" + "x" * 500, 1, 60.0), b"secret-token" * 1000)
                await found.take(Quota("per client & more" + "x" * 501, 1, 60.0), b"secret-token" * 1000)
                names = [name for name in server.names() if not name.endswith(":probe")]

        assert len(names) == 2
        assert all(re.fullmatch(r"edge:per_client___morex{31}:[0-9a-f]{32}", name) for name in names)

    asyncio.run(main())


def test_a_refusal_is_remembered_for_a_moment(tmp_path: Path) -> None:
    """A flood costs one question a second; the wait is told as it shrinks."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            clock, quota = FakeClock(), Quota("q", 1, 3600.0)
            async with buckets(server, tmp_path, clock) as found:
                assert await found.take(quota, b"k") == 0.0
                wait = await found.take(quota, b"k")
                clock.advance(0.5)
                assert await found.take(quota, b"k") == pytest.approx(wait - 0.5)
                assert (found.allowed, found.limited, found.recalled) == (1, 1, 1)
                assert await found.take(quota, b"other") == 0.0
                clock.advance(REMEMBERED)
                assert await found.take(quota, b"k") > 0
                assert (found.limited, found.recalled) == (2, 1)

    asyncio.run(main())


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    """The oldest goes."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            clock, quota = FakeClock(), Quota("q", 1, 3600.0)
            async with buckets(server, tmp_path, clock) as found:
                await found.take(quota, b"k")
                for number in range(MOST_KEYS):
                    found._refused[b"%d" % number] = (clock() + 1, clock() + 1)
                await found.take(quota, b"k")
                assert len(found._refused) == MOST_KEYS
                assert b"0" not in found._refused

    asyncio.run(main())


def test_failures_are_told_from_what_was_not_asked(tmp_path: Path) -> None:
    """The one under way failed, the one after it was skipped."""

    async def main() -> None:
        with Redis(tmp_path) as server:
            async with buckets(server, tmp_path, FakeClock()) as found:
                assert found.status()["up"]
                server.kill()
                for _ in range(2):
                    with pytest.raises(StoreError):
                        await found.take(Quota("q", 1, 1.0), b"k")
                assert (found.failed, found.skipped) == (1, 1)
                assert not found.status()["up"]
                assert found.status()["reason"]

    asyncio.run(main())
