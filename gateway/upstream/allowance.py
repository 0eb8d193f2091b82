"""How many retries a cluster may begin: each request earns a share of one, and each retry costs one.

Lifetime: process. Asked only when an attempt has failed: how many requests there were since then is the
difference of two counts, so a request that succeeds at once costs nothing here. Source: Finagle's
`RetryBudget` (deposits, withdrawals, a reserve), as linkerd and tower have it. There a deposit expires after
some seconds, and the reserve is granted again in each of them: at a low rate it is all that counts, and
retries are no share of anything. Here neither depends on the rate.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.upstream.cluster_config import RetryReserve


INTEREST: Final = 0.1
"""Share of what requests earn that is withheld while the reserve is not full: in a long outage it repays the
reserve, so that retries are no more than `percent` of all requests, the first ones included."""


class Allowance:
    """A purse. In any span of time the retries begun are at most

        percent of the requests begun in it + the reserve + the requests in flight at its first failure
        + the part of the reserve that came back by time.

    The third is for the moment in which an endpoint dies under many requests: after good times unspent shares
    are kept beyond the reserve, up to one for each request in flight. An outage uses them up once. While
    everything fails from the beginning, it is nothing.
    """

    __slots__ = ("_balance", "_booked_at", "_seen", "percent", "reserve")

    def __init__(self, percent: float, reserve: RetryReserve) -> None:
        self.percent = percent
        self.reserve = reserve
        self._balance = reserve.size
        self._booked_at = inf
        self._seen = 0

    def __repr__(self) -> str:
        return f"<Allowance of {self._balance:.1f} retries>"

    def follow(self, percent: float, reserve: RetryReserve) -> None:
        """Takes over a new configuration; what a reserve grew by is there at once."""
        self._balance += max(0.0, reserve.size - self.reserve.size)
        self.percent = percent
        self.reserve = reserve

    def left(self, active: int, requests: int, now: float) -> float:
        """How many retries may be begun. Changes nothing, so any thread may ask.

        `active`: requests in flight. `requests`: how many the cluster ever had. `now`: seconds.
        """
        reserve, balance = self.reserve, self._balance
        if reserve.refill and balance < reserve.size:
            back = max(0.0, now - self._booked_at) * reserve.size / reserve.refill
            balance = min(reserve.size, balance + back)
        earned = max(0, requests - self._seen) * self.percent / 100.0
        if balance < reserve.size:
            earned *= 1.0 - INTEREST
        return min(reserve.size + active, balance + earned)

    def suffices(self, active: int, requests: int, now: float) -> bool:
        """Books what was earned since the last time, and says whether it pays for a retry."""
        self._balance = self.left(active, requests, now)
        self._booked_at = now
        # A retry counts as begun before its attempt does: then there seem to be fewer requests than before.
        self._seen = max(self._seen, requests)
        return self._balance >= 1.0

    def spend(self) -> None:
        """A retry is begun; only when `suffices` has just said so."""
        self._balance -= 1.0
