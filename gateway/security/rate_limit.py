"""GatewaySettings `rateLimits` as checks: 429 when there is no token left.

Lifetime: config. What was taken is process state (`SecurityState.buckets`).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.config.rate_store import is_shared
from gateway.http.flags import Flag
from gateway.http.reply import Reply
from gateway.security.in_order import at_once, one_after_another
from gateway.security.rate_bucket import Quota, StoreError
from gateway.security.rate_key import compile_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gateway.config.rate_limit import RateLimit, RateLimitMatch
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.http.request import Request
    from gateway.security.in_order import Gate
    from gateway.security.rate_bucket import Buckets, SharedStore
    from gateway.security.rate_key import ReadKey

    Check = Callable[[Request, Random], Reply | None]
    Fits = Callable[[Request], bool]


UNCOUNTED = Reply(500, b"", Flag.RATE_LIMIT_STORE, "rate_limiter_error")
"""What requests get that must not pass uncounted, as from Envoy's global rate limit."""


class BucketStore(Protocol):
    """Where the process keeps its buckets."""

    def buckets(self, limit: RateLimit) -> Buckets:
        """Those of a limit; the same for limits of the same name and key. From any thread."""


class Limits(NamedTuple):
    """The limits of one place: a check when this process counts all of them, else a gate, which waits."""

    check: Check | None = None
    gate: Gate | None = None


NO_LIMITS = Limits()


class RateLimits:
    """The rate limits of a generation, compiled for each place that they are asked at."""

    def __init__(
        self,
        settings: GatewaySettingsSpec,
        state: BucketStore,
        store: SharedStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`store`: where shared limits are counted; None: each process counts its own."""
        self._settings, self._state, self._store, self._clock = settings, state, store, clock

    def of(self, route: str | None) -> Limits:
        """Every limit that names `route`; for None every one that names no route.

        Limits are asked in the order they are written, and the first that refuses decides: what limits before
        it gave stays taken.
        """
        checks, gates = [], []
        waits = False
        for limit in applicable(self._settings, route):
            check = _check(limit, self._state.buckets(limit), self._clock)
            checks.append(check)
            if self._store is not None and is_shared(limit, self._settings.rate_limit_store):
                waits = True
                gates.append(self._shared(limit, self._store))
            else:
                gates.append(at_once(check))
        if waits:
            return Limits(gate=gates[0] if len(gates) == 1 else one_after_another(gates))
        return Limits(check=_all(checks))

    def _shared(self, limit: RateLimit, store: SharedStore) -> Gate:
        kept = self._settings.rate_limit_store
        failing = "LOCAL" if kept is None or kept.redis is None else kept.redis.on_failure
        return Shared(limit, store, self._state.buckets(limit), failing, self._clock)


def _all(checks: Sequence[Check]) -> Check | None:
    """Nothing for no limit."""
    if len(checks) < 2:
        return checks[0] if checks else None

    def check(request: Request, rng: Random) -> Reply | None:
        for one in checks:
            reply = one(request, rng)
            if reply is not None:
                return reply
        return None

    return check


class Shared:
    """A limit that several processes count together."""

    __slots__ = ("_buckets", "_clock", "_failing", "_fits", "_key", "_parts", "_quota", "_store")

    def __init__(
        self, limit: RateLimit, store: SharedStore, buckets: Buckets, failing: str, clock: Callable[[], float]
    ) -> None:
        """`failing`: what becomes of requests while the store does not answer: LOCAL, ALLOW, DENY."""
        self._quota, self._fits, self._key = _quota(limit), _fits(limit.match), compile_key(limit.key)
        self._parts = ",".join(limit.key).encode() + b"\0"
        """A limit whose key changes starts anew."""
        self._store, self._buckets, self._failing, self._clock = store, buckets, failing, clock

    async def __call__(self, request: Request) -> Reply | None:
        """The refusal, or None."""
        if self._fits is not None and not self._fits(request):
            return None
        key = self._key(request)
        try:
            wait = await self._store.take(self._quota, self._parts + key)
        except StoreError:
            return self._alone(key)
        if not wait:
            return None
        self._buckets.refused += 1
        return limited(self._quota, wait)

    def _alone(self, key: bytes) -> Reply | None:
        """Without the store."""
        self._buckets.alone += 1
        if self._failing == "LOCAL":
            wait = self._buckets.take(self._quota, key, self._clock())
            return limited(self._quota, wait) if wait else None
        return None if self._failing == "ALLOW" else UNCOUNTED


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
