"""What happens to few requests: more than one try, a failure, a timeout, a fault, an answer of our own.

Lifetime: process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.flags import Flag
from gateway.telemetry import catalog
from gateway.telemetry.cells import MOST_SERIES, counts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.exchange.exchange import Attempt, Exchange
    from gateway.exchange.mirror import Copied
    from gateway.telemetry.cells import Count
    from gateway.telemetry.families import Family
    from gateway.upstream import Endpoint

MOST_REASONS = 500
"""Different reasons of replies; they come from the code and the configuration, not from clients."""
_TIMEOUTS = {Flag.STREAM_IDLE_TIMEOUT: "stream_idle", Flag.DURATION_TIMEOUT: "duration"}


class Events:
    """Counters of what is not the usual case."""

    def __init__(self, most_series: int = MOST_SERIES) -> None:
        self._attempts = counts(catalog.ATTEMPTS, most_series)
        self._retries = counts(catalog.RETRIES, most_series)
        self._won = counts(catalog.RETRIES_WON, most_series)
        self._denied = counts(catalog.RETRIES_DENIED, most_series)
        self._timeouts = counts(catalog.TIMEOUTS, most_series)
        self._faults = counts(catalog.FAULTS, most_series)
        self._mirrors = counts(catalog.MIRRORS, most_series)
        self._copies = counts(catalog.MIRROR_COPIES, most_series)
        self._replies = counts(catalog.LOCAL_REPLIES, MOST_REASONS)
        self._all = (
            self._attempts,
            self._retries,
            self._won,
            self._denied,
            self._timeouts,
            self._faults,
            self._mirrors,
            self._copies,
            self._replies,
        )

    @property
    def series(self) -> int:
        """Label sets in use."""
        return sum(len(cells) for cells in self._all)

    def attempt(self, cluster: str, endpoint: Endpoint, outcome: str) -> Count:
        """The counter of tries at an endpoint that ended like this."""
        return self._attempts.at(cluster, endpoint.address, outcome)

    def record(self, exchange: Exchange) -> None:
        """Counts an exchange that is not one plain try."""
        cluster = "" if exchange.destination is None else exchange.destination.cluster_name
        attempts = exchange.attempts
        for attempt in attempts:
            self.attempt(cluster, attempt.endpoint, outcome(attempt)).value += 1
        if len(attempts) > 1:
            self._record_retries(cluster, attempts)
        if denied := exchange.retries_denied:
            self._denied.at(cluster, denied).value += 1
        if exchange.flags:
            self._record_flags(exchange, cluster, attempts)
        if mirrors := exchange.mirrors:
            self._mirrors.at(*_route(exchange)).value += mirrors
        if exchange.details != "via_upstream" and exchange.status:
            reason = exchange.details.partition("{")[0].partition("[")[0]
            flags = ",".join(exchange.flags) or "-"
            self._replies.at(reason, str(exchange.status), flags).value += 1

    def copied(self, copied: Copied) -> None:
        """Counts a copy for a mirror, by what became of it."""
        if copied.flag is not None:
            outcome = str(copied.flag)
        else:
            outcome = f"{copied.status // 100}xx" if copied.status else "declined"
        self._copies.at(copied.mirror.cluster_name, outcome).value += 1

    def _record_retries(self, cluster: str, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts[:-1]:
            reason = "stale" if attempt.stale else attempt.flag or str(attempt.status)
            self._retries.at(cluster, reason).value += 1
        if 0 < attempts[-1].status < 500 and attempts[-1].flag is None:
            self._won.at(cluster).value += 1

    def _record_flags(self, exchange: Exchange, cluster: str, attempts: Sequence[Attempt]) -> None:
        flags = exchange.flags
        per_try = sum(attempt.details == "upstream_per_try_timeout" for attempt in attempts)
        if per_try:
            self._timeouts.at(cluster, "per_try").value += per_try
        if Flag.UPSTREAM_TIMEOUT in flags and exchange.details != "upstream_per_try_timeout":
            self._timeouts.at(cluster, "response").value += 1
        for flag, kind in _TIMEOUTS.items():
            if flag in flags:
                self._timeouts.at(cluster, kind).value += 1
        if Flag.DELAY_INJECTED in flags:
            self._faults.at(*_route(exchange), "delay").value += 1
        if Flag.FAULT_INJECTED in flags:
            self._faults.at(*_route(exchange), "abort").value += 1

    def read(self) -> Iterator[Family]:
        """Every family; may be called in a thread."""
        for cells in self._all:
            yield cells.read()


def outcome(attempt: Attempt) -> str:
    """How a try ended, in few words: `2xx`, or the flag of its failure."""
    if attempt.flag is not None:
        return str(attempt.flag)
    return f"{attempt.status // 100}xx" if attempt.status else "abandoned"


def _route(exchange: Exchange) -> tuple[str, str]:
    route = exchange.route
    return ("", "") if route is None else (route.virtual_service, route.name or f"http[{route.source.rule}]")
