"""GatewaySettings `rateLimits` as checks: 429 when there is no token left.

Lifetime: config. What was taken is process state (`SecurityState.buckets`).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from gateway.http.flags import Flag
from gateway.http.reply import Reply
from gateway.security.rate_bucket import Quota, StoreError
from gateway.security.rate_key import compile_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from gateway.config.rate_limit import RateLimit, RateLimitMatch
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.http.request import Request
    from gateway.security.rate_bucket import Buckets, SharedStore
    from gateway.security.rate_key import ReadKey

    Check = Callable[[Request, Random], Reply | None]
    Gate = Callable[[Request], Awaitable[Reply | None]]
    Fits = Callable[[Request], bool]


class BucketStore(Protocol):
    """Where the process keeps its buckets."""

    def buckets(self, limit: RateLimit) -> Buckets:
        """Those of a limit; the same for limits of the same name and key. From any thread."""


def compile_rate_limits(
    settings: GatewaySettingsSpec,
    state: BucketStore,
    *,
    route: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Check | None:
    """The check of every limit that names no route, or of those that name `route`; None: there is none.

    Limits are asked in the order they are written, and the first that refuses decides: what limits before it
    gave stays taken.
    """
    checks = [_check(limit, state.buckets(limit), clock) for limit in applicable(settings, route)]
    if len(checks) < 2:
        return checks[0] if checks else None

    def check(request: Request, rng: Random) -> Reply | None:
        for one in checks:
            reply = one(request, rng)
            if reply is not None:
                return reply
        return None

    return check


def compile_rate_gate(
    settings: GatewaySettingsSpec, store: SharedStore, *, route: str | None = None
) -> Gate | None:
    """The same limits on a store that several processes share. While it does not answer, requests pass."""
    limits = [
        (_quota(limit), _fits(limit.match), compile_key(limit.key)) for limit in applicable(settings, route)
    ]
    if not limits:
        return None

    async def gate(request: Request) -> Reply | None:
        for quota, fits, key in limits:
            if fits is not None and not fits(request):
                continue
            try:
                wait = await store.take(quota, key(request))
            except StoreError:
                continue
            if wait > 0:
                return limited(quota, wait)
        return None

    return gate


def applicable(settings: GatewaySettingsSpec, route: str | None) -> Sequence[RateLimit]:
    """The limits that name this route; for None those that name no route."""
    if route is None:
        return [limit for limit in settings.rate_limits if not limit.match.routes]
    return [limit for limit in settings.rate_limits if route in limit.match.routes]


def limited(quota: Quota, wait: float) -> Reply:
    """The refusal; another request is allowed in `wait` seconds."""
    seconds = b"%d" % max(1, math.ceil(wait))
    headers = (
        (b"retry-after", seconds),
        (b"x-envoy-ratelimited", b"true"),
        (b"x-ratelimit-limit", b"%d" % quota.requests),
        (b"x-ratelimit-remaining", b"0"),
        (b"x-ratelimit-reset", seconds),
    )
    return Reply(429, b"local_rate_limited", Flag.RATE_LIMITED, "local_rate_limited", headers)


def _quota(limit: RateLimit) -> Quota:
    return Quota(limit.name, limit.requests, limit.per, limit.burst)


def _check(limit: RateLimit, buckets: Buckets, clock: Callable[[], float]) -> Check:
    quota, take = _quota(limit), buckets.take
    fits, key = _fits(limit.match), compile_key(limit.key)
    if fits is None:
        return _unconditional(quota, take, key, clock)

    def check(request: Request, rng: Random) -> Reply | None:
        del rng
        if not fits(request):
            return None
        wait = take(quota, key(request), clock())
        return limited(quota, wait) if wait else None

    return check


def _unconditional(
    quota: Quota, take: Callable[[Quota, bytes, float], float], key: ReadKey, clock: Callable[[], float]
) -> Check:
    def check(request: Request, rng: Random) -> Reply | None:
        del rng
        wait = take(quota, key(request), clock())
        return limited(quota, wait) if wait else None

    return check


def _fits(match: RateLimitMatch) -> Fits | None:
    """Whether a request is counted; None: every one. Routes are looked at where limits are compiled."""
    hosts = [] if "*" in match.hosts else [host.lower() for host in match.hosts]
    exact = frozenset(host for host in hosts if not host.startswith("*"))
    suffixes = tuple(host[1:] for host in hosts if host.startswith("*"))
    paths = tuple(path.encode() for path in match.paths)
    if not hosts:
        return (lambda request: request.path.startswith(paths)) if paths else None

    def fits(request: Request) -> bool:
        host = request.host
        return (host in exact or host.endswith(suffixes)) and (not paths or request.path.startswith(paths))

    return fits
