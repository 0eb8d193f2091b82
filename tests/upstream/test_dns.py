"""Names: looked up in time, never lost to a failure, never more than a few."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from support.clock import FakeSleep
from support.dns import DnsServer, ScriptedResolver

from gateway.upstream.dns import HOSTS_FILE_TTL, MAX_ADDRESSES, SHORTEST, CaresResolver, Names


class Following:
    """Names with a script, a sleep that the test ends, and a note of every change."""

    def __init__(self, resolver: ScriptedResolver) -> None:
        self.resolver = resolver
        self.sleep = FakeSleep()
        self.changes: list[tuple[str, ...]] = []
        self.names = Names(resolver, self._changed, self.sleep)

    async def _changed(self, name: str) -> None:
        self.changes.append(self.names.addresses(name))

    async def first(self, *names: str) -> None:
        self.names.follow(names)
        await self.sleep.asleep(len(names))

    async def next(self) -> None:
        self.sleep.wake()
        await self.sleep.asleep()


def test_a_name_is_looked_up_again_when_its_ttl_is_over() -> None:
    async def main() -> None:
        following = Following(ScriptedResolver(a=["10.0.0.1"]))
        await following.first("a")
        following.resolver.table["a"] = ["10.0.0.2", "10.0.0.3"]
        await following.next()
        await following.next()
        assert following.changes == [("10.0.0.1",), ("10.0.0.2", "10.0.0.3")]
        assert following.sleep.asked == [30.0, 30.0, 30.0]
        await following.names.close()
        assert following.resolver.closed

    asyncio.run(main())


@pytest.mark.parametrize(("ttl", "pause"), [(0.0, SHORTEST), (0.1, SHORTEST), (30.0, 30.0), (86400.0, 60.0)])
def test_the_pause_is_the_ttl_between_a_second_and_the_refresh_rate(ttl: float, pause: float) -> None:
    """TTL 0 must not become a flood of queries (security.md D26)."""

    async def main() -> None:
        following = Following(ScriptedResolver(a=["10.0.0.1"]))
        following.resolver.ttl = ttl
        following.names.refresh_rate = 60.0
        await following.first("a")
        assert following.sleep.asked == [pause]
        await following.names.close()

    asyncio.run(main())


@pytest.mark.parametrize("answer", [None, []])
def test_a_failure_or_an_empty_answer_keeps_the_last_good_one(
    answer: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """And is tried again soon, then less and less often, never less than by the refresh rate."""

    async def main() -> None:
        following = Following(ScriptedResolver(a=["10.0.0.1"]))
        following.names.refresh_rate = 10.0
        await following.first("a")
        if answer is None:
            del following.resolver.table["a"]
        else:
            following.resolver.table["a"] = answer
        for _ in range(6):
            await following.next()
        assert following.names.addresses("a") == ("10.0.0.1",)
        assert following.sleep.asked == [10.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
        following.resolver.table["a"] = ["10.0.0.9"]
        await following.next()
        assert following.names.addresses("a") == ("10.0.0.9",)
        await following.names.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "cannot look up a" in caplog.text


def test_a_thousand_addresses_are_bounded_and_repeated_ones_are_one() -> None:
    async def main() -> None:
        many = [f"10.0.{number // 250}.{number % 250}" for number in range(1000)]
        following = Following(ScriptedResolver(a=many, b=["10.0.0.1", "10.0.0.1"]))
        await following.first("a", "b")
        assert following.names.addresses("a") == tuple(many[:MAX_ADDRESSES])
        assert following.names.addresses("b") == ("10.0.0.1",)
        await following.names.close()

    asyncio.run(main())


def test_names_no_cluster_uses_are_not_looked_up_any_more() -> None:
    async def main() -> None:
        following = Following(ScriptedResolver(a=["10.0.0.1"], b=["10.0.0.2"]))
        await following.first("a", "b")
        following.names.follow(["b"])
        assert following.names.addresses("a") == ()
        await following.next()
        assert sorted(following.resolver.asked) == ["a", "b", "b"]
        assert repr(following.names) == "<Names b=1>"
        await following.names.close()

    asyncio.run(main())


def test_tried_waits_for_the_first_look_up_of_every_name() -> None:
    async def main() -> None:
        resolver = ScriptedResolver(a=["10.0.0.1"])
        resolver.held = asyncio.Event()
        following = Following(resolver)
        following.names.follow(["a", "missing"])
        waiting = asyncio.ensure_future(following.names.tried())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        resolver.held.set()
        await waiting
        assert following.names.addresses("a") == ("10.0.0.1",)
        await following.names.close()

    asyncio.run(main())


# -- c-ares against a real server ----------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_cares_gives_addresses_with_their_ttl(host: str) -> None:
    """From a server on a port of its own."""

    async def main() -> None:
        async with DnsServer({"api.example.com": (42, ["10.0.0.1", "10.0.0.2"])}, host) as server:
            resolver = CaresResolver([server.address])
            answer = await resolver.resolve("api.example.com")
            assert sorted(answer.addresses) == ["10.0.0.1", "10.0.0.2"]
            assert answer.ttl == 42.0
            assert "api.example.com" in server.asked
            await resolver.close()

    asyncio.run(main())


@pytest.mark.parametrize("before", [(300, ["10.0.0.1"]), (300, []), None])
def test_every_look_up_asks_anew(before: tuple[int, list[str]] | None) -> None:
    """How long an answer is kept is not c-ares' affair, which would keep one without addresses for an hour."""

    async def main() -> None:
        now = 100.0
        async with DnsServer({} if before is None else {"a.test": before}) as server:
            resolver = CaresResolver([server.address], lambda: now)
            for _ in range(2):
                with contextlib.suppress(OSError):
                    await resolver.resolve("a.test")
            server.records["a.test"] = (300, ["10.0.0.2"])
            now += SHORTEST
            assert (await resolver.resolve("a.test")).addresses == ("10.0.0.2",)
            await resolver.close()

    asyncio.run(main())


def test_a_look_up_under_way_is_not_ended_by_the_next_one() -> None:
    """It gets its answer from the channel it began with."""

    async def main() -> None:
        now = 100.0
        async with DnsServer({"a.test": (5, ["10.0.0.1"]), "b.test": (5, ["10.0.0.2"])}) as server:
            resolver = CaresResolver([server.address], lambda: now)
            server.held = []
            first = asyncio.ensure_future(resolver.resolve("a.test"))
            while len(server.held) < 2:
                await asyncio.sleep(0.001)
            now += SHORTEST
            second = asyncio.ensure_future(resolver.resolve("b.test"))
            while len(server.held) < 4:
                await asyncio.sleep(0.001)
            server.release()
            assert [(await each).addresses for each in (first, second)] == [("10.0.0.1",), ("10.0.0.2",)]
            await resolver.close()

    asyncio.run(main())


def test_ipv4_is_preferred_and_ipv6_used_when_there_is_nothing_else() -> None:
    """As Istio's V4_PREFERRED: a server on 127.0.0.1 must not be missed half the time as `localhost`."""

    async def main() -> None:
        records = {"both.test": (5, ["10.0.0.1", "2001:db8::1"]), "six.test": (5, ["2001:db8::2"])}
        async with DnsServer(records) as server:
            resolver = CaresResolver([server.address])
            assert (await resolver.resolve("both.test")).addresses == ("10.0.0.1",)
            assert (await resolver.resolve("six.test")).addresses == ("2001:db8::2",)
            await resolver.close()

    asyncio.run(main())


def test_names_of_the_hosts_file_are_found() -> None:
    async def main() -> None:
        async with DnsServer({}) as server:
            resolver = CaresResolver([server.address])
            answer = await resolver.resolve("localhost")
            assert (answer.addresses, answer.ttl) == (("127.0.0.1",), HOSTS_FILE_TTL)
            await resolver.close()

    asyncio.run(main())


def test_an_unknown_name_is_an_oserror() -> None:
    """With servers of our own nobody else is asked: that would tell the name to who should not know it."""

    async def main() -> None:
        async with DnsServer({}) as server:
            resolver = CaresResolver([server.address])
            with pytest.raises(OSError, match="not found"):
                await resolver.resolve("nowhere.invalid")
            await resolver.close()

    asyncio.run(main())


def test_a_name_that_no_dns_takes_is_a_failure_like_others() -> None:
    async def main() -> None:
        following = Following(ScriptedResolver())
        async with DnsServer({}) as server:
            following.names._resolver = CaresResolver([server.address])
            await following.first("a" * 70 + ".test")
            assert following.sleep.asked == [1.0]
            await following.names.close()

    asyncio.run(main())
