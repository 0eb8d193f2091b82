"""GatewaySettings `rateLimits`: who is counted, and what the one too many gets."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from support.clock import FakeClock
from support.documents import config_of
from support.routing import request

from gateway.config.settings import GatewaySettingsSpec
from gateway.http.flags import Flag
from gateway.http.request import Request
from gateway.security.rate_bucket import Buckets, Quota, StoreError
from gateway.security.rate_limit import RateLimits
from gateway.security.state import SecurityState


def spec(*limits: dict[str, Any], **more: Any) -> GatewaySettingsSpec:
    return GatewaySettingsSpec.model_validate(
        {"rateLimits": [{"name": f"l{number}", **limit} for number, limit in enumerate(limits)], **more}
    )


class Limited:
    """Limits at a clock that stands still."""

    def __init__(self, *limits: dict[str, Any], route: str | None = None) -> None:
        self.clock = FakeClock()
        self.state = SecurityState()
        self.check = RateLimits(spec(*limits), self.state, clock=self.clock).of(route).check

    def allowed(self, *asked: Request) -> list[bool]:
        assert self.check is not None
        return [self.check(one, Random(1)) is None for one in asked]


def test_no_limit_is_no_check() -> None:
    """What is not configured costs nothing."""
    state = SecurityState()

    assert RateLimits(spec(), state).of(None) == (None, None)
    assert RateLimits(spec({"requests": 1}), state).of("a") == (None, None)
    assert RateLimits(spec({"requests": 1, "match": {"routes": ["a"]}}), state).of(None) == (None, None)


def test_the_one_too_many_gets_429() -> None:
    """With the flag of Envoy's filter, and when to come back."""
    limited = Limited({"requests": 2, "per": "10s"})
    assert limited.allowed(request(), request(), request()) == [True, True, False]
    assert limited.check is not None
    reply = limited.check(request(), Random(1))

    assert reply is not None
    assert (reply.status, reply.body, reply.flag) == (429, b"local_rate_limited", Flag.RATE_LIMITED)
    assert (reply.details, reply.close) == ("local_rate_limited", False)
    assert dict(reply.headers) == {
        b"retry-after": b"5",
        b"x-envoy-ratelimited": b"true",
        b"x-ratelimit-limit": b"2",
        b"x-ratelimit-remaining": b"0",
        b"x-ratelimit-reset": b"5",
    }
    limited.clock.advance(5.001)
    assert limited.allowed(request(), request()) == [True, False]


def test_retry_after_is_a_second_at_least() -> None:
    """It is written in whole seconds, and 0 would mean: at once."""
    limited = Limited({"requests": 100})
    limited.allowed(*[request()] * 100)
    assert limited.check is not None
    reply = limited.check(request(), Random(1))

    assert reply is not None
    assert dict(reply.headers)[b"retry-after"] == b"1"


def test_a_burst_may_be_smaller_or_larger() -> None:
    """Than what the average allows."""
    assert Limited({"requests": 10, "burst": 1}).allowed(*[request()] * 2) == [True, False]
    assert Limited({"requests": 1, "burst": 3}).allowed(*[request()] * 4) == [True, True, True, False]


def test_clients_are_told_apart_by_address_unless_said_otherwise() -> None:
    """One client's requests do not count for another."""
    limited = Limited({"requests": 1})

    assert limited.allowed(request(), request(client_ip="192.0.2.9"), request()) == [True, True, False]
    together = Limited({"requests": 1, "key": []})
    assert together.allowed(request(), request(client_ip="192.0.2.9")) == [True, False]


@pytest.mark.parametrize(
    ("match", "asked", "counted"),
    [
        ({"hosts": ["shop.test"]}, request(host="Shop.test:80"), True),
        ({"hosts": ["shop.test"]}, request(host="x.shop.test"), False),
        ({"hosts": ["*.shop.test"]}, request(host="x.shop.test"), True),
        ({"hosts": ["*.shop.test"]}, request(host="shop.test"), False),
        ({"hosts": ["*"]}, request(host="any"), True),
        ({"hosts": ["*"], "paths": ["/api"]}, request("/"), False),
        ({"paths": ["/api"]}, request("/api/x"), True),
        ({"paths": ["/api", "/v2"]}, request("/v2"), True),
        ({"paths": ["/api"]}, request("/"), False),
        ({"hosts": ["shop.test"], "paths": ["/api"]}, request("/api", host="shop.test"), True),
        ({"hosts": ["shop.test"], "paths": ["/api"]}, request("/api", host="other.test"), False),
    ],
)
def test_only_what_matches_is_counted(match: dict[str, Any], asked: Request, counted: bool) -> None:
    """By host and beginning of the path; every list that is given must fit."""
    limited = Limited({"requests": 1, "match": match})

    assert limited.allowed(asked, asked) == [True, not counted]


def test_routes_have_limits_of_their_own() -> None:
    """A limit that names routes is compiled for those, and shares one bucket among them."""
    limits = {"requests": 1, "match": {"routes": ["a", "b"]}}, {"requests": 9}
    a = Limited(*limits, route="a")
    assert a.allowed(request(), request()) == [True, False]
    b = RateLimits(spec(*limits), a.state, clock=a.clock).of("b").check

    assert b is not None
    assert b(request(), Random(1)) is not None


def test_several_limits_are_all_asked() -> None:
    """The first that refuses decides; others have their own buckets."""
    limited = Limited({"requests": 2, "key": ["path"]}, {"requests": 3, "key": []})

    assert limited.allowed(*map(request, ["/a", "/a", "/a", "/b", "/b"])) == [True, True, False, True, False]
    assert [(item["name"], item["refused"]) for item in limited.state.rate_limits] == [("l0", 1), ("l1", 1)]


def test_a_reload_keeps_what_was_taken_and_forgets_limits_that_are_gone() -> None:
    """Changing a number hands out no full bucket; a limit that comes back starts anew."""
    document = (
        "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {rateLimits: [%s]}"
    )
    state, clock = SecurityState(), FakeClock()

    def allowed(text: str) -> bool:
        config = config_of(document % text)
        asyncio.run(state.follow(config))
        check = RateLimits(config.settings.spec, state, clock=clock).of(None).check
        return check is None or check(request(), Random(1)) is None

    assert [allowed("{name: a, requests: 1, per: 1h}") for _ in range(2)] == [True, False]
    assert not allowed("{name: a, requests: 1, per: 2h}")
    assert allowed("{name: a, requests: 1, per: 1h, key: [path]}")
    assert allowed("{name: a, requests: 1, per: 1h}")


class Shared:
    """A store as other processes would share it: its own clock, its own buckets."""

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.down = False
        self.asked: list[tuple[str, bytes]] = []

    async def take(self, quota: Quota, key: bytes) -> float:
        await asyncio.sleep(0)
        if self.down:
            raise StoreError
        self.asked.append((quota.name, key))
        return self.buckets.take(quota, key, 0.0)


def shared(
    store: Shared, failing: str = "LOCAL", *limits: dict[str, Any]
) -> tuple[RateLimits, SecurityState]:
    state = SecurityState()
    kept = {"redis": {"address": "127.0.0.1:1", "onFailure": failing}}
    return RateLimits(spec(*limits, rateLimitStore=kept), state, store, clock=FakeClock()), state


def test_limits_in_a_store_are_asked_by_a_gate() -> None:
    """The same limits and the same refusal; the key in the store tells what it is made of."""

    async def main() -> None:
        store = Shared()
        limits = {"requests": 1}, {"requests": 5, "match": {"paths": ["/api"]}}
        gates = [shared(store, "LOCAL", *limits)[0].of(None).gate for _ in range(2)]
        replies = [await gate(request("/x")) for gate in gates if gate is not None]

        assert [reply and reply.status for reply in replies] == [None, 429]
        assert store.asked == [("l0", b"clientAddress\0\xcb\0q\x07")] * 2

    asyncio.run(main())


def test_places_without_a_shared_limit_do_not_wait() -> None:
    """A limit that is not shared stays a check, unless one beside it is shared: then both keep their order."""

    async def main() -> None:
        store = Shared()
        own = {"requests": 1, "shared": False, "match": {"routes": ["own", "both"]}}
        limits, _ = shared(store, "LOCAL", own, {"requests": 1, "match": {"routes": ["both"]}})

        assert limits.of(None) == (None, None)
        assert limits.of("own").gate is None
        assert limits.of("own").check is not None
        check, gate = limits.of("both")
        assert check is None
        assert gate is not None
        assert [reply and reply.status for reply in (await gate(request()), await gate(request()))] == [
            None,
            429,
        ]
        assert len(store.asked) == 1  # The own one refused the second, before the store was asked.

    asyncio.run(main())


@pytest.mark.parametrize(
    ("failing", "statuses"),
    [("LOCAL", [None, None, 429]), ("ALLOW", [None] * 3), ("DENY", [500] * 3)],
)
def test_without_the_store_it_goes_as_the_settings_say(failing: str, statuses: list[int | None]) -> None:
    """Counted by this process, let pass, or refused; each such request is counted."""

    async def main() -> None:
        store = Shared()
        store.down = True
        limits, state = shared(store, failing, {"requests": 2, "per": "1h"})
        gate = limits.of(None).gate
        assert gate is not None
        replies = [await gate(request()) for _ in range(3)]

        assert [reply and reply.status for reply in replies] == statuses
        assert state.rate_limits[0]["alone"] == 3
        if failing == "DENY":
            assert replies[0] is not None
            assert (replies[0].flag, replies[0].details) == (Flag.RATE_LIMIT_STORE, "rate_limiter_error")
        store.down = False
        assert await gate(request()) is None

    asyncio.run(main())
