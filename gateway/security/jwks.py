"""The keys tokens are verified with: written in configuration, or fetched and kept fresh.

Lifetime: process. Fetched keys are replaced only by better ones: a fetch that fails, for however long, leaves
those there are, and says so.

A token with a key id nobody has heard of may be the first after a rotation, so it causes a fetch; but anyone
can make such tokens, so at most one fetch in `COOLDOWN` seconds, and never two at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from typing import TYPE_CHECKING, Any

from gateway.security import jwt_failure as why
from gateway.security.jwk import KeySet, Unusable, described, read_keys
from gateway.security.jwks_fetch import Fetched, FetchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.security.jwt_failure import Failure

logger = logging.getLogger(__name__)

REFRESH = 300.0
"""Seconds between fetches when the server does not say how long its keys are good for (Envoy's number)."""
LEAST_REFRESH, MOST_REFRESH = 60.0, 1200.0
"""Bounds of what a server may say; Istio refreshes every 20 minutes."""
COOLDOWN = 30.0
"""Seconds between a fetch and the next one that an unknown key may cause."""
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds until a failed fetch is repeated: doubled each time."""
MOST_WAITING = 64
"""Requests that may wait for one fetch; others are refused at once."""


class Keys:
    """Keys that never change: those in configuration, or none."""

    __slots__ = ("absent", "current", "generation", "source")

    def __init__(self, source: str, current: KeySet | None) -> None:
        self.source = source
        """Where they come from, for people."""
        self.current = current
        """A new object whenever a key has come or gone; None: there are none yet."""
        self.absent: Failure = why.FETCH
        """What to say of a token while `current` is None."""
        self.generation = 0 if current is None else 1
        """How often they were replaced."""

    def __repr__(self) -> str:
        return f"<Keys {self.source} generation {self.generation} {self.current!r}>"

    def renewed(self) -> Callable[[], Awaitable[bool]] | None:
        """For a token whose key is unknown: how to wait for other keys; None: there will be none."""
        return None

    def status(self) -> dict[str, Any]:
        """What the admin listener shows."""
        problems = list(self.current.problems) if self.current is not None else []
        return {
            "source": self.source,
            "generation": self.generation,
            "keys": list(described(self.current)),
            "problems": problems,
            "last_success": None,
            "last_error": "",
        }


def written_keys(text: str) -> Keys:
    """The keys of a document; unusable ones are said in the log, once."""
    try:
        found = read_keys(text)
    except Unusable as reason:
        found = KeySet((), (str(reason),))
    for problem in found.problems:
        logger.warning("jwks in the configuration: %s; it verifies nothing", problem)
    return Keys("inline", found)


class FetchedKeys(Keys):
    """Keys that are fetched again and again, from `start` to `stop`."""

    __slots__ = (
        "_clock",
        "_failures",
        "_fetch",
        "_fetching",
        "_follower",
        "_loop",
        "_max_age",
        "_sleep",
        "_tried_at",
        "_waiting",
        "_wall",
        "digest",
        "fetches",
        "last_error",
        "last_success",
        "patience",
    )

    def __init__(
        self,
        source: str,
        fetch: Callable[[], Awaitable[Fetched]],
        *,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`patience`: the longest a request may wait for a fetch, in seconds."""
        super().__init__(source, None)
        self.patience = patience
        self.last_success: float | None = None
        """Seconds since the epoch."""
        self.last_error = ""
        """Why the last fetch failed; empty when it did not."""
        self.fetches = 0
        """How often they were asked for."""
        self.digest = ""
        self._fetch, self._clock, self._wall, self._sleep = fetch, clock, wall, sleep
        self._failures = 0
        self._max_age: float | None = None
        self._tried_at = float("-inf")
        self._waiting = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fetches from now on, on the running loop."""
        if self._follower is None:
            self._loop = asyncio.get_running_loop()
            self._follower = self._loop.create_task(self._follow(), name="gateway-jwks")

    async def stop(self) -> None:
        """Fetches no more; the keys stay, for requests that still hold them."""
        tasks = [task for task in (self._follower, self._fetching) if task is not None]
        self._follower = self._fetching = self._loop = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Fetches once, together with everyone who asks meanwhile. Never raises for what comes."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._renew(), name="gateway-jwks-fetch")
        await asyncio.shield(self._fetching)

    def renewed(self) -> Callable[[], Awaitable[bool]] | None:
        """As `Keys.renewed`; begins a fetch when the last one is long enough ago."""
        loop = self._loop
        if loop is None or not _runs(loop):
            return None  # Not serving: somebody only wants to know how this would be decided.
        under_way = self._fetching is not None and not self._fetching.done()
        if not under_way:
            if self._clock() - self._tried_at < COOLDOWN:
                return None
            self._fetching = loop.create_task(self._renew(), name="gateway-jwks-fetch")
        return self._settled if self._waiting < MOST_WAITING else None

    async def _settled(self) -> bool:
        before, fetching = self.generation, self._fetching
        if fetching is not None and not fetching.done():
            self._waiting += 1
            try:
                await asyncio.wait({fetching}, timeout=self.patience)
            finally:
                self._waiting -= 1
        return self.generation != before

    def status(self) -> dict[str, Any]:
        """As `Keys.status`."""
        return super().status() | {"last_success": self.last_success, "last_error": self.last_error}

    async def _follow(self) -> None:
        while True:
            await self.refresh()
            await self._sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next fetch, spread so that workers do not ask all at once."""
        if self._failures:
            pause = min(FIRST_RETRY * 2.0 ** min(self._failures - 1, 16), LAST_RETRY)
        else:
            pause = min(max(self._max_age or REFRESH, LEAST_REFRESH), MOST_REFRESH)
        return pause * random.uniform(0.9, 1.0)  # noqa: S311 - only to spread load

    async def _renew(self) -> None:
        self._tried_at = self._clock()
        self.fetches += 1
        try:
            fetched = await self._fetch()
            found = read_keys(fetched.body)
            if not found.keys:
                raise Unusable("; ".join(("no usable key", *found.problems))[:500])  # noqa: TRY301
        except (FetchError, Unusable) as reason:
            self._failed(str(reason))
        except Exception as error:
            logger.exception("fetching keys of %s failed in a way nobody thought of", self.source)
            self._failed(type(error).__name__)
        else:
            self._succeeded(fetched, found)

    def _failed(self, reason: str) -> None:
        if reason != self.last_error:
            kept = "no token of it is accepted" if self.current is None else "the keys there are stay"
            logger.warning("keys of %s: %s; %s", self.source, reason, kept)
        self.last_error = reason
        self._failures += 1

    def _succeeded(self, fetched: Fetched, found: KeySet) -> None:
        self.last_error, self.last_success = "", self._wall()
        self._failures, self._max_age = 0, fetched.max_age
        digest = hashlib.sha256(fetched.body).hexdigest()
        if digest != self.digest:
            self.digest, self.current = digest, found
            self.generation += 1
            logger.info("keys of %s: generation %d, %r", self.source, self.generation, found)
            for problem in found.problems:
                logger.warning("keys of %s: %s; it verifies nothing", self.source, problem)


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
