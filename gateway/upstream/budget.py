"""The retry budget of a cluster: retries in flight are a share of the requests in flight.

Lifetime: process. Plain arithmetic, asked only when an attempt has failed; a request that succeeds at once
costs nothing here. Source: Istio `trafficPolicy.retryBudget`, `connectionPool.http.maxRetries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.upstream.cluster_config import UNLIMITED

if TYPE_CHECKING:
    from gateway.upstream.cluster_config import RetryShare


class RetryBudget:
    """Counts the retries of one cluster and says whether there may be one more.

    Without a share only `max_retries` holds. With one, `max(least, percent of the first tries in flight)`
    retries may be in flight: first tries, because a share of everything would count retries as a reason for
    retries (Envoy does; 20 % then are 25 % of what clients asked for).

    The default budget also saves: every request that needed no retry earns its percentage of one, up to
    `burst`. Savings pay for retries beyond the share, so that an endpoint that dies under many requests at
    once costs no client an error, and over time retries still are no more than the share. A failed connect
    takes no place at all while other endpoints accept connections (`Pool.forgives`).
    """

    __slots__ = (
        "_attempts",
        "_owed",
        "exhausted",
        "in_flight",
        "made",
        "max_retries",
        "refused",
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

    def most(self, active: int) -> int:
        """How many retries may be in flight while `active` attempts are, retries among them."""
        share = self.share
        if share is None:
            return self.max_retries
        return max(share.least, int(share.percent / 100.0 * max(0, active - self.in_flight)))

    def take(self, active: int, attempts: int) -> bool:
        """Grants a retry, to be given back with `give_back`, or refuses it.

        `attempts`: all the cluster ever had, of which one has just failed; the others since the last failure
        are what savings are earned with.
        """
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
                return False
            self.saved -= 1.0
        self.in_flight += 1
        self.made += 1
        return True

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
