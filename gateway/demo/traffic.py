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

RATE = 10.0
"""Requests a second."""
MOST = 32
"""Requests under way at a time: the delays that routes inject hold nobody else up."""
TRACED = "00-{:032x}-{:016x}-01"
"""A `traceparent` that asks for a trace."""
RECENT = 100
"""Answers the split is computed over: a changed weight shows within half a minute."""


class Ask(NamedTuple):
    """One kind of request the traffic is made of."""

    share: int
    host: str
    path: str
    user_agent: str
    method: str = "GET"
    user: str = ""
    """Header `end-user`."""
    traced: bool = False
    meant: tuple[int, ...] = ()
    """Statuses that show something, and are no failures of the demo."""


MIX = (
    Ask(20, "reviews", "/reviews/0", CURL),
    Ask(16, "reviews", "/reviews/0", FIREFOX),
    Ask(8, "reviews", "/reviews/0", CHROME),
    Ask(8, "ratings", "/ratings/0", CURL),
    Ask(4, "httpbin", "/anything", CURL),
    Ask(4, "localhost", "/productpage", FIREFOX, traced=True),
    Ask(4, "localhost", "/details/0", FIREFOX),
    # What there is to find out: injected faults, a flaky backend without retries, one that is down, a policy,
    # a missing route.
    Ask(4, "ratings", "/ratings/0", FIREFOX, user="tester", meant=(500, 503)),
    Ask(1, "localhost", "/reports/today", FIREFOX, meant=(503,)),
    Ask(1, "localhost", "/details/0", CURL, method="DELETE", meant=(403,)),
    Ask(1, "localhost", "/shop", FIREFOX, meant=(404,)),
)
_SHARES = [ask.share for ask in MIX]


class Split:
    """Who answered: the last `RECENT` requests to reviews, with and without Chrome, and totals."""

    def __init__(self) -> None:
        self._chrome: deque[str] = deque(maxlen=RECENT)
        self._others: deque[str] = deque(maxlen=RECENT)
        self.answered = 0
        self.meant = 0
        """Requests that failed as they were meant to."""
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
            "meant_to_fail": self.meant,
            "failed": self.failures.total(),
        }

    def __str__(self) -> str:
        """One line, for people."""
        text = (
            f"reviews: Chrome {_shares(self._chrome)} · others {_shares(self._others)} (last {RECENT})"
            f" | {self.answered} answered"
        )
        if self.meant:
            text += f", {self.meant} meant to fail"
        if self.failures:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.failures.most_common(3))
            text += f", failed: {causes}"
        return text


def _shares(versions: deque[str]) -> str:
    if not versions:
        return "none yet"
    counts = sorted(Counter(versions).items())
    return ", ".join(f"{version} {100 * count / len(versions):.0f} %" for version, count in counts)


def headers(ask: Ask, rng: random.Random) -> dict[str, str]:
    """What is sent with it."""
    sent = {"host": ask.host, "user-agent": ask.user_agent}
    if ask.user:
        sent["end-user"] = ask.user
    if ask.traced:
        sent["traceparent"] = TRACED.format(rng.getrandbits(128) | 1, rng.getrandbits(64) | 1)
    return sent


async def ask_once(client: httpx.AsyncClient, ask: Ask, split: Split, rng: random.Random) -> None:
    """Sends one request and counts what comes back."""
    try:
        response = await client.request(ask.method, ask.path, headers=headers(ask, rng))
    except httpx.HTTPError as error:
        split.record_failure(type(error).__name__)
        return
    if response.status_code in ask.meant:
        split.meant += 1
    elif response.status_code >= 500:
        split.record_failure(str(response.status_code))
    else:
        split.record(ask, response.headers.get("x-served-by", "-").rpartition("-")[2] or "-")


async def run(base_url: str, split: Split, rng: random.Random, *, rate: float = RATE) -> None:
    """Sends `rate` requests a second until cancelled, `MOST` at a time."""
    places = asyncio.Semaphore(MOST)

    async def send(ask: Ask) -> None:
        try:
            await ask_once(client, ask, split, rng)
        finally:
            places.release()

    async with (
        httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=15.0) as client,
        asyncio.TaskGroup() as sent,
    ):
        while True:
            await places.acquire()
            (ask,) = rng.choices(MIX, _SHARES)
            sent.create_task(send(ask))
            await asyncio.sleep(1 / rate)
