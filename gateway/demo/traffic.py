"""A little traffic through the gateway, and how it was split.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

import httpx

if TYPE_CHECKING:
    import random

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CURL = "curl/8.14.1"

RATE = 6.0
"""Requests a second."""
RECENT = 100
"""Answers the split is computed over: a changed weight shows within half a minute."""


class Ask(NamedTuple):
    """One kind of request the traffic is made of."""

    share: int
    host: str
    path: str
    user_agent: str


MIX = (
    Ask(5, "reviews", "/reviews/0", CURL),
    Ask(4, "reviews", "/reviews/0", FIREFOX),
    Ask(2, "reviews", "/reviews/0", CHROME),
    Ask(1, "ratings", "/ratings/0", CURL),
    Ask(1, "httpbin", "/anything", CURL),
    Ask(1, "localhost", "/productpage", FIREFOX),
    Ask(1, "localhost", "/details/0", FIREFOX),
)
_SHARES = [ask.share for ask in MIX]


class Split:
    """Who answered: the last `RECENT` requests to reviews, with and without Chrome, and totals."""

    def __init__(self) -> None:
        self._chrome: deque[str] = deque(maxlen=RECENT)
        self._others: deque[str] = deque(maxlen=RECENT)
        self.answered = 0
        self.failures: Counter[str] = Counter()
        """Cause -> count, since the start: a status of 500 or more, or why there was no answer."""

    def record(self, ask: Ask, version: str) -> None:
        """Counts an answer of `version` of the service `ask` went to."""
        self.answered += 1
        if ask.host == "reviews":
            (self._chrome if ask.user_agent == CHROME else self._others).append(version)

    def record_failure(self, cause: str) -> None:
        """Counts a request that came to nothing."""
        self.failures[cause] += 1

    def as_dict(self) -> dict[str, dict[str, int] | int]:
        """The counts, for machines."""
        return {
            "chrome": dict(sorted(Counter(self._chrome).items())),
            "others": dict(sorted(Counter(self._others).items())),
            "answered": self.answered,
            "failed": self.failures.total(),
        }

    def __str__(self) -> str:
        """One line, for people."""
        text = (
            f"reviews: Chrome {_shares(self._chrome)} · others {_shares(self._others)} (last {RECENT})"
            f" | {self.answered} answered"
        )
        if self.failures:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.failures.most_common(3))
            text += f", failed: {causes}"
        return text


def _shares(versions: deque[str]) -> str:
    if not versions:
        return "none yet"
    counts = sorted(Counter(versions).items())
    return ", ".join(f"{version} {100 * count / len(versions):.0f} %" for version, count in counts)


async def ask_once(client: httpx.AsyncClient, ask: Ask, split: Split) -> None:
    """Sends one request and counts what comes back."""
    try:
        response = await client.get(ask.path, headers={"host": ask.host, "user-agent": ask.user_agent})
    except httpx.HTTPError as error:
        split.record_failure(type(error).__name__)
        return
    if response.status_code >= 500:
        split.record_failure(str(response.status_code))
    else:
        split.record(ask, response.headers.get("x-served-by", "-").rpartition("-")[2] or "-")


async def run(base_url: str, split: Split, rng: random.Random, *, rate: float = RATE) -> None:
    """Sends `rate` requests a second, one after another, until cancelled."""
    async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=15.0) as client:
        while True:
            (ask,) = rng.choices(MIX, _SHARES)
            await ask_once(client, ask, split)
            await asyncio.sleep(1 / rate)
