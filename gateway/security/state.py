"""What security remembers across reloads: keys, verified tokens, how much was asked lately.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config.rate_store import is_shared
from gateway.security.callouts import Callouts
from gateway.security.counts import PolicyCounts
from gateway.security.jwks import FetchedKeys, Keys, written_keys
from gateway.security.jwks_fetch import Fetcher
from gateway.security.jwt_provider import Provider
from gateway.security.rate_bucket import Buckets
from gateway.security.rate_limit import RateLimits
from gateway.security.rate_redis import RedisBuckets
from gateway.security.redis_line import Line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.config import Config
    from gateway.config.rate_limit import RateLimit
    from gateway.config.rate_store import RedisStore
    from gateway.config.request_authentication import JWTRule

FETCH_TIMEOUT = 5.0
"""Seconds to fetch keys when a rule does not say, as in Istio."""
CONNECTED_WITHIN = 1.0
"""Longest that a start or a reload waits for a store of rate limits, in seconds; then it does without."""
PATIENCE = 5.0
"""Longest that a start, a reload or a request waits for keys, in seconds, whatever rules say."""


class SecurityState:
    """Keys of every issuer and buckets of every rate limit. Use from one event loop.

    `provider` and `buckets` may be called from the thread that compiles. Call `follow` before the generation
    it is about serves: then its keys are there.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        fetcher: Fetcher | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._fetcher = fetcher or Fetcher()
        self._patience = patience
        self._lock = threading.Lock()
        self.counts = PolicyCounts()
        """What policies decided."""
        self.callouts = Callouts()
        """Questions to external authorizers."""
        self._providers: dict[JWTRule, Provider] = {}
        self._keys: dict[tuple[str, str, float], Keys] = {}
        self._buckets: dict[tuple[str, tuple[str, ...]], Buckets] = {}
        self._stores: dict[tuple[RedisStore, Path], RedisBuckets] = {}
        self._leaving: list[RedisBuckets] = []
        """What the generation before counted in: its last requests still do."""

    def __repr__(self) -> str:
        return f"<SecurityState providers {len(self._providers)} limits {len(self._buckets)}>"

    # -- life ----------------------------------------------------------------------------------

    async def start(self, config: Config) -> None:
        """Fetches the keys that `config` names, and waits for them a few seconds at most."""
        await self.follow(config)

    async def follow(self, config: Config) -> None:
        """Adopts a generation: fetches new keys and waits for them, lets go of what it does not name.

        Never raises for what comes; without keys an issuer's tokens are refused.
        """
        self._fetcher.allow_http = config.settings.spec.jwks.allow_http
        rules = [rule for policy in config.request_authentications for rule in policy.spec.jwt_rules]
        for rule in rules:
            self.provider(rule)
        with self._lock:
            self._providers = {rule: self._providers[rule] for rule in rules}
            used = {provider.keys for provider in self._providers.values()}
            gone = [keys for keys in self._keys.values() if keys not in used]
            self._keys = {name: keys for name, keys in self._keys.items() if keys in used}
            limits = {_bucket_name(limit) for limit in config.settings.spec.rate_limits}
            self._buckets = {name: found for name, found in self._buckets.items() if name in limits}
        await self._follow_store(config)
        new = [keys for keys in used if isinstance(keys, FetchedKeys) and keys.fetches == 0]
        for keys in new:
            keys.start()
        await asyncio.gather(*(keys.stop() for keys in gone if isinstance(keys, FetchedKeys)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await asyncio.gather(*(keys.refresh() for keys in new))

    async def stop(self) -> None:
        """Ends fetching; what is known stays readable."""
        with self._lock:
            known = list(self._keys.values())
        await asyncio.gather(*(keys.stop() for keys in known if isinstance(keys, FetchedKeys)))
        await asyncio.gather(*(store.line.stop() for store in (*self._stores.values(), *self._leaving)))
        await self._fetcher.close()
        await self.callouts.stop()

    # -- issuers -------------------------------------------------------------------------------

    def provider(self, rule: JWTRule) -> Provider:
        """What verifies tokens by `rule`; one object for all rules that say the same."""
        with self._lock:
            found = self._providers.get(rule)
            if found is None:
                found = self._providers[rule] = Provider(rule, self._keys_of(rule))
            return found

    @property
    def providers(self) -> list[dict[str, Any]]:
        """Every issuer for the admin listener: its keys without their material, when and how they came."""
        with self._lock:
            known = list(self._providers.values())
        return [
            {
                "issuer": provider.rule.issuer or "",
                **provider.keys.status(),
                "cached_tokens": len(provider.cache),
                "cache_hits": provider.cache.hits,
                "cache_misses": provider.cache.misses,
            }
            for provider in known
        ]

    # -- rate limits ---------------------------------------------------------------------------

    def limits(self, config: Config) -> RateLimits:
        """The rate limits of a generation; nothing is connected before `follow`."""
        return RateLimits(config.settings.spec, self, self._store(config), clock=self._clock)

    def _store(self, config: Config) -> RedisBuckets | None:
        """Where shared limits are counted; the same object as long as the settings say the same."""
        named = _named_store(config)
        if named is None:
            return None
        with self._lock:
            found = self._stores.get(named)
            if found is None:
                line = Line(*named, rng=random.Random(), sleep=self._sleep)  # noqa: S311 - pauses, not secrets
                found = self._stores[named] = RedisBuckets(line, clock=self._clock)
            return found

    async def _follow_store(self, config: Config) -> None:
        """Connects to the store that is named, and leaves the one that was left a generation ago."""
        store, named = self._store(config), _named_store(config)
        with self._lock:
            leaving, self._leaving = (
                self._leaving,
                [other for name, other in self._stores.items() if name != named],
            )
            self._stores = {name: other for name, other in self._stores.items() if name == named}
        await asyncio.gather(*(other.line.stop() for other in leaving))
        if store is not None:
            store.line.start()
            await store.line.tried(CONNECTED_WITHIN)

    @property
    def rate_limit_store(self) -> RedisBuckets | None:
        """Where shared limits are counted now; None: nowhere."""
        with self._lock:
            return next(iter(self._stores.values()), None)

    def buckets(self, limit: RateLimit) -> Buckets:
        """What was taken of a limit; a reload that changes only its numbers keeps that."""
        with self._lock:
            return self._buckets.setdefault(_bucket_name(limit), Buckets())

    @property
    def rate_limits(self) -> list[dict[str, Any]]:
        """Every limit for the admin listener: how many keys it knows, how many requests it refused."""
        with self._lock:
            known = list(self._buckets.items())
        return [
            {
                "name": name,
                "key": list(key),
                "keys": len(buckets),
                "refused": buckets.refused,
                "alone": buckets.alone,
            }
            for (name, key), buckets in known
        ]

    def _keys_of(self, rule: JWTRule) -> Keys:
        timeout = rule.timeout or FETCH_TIMEOUT
        name = _source(rule, timeout)
        found = self._keys.get(name)
        if found is None:
            found = self._keys[name] = self._new_keys(*name)
        return found

    def _new_keys(self, kind: str, text: str, timeout: float) -> Keys:
        if kind == "jwks":
            return written_keys(text)
        fetch = self._fetcher.keys if kind == "uri" else self._fetcher.discovered

        return FetchedKeys(
            text,
            lambda: fetch(text, timeout),
            patience=min(timeout, self._patience),
            clock=self._clock,
            wall=self._wall,
            sleep=self._sleep,
        )


def _named_store(config: Config) -> tuple[RedisStore, Path] | None:
    """The store that shared limits are counted in, and where its relative paths start."""
    store = config.settings.spec.rate_limit_store
    if store is None or store.redis is None:
        return None
    if not any(is_shared(limit, store) for limit in config.settings.spec.rate_limits):
        return None
    return store.redis, Path(config.origin(config.settings).path).parent


def _bucket_name(limit: RateLimit) -> tuple[str, tuple[str, ...]]:
    return limit.name, limit.key


def _source(rule: JWTRule, timeout: float) -> tuple[str, str, float]:
    """Where the keys of a rule come from; rules with the same source share them."""
    if rule.jwks:
        return "jwks", rule.jwks, 0.0
    if rule.jwks_uri:
        return "uri", rule.jwks_uri, timeout
    return "issuer", rule.issuer or "", timeout
