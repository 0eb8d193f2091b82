"""The retry budget of a cluster: retries are a share of its requests, in flight and over time.

Lifetime: process. Plain arithmetic, asked only when an attempt has failed; a request that succeeds at once
costs nothing here. Source: Istio `trafficPolicy.retryBudget`, `connectionPool.http.maxRetries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.upstream.allowance import Allowance
from gateway.upstream.cluster_config import UNLIMITED

if TYPE_CHECKING:
    from gateway.upstream.cluster_config import RetryShare


IN_FLIGHT = "budget"
"""Refused: as many retries as there may be are in flight."""
OVER_TIME = "allowance"
"""Refused: as many retries as there may be were begun already."""


class RetryBudget:
    """Counts the retries of one cluster and says whether there may be one more.

    Without a share only `max_retries` holds. With one, `max(least, percent of the attempts in flight)` may be
    in flight, as in Envoy.

    The default budget takes its share of the first tries only, because a share of everything counts retries
    as a reason for retries: 20 % then are 25 % of what clients asked for. It also saves: every request that
    needed no retry earns its percentage of one, up to `burst`. Savings pay for retries beyond the share, so
    that an endpoint that dies under many requests at once costs no client an error, and over time retries
    still are no more than the share. A failed connect takes no place at all while other endpoints accept
    connections (`Pool.forgives`).

    With few requests in flight `least` lets every retry pass, so the default budget has an `Allowance` too.
    """

    __slots__ = (
        "_attempts",
        "_owed",
        "allowance",
        "exhausted",
        "in_flight",
        "made",
        "max_retries",
        "refused",
        "repeated",
        "saved",
        "share",
    )

    def __init__(self) -> None:
        self.share: RetryShare | None = None
        self.max_retries = UNLIMITED
        self.in_flight = 0
        """Retries that were granted and are not over, those that still wait for their turn included."""
        self.made = 0
        """Retries that were granted."""
        self.exhausted = 0
        """Requests that failed in spite of all the retries their route allows."""
        self.refused = 0
        """Retries that were not made because there were too many."""
        self.repeated = 0
        """Attempts made again because their connection was stale; they are no retries."""
        self.allowance: Allowance | None = None
        """What retries may still be begun; None: as many as may be in flight."""
        self.saved = 0.0
        """Retries that may be made beyond the share."""
        self._attempts = 0
        self._owed = 0

    def __repr__(self) -> str:
        return f"<RetryBudget in flight {self.in_flight}, saved {self.saved:.1f}>"

    def follow(self, share: RetryShare | None, max_retries: int) -> None:
        """Takes over the limits of a new configuration; what is in flight stays counted."""
        self.share = share
        self.max_retries = max_retries
        self.saved = min(self.saved, 0.0 if share is None else share.burst)
        if share is None or share.reserve is None:
            self.allowance = None
        elif self.allowance is None:
            self.allowance = Allowance(share.percent, share.reserve)
        else:
            self.allowance.follow(share.percent, share.reserve)

    def most(self, active: int) -> int:
        """How many retries may be in flight while `active` attempts are, retries among them."""
        share = self.share
        if share is None:
            return self.max_retries
        counted = max(0, active - self.in_flight) if share.burst else active
        return max(share.least, int(share.percent / 100.0 * counted))

    def begun(self, attempts: int) -> int:
        """How many of all the cluster's attempts were the first of their request."""
        return attempts - self.made - self.repeated

    def take(self, active: int, attempts: int, now: float) -> str:
        """Grants a retry, to be given back with `give_back`: "", or what refuses it: IN_FLIGHT or OVER_TIME.

        `active`: attempts in flight, that which has just failed among them. `attempts`: all the cluster ever
        had; those since the last failure that were good are what savings are earned with.
        """
        allowance = self.allowance
        if allowance is not None and not allowance.suffices(active, self.begun(attempts), now):
            self._owed += 1
            self.refused += 1
            return OVER_TIME
        share = self.share
        self._owed += 1
        if share is not None and share.burst:
            fresh = max(0, attempts - self._attempts)  # Fewer than before: an endpoint left with its count.
            good = max(0, fresh - self._owed)
            self.saved = min(share.burst, self.saved + good * share.percent / 100.0)
            self._owed = max(0, self._owed - fresh)
            self._attempts = attempts
        if self.in_flight >= self.most(active):
            if self.saved < 1.0:
                self.refused += 1
                return IN_FLIGHT
            self.saved -= 1.0
        if allowance is not None:
            allowance.spend()
        self.in_flight += 1
        self.made += 1
        return ""

    def give_back(self) -> None:
        """The retry is over: it was answered, or it failed, or nobody waits for it any more."""
        self.in_flight -= 1

    def forgiven(self) -> None:
        """A retry is made that needs no place."""
        self.made += 1
        self._owed += 1

    def failed(self) -> None:
        """An attempt failed that no retry follows: it earns nothing."""
        self._owed += 1
