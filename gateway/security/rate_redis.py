"""Buckets in Redis, for several processes: `SharedStore` over a `Line`.

Lifetime: process.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gateway.security.rate_bucket import MOST_KEYS, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.security.rate_bucket import Quota
    from gateway.security.redis_line import Line

REMEMBERED = 1.0
"""Seconds for which a refusal is repeated without asking, at most: a flood is not handed on to Redis, and a
bucket that somebody deletes there, or a limit that is raised, counts within a second."""
LONGEST_NAME = 48
"""Characters of a limit's name that its keys show; all of it is in the digest."""

_ODD = re.compile(r"[^A-Za-z0-9._-]")


class RedisBuckets:
    """The buckets of all limits that are shared."""

    def __init__(self, line: Line, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.line = line
        self.allowed = 0
        """Questions that were given a token."""
        self.limited = 0
        """Questions that were not."""
        self.failed = 0
        """Questions without an answer."""
        self.skipped = 0
        """Questions that were not asked, because the circuit was open."""
        self.recalled = 0
        """Refusals that were repeated without asking."""
        self._clock = clock
        self._prefix = line.settings.prefix
        self._refused: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        """Key -> until when that is known, when there is a token again."""

    def __repr__(self) -> str:
        return f"<RedisBuckets {self.line!r}>"

    async def take(self, quota: Quota, key: bytes) -> float:
        """As `SharedStore.take`."""
        name = self.name(quota.name, key)
        refused = self._refused.get(name)
        if refused is not None:
            now = self._clock()
            if now < refused[0]:
                self.recalled += 1
                return refused[1] - now
            del self._refused[name]
        try:
            answer = self.line.ask(name, quota.interval, quota.tolerance)
        except StoreError:
            self.skipped += 1
            raise
        try:
            wait = await answer / 1e6
        except StoreError:
            self.failed += 1
            raise
        if not wait:
            self.allowed += 1
            return 0.0
        self.limited += 1
        now = self._clock()
        self._refused[name] = now + min(wait, REMEMBERED), now + wait
        if len(self._refused) > MOST_KEYS:
            self._refused.popitem(last=False)
        return wait

    def name(self, limit: str, key: bytes) -> bytes:
        """The key in Redis: readable as to the limit, bounded, and without what clients sent."""
        digest = blake2b(limit.encode() + b"\0" + key, digest_size=16).hexdigest()
        return f"{self._prefix}:{_ODD.sub('_', limit[:LONGEST_NAME])}:{digest}".encode()

    def status(self) -> dict[str, Any]:
        """For the admin listener."""
        line = self.line
        return {
            "kind": "redis",
            "address": line.settings.address,
            "up": line.up,
            "reason": "" if line.up else line.reason,
            "on_failure": line.settings.on_failure,
            "allowed": self.allowed,
            "limited": self.limited,
            "recalled": self.recalled,
            "failed": self.failed,
            "skipped": self.skipped,
        }
