"""Token buckets: so many requests in so much time, for each key.

Lifetime: process. A bucket is one number, the time at which it will be full again (GCRA, ITU-T I.371): taking
a token moves it on by one interval, and it may not be further ahead than the burst allows. So a reload that
changes a limit keeps what was taken, and a shared store needs one atomic operation on one number.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

MOST_KEYS = 16384
"""Buckets of one limit. The one not used for longest goes first; when it is full, nothing is lost with it."""
ROUNDING = 1e-9
"""Seconds by which sums of intervals may be off."""


class Quota:
    """What a limit allows each key."""

    __slots__ = ("burst", "interval", "name", "requests", "tolerance")

    def __init__(self, name: str, requests: int, per: float, burst: int | None = None) -> None:
        self.name = name
        self.requests = requests
        self.burst = requests if burst is None else burst
        """Requests at once after a pause."""
        self.interval = per / requests
        """Seconds until one more is allowed."""
        self.tolerance = self.interval * (self.burst - 1) + ROUNDING

    def __repr__(self) -> str:
        return (
            f"<Quota {self.name} {self.requests} per {self.interval * self.requests:g} s, burst {self.burst}>"
        )


class SharedStore(Protocol):
    """Buckets that several processes share, such as in Redis."""

    async def take(self, quota: Quota, key: bytes) -> float:
        """Takes one token for `key`, atomically. 0: it was there; otherwise seconds until one will be.

        The clock is the store's, so that processes agree. Raises StoreError when it cannot say.
        """


class StoreError(Exception):
    """The shared store does not answer."""


class Buckets:
    """The buckets of one limit in this process."""

    __slots__ = ("_full_at", "alone", "refused")

    def __init__(self) -> None:
        self._full_at: OrderedDict[bytes, float] = OrderedDict()
        self.refused = 0
        """Requests for which there was no token, here or in the shared store."""
        self.alone = 0
        """Requests that the shared store did not count, because it did not answer."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, quota: Quota, key: bytes, now: float) -> float:
        """As `SharedStore.take`, at `now` (seconds of a clock that never goes back)."""
        buckets = self._full_at
        full_at = buckets.get(key, now)
        full_at = max(full_at, now)
        ahead = full_at - now
        if ahead > quota.tolerance:
            buckets.move_to_end(key)
            self.refused += 1
            return ahead - quota.tolerance
        buckets[key] = full_at + quota.interval
        buckets.move_to_end(key)
        if len(buckets) > MOST_KEYS:
            buckets.popitem(last=False)
        return 0.0
