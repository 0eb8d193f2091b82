"""Outlier detection: endpoints that keep failing get no requests for a while (Envoy's rules).

Lifetime: process. One detector a cluster; it and what it knows of each endpoint outlive reloads.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from gateway.http.flags import Flag

if TYPE_CHECKING:
    from gateway.config.outlier import OutlierDetection
    from gateway.upstream.endpoint import Endpoint
    from gateway.upstream.errors import UpstreamError
    from gateway.upstream.pool import Pool

logger = logging.getLogger(__name__)

MAX_EJECTION = 300.0
"""Seconds an ejection lasts at most, unless `baseEjectionTime` is longer (Envoy `max_ejection_time`)."""

_NOBODYS_FAULT = frozenset(
    {Flag.UPSTREAM_OVERFLOW, Flag.LOCAL_RESET, Flag.CLIENT_GONE, Flag.STREAM_IDLE_TIMEOUT}
)
"""A limit of ours, a client that left, a stream that pauses: they say nothing about the endpoint (Envoy)."""


class Reason(StrEnum):
    """Why an endpoint was ejected, as Envoy's statistics call it."""

    CONSECUTIVE_5XX = "consecutive_5xx"
    GATEWAY_FAILURE = "consecutive_gateway_failure"
    LOCAL_ORIGIN_FAILURE = "consecutive_local_origin_failure"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`outlierDetection` with its defaults; a count of 0 never ejects."""

    fives: int
    """`consecutive5xxErrors`."""
    gateways: int
    """`consecutiveGatewayErrors`, or `consecutiveErrors`."""
    locals: int
    """`consecutiveLocalOriginFailures`; 0 unless `splitExternalLocalOriginErrors`."""
    interval: float
    base: float
    most: int
    """`maxEjectionPercent`."""
    errors: frozenset[int]
    """Statuses that count."""

    @classmethod
    def of(cls, written: OutlierDetection) -> Thresholds:
        """Istio's reading; `consecutiveErrors` as in 1.7: gateway errors, and other 5xx do not count."""
        fives, gateways = 5, 0
        if written.consecutive_errors:
            fives, gateways = 0, written.consecutive_errors
        if written.consecutive_5xx_errors is not None:
            fives = written.consecutive_5xx_errors
        if written.consecutive_gateway_errors is not None:
            gateways = written.consecutive_gateway_errors
        split = bool(written.split_external_local_origin_errors)
        return cls(
            fives,
            gateways,
            (written.consecutive_local_origin_failures or 5) if split else 0,
            written.interval or 10.0,
            written.base_ejection_time or 30.0,
            written.max_ejection_percent or 10,
            frozenset(written.outlier_detection_http_error_codes or range(500, 600)),
        )


class Track:
    """What is known of one endpoint."""

    __slots__ = (
        "ejected_at", "ejected_until", "ejections", "fives", "gateways", "locals", "multiplier", "reason"
    )  # fmt: skip

    def __init__(self) -> None:
        self.fives = self.gateways = self.locals = 0
        """Failures in a row: any, gateway errors, failures of the connection."""
        self.multiplier = 0
        """Times `baseEjectionTime`: one more with each ejection, one less with each good interval."""
        self.ejected_at = 0.0
        self.ejected_until: float | None = None
        """Set while it is ejected; the first sweep after it brings it back."""
        self.ejections = 0
        """How often it was ejected."""
        self.reason: Reason | None = None
        """Of the last ejection."""

    def forget(self) -> None:
        """Ends every row of failures."""
        self.fives = self.gateways = self.locals = 0


class Balanced(Protocol):
    """A cluster, as far as ejections concern it."""

    name: str

    def rebalance(self) -> None:
        """Picks from who is well now."""


class Detector:
    """Counts failures in a row, ejects at a threshold, brings back at the sweep. Runs on the loop."""

    __slots__ = ("_due", "_errors", "cluster", "ejections", "overflow", "pool", "thresholds")

    def __init__(self, pool: Pool, written: OutlierDetection) -> None:
        self.pool = pool
        self.thresholds = Thresholds.of(written)
        self._errors = self.thresholds.errors
        self.cluster: Balanced | None = None
        """The newest generation; None before the first is in use."""
        self.ejections: dict[Reason, int] = dict.fromkeys(Reason, 0)
        """How many there were, by reason."""
        self.overflow = 0
        """Ejections that `maxEjectionPercent` forbade."""
        self._due = pool.clock() + self.thresholds.interval

    def __repr__(self) -> str:
        return f"<Detector {self.pool.name} ejected {self.active} of {len(self.pool.endpoints)}>"

    @property
    def active(self) -> int:
        """Endpoints that are ejected now."""
        return sum(endpoint.ejected_until is not None for endpoint in self.pool.endpoints.values())

    def record(self, endpoint: Endpoint, status: int, error: UpstreamError | None, now: float) -> None:
        """A finished attempt: the status of its response (0: none came), and what cut it off.

        Both when a response broke off. gRPC callers give the HTTP status that stands for `grpc-status`.
        """
        if error is None and status not in self._errors:
            track = endpoint.track
            if track is not None and status:
                track.fives = track.gateways = track.locals = 0
            return
        if endpoint.retired:
            return
        track = endpoint.track
        if track is None:
            track = endpoint.track = Track()
        if status:
            track.locals = 0  # There was a connection.
            if status in self._errors:
                self._count(endpoint, track, status, now)
            else:
                track.fives = track.gateways = 0
        if error is not None and error.flag not in _NOBODYS_FAULT:
            self._fail(endpoint, track, error, now)

    def follow(self, written: OutlierDetection, cluster: Balanced) -> None:
        """Takes a new configuration; who is ejected stays so, for as long as the new one says."""
        self.cluster, self.thresholds = cluster, Thresholds.of(written)
        self._errors = self.thresholds.errors
        self._due = min(self._due, self.pool.clock() + self.thresholds.interval)
        for endpoint in self.pool.endpoints.values():
            track = endpoint.track
            if track is not None and track.ejected_until is not None:
                track.ejected_until = track.ejected_at + self._duration(track)

    def sweep(self, now: float) -> None:
        """Once an interval: brings back whose time is over; who was well becomes easier to forgive."""
        if now < self._due:
            return
        self._due = now + self.thresholds.interval
        back = []
        for endpoint in self.pool.endpoints.values():
            track = endpoint.track
            if track is None:
                continue
            if track.ejected_until is None:
                track.multiplier = max(0, track.multiplier - 1)
            elif track.ejected_until <= now:
                track.ejected_until = None
                track.forget()
                back.append(endpoint)
        if back:
            logger.info("%s: %s back after ejection", self.pool.name, _names(back))
            self._rebalance()

    def release(self) -> None:
        """Ends all ejections and forgets everything: outlier detection was turned off."""
        for endpoint in self.pool.endpoints.values():
            endpoint.track = None

    def _count(self, endpoint: Endpoint, track: Track, status: int, now: float) -> None:
        """A failure with the status of a response, or the one that stands for a failed connection."""
        limits = self.thresholds
        track.gateways = track.gateways + 1 if 502 <= status <= 504 else 0
        track.fives += 1
        if limits.gateways and track.gateways >= limits.gateways:
            self._eject(endpoint, track, Reason.GATEWAY_FAILURE, now)
        if limits.fives and track.fives >= limits.fives:
            self._eject(endpoint, track, Reason.CONSECUTIVE_5XX, now)

    def _fail(self, endpoint: Endpoint, track: Track, error: UpstreamError, now: float) -> None:
        """A failure of the connection; unless they are counted apart, 504 stands for a timeout, else 503."""
        limit = self.thresholds.locals
        if not limit:
            self._count(endpoint, track, 504 if error.flag is Flag.UPSTREAM_TIMEOUT else 503, now)
            return
        if error.sent and error.flag is not Flag.UPSTREAM_CONNECT_FAILURE:
            track.locals = 0  # It took the connection: only this failure counts, as in Envoy.
        track.locals += 1
        if track.locals >= limit:
            self._eject(endpoint, track, Reason.LOCAL_ORIGIN_FAILURE, now)

    def _eject(self, endpoint: Endpoint, track: Track, reason: Reason, now: float) -> None:
        """Takes an endpoint out, if that leaves enough of them; the row of failures starts again."""
        if track.ejected_until is not None:
            return
        match reason:
            case Reason.CONSECUTIVE_5XX:
                length, track.fives = track.fives, 0
            case Reason.GATEWAY_FAILURE:
                length, track.gateways = track.gateways, 0
            case Reason.LOCAL_ORIGIN_FAILURE:
                length, track.locals = track.locals, 0
        active = self.active
        if active and 100 * (active + 1) > self.thresholds.most * len(self.pool.endpoints):
            self.overflow += 1
            return
        track.ejections += 1
        self.ejections[reason] += 1
        base = self.thresholds.base
        if track.multiplier * base < max(MAX_EJECTION, base) + base:
            track.multiplier += 1
        track.reason, track.ejected_at = reason, now
        track.ejected_until = now + self._duration(track)
        logger.warning(
            "%s: %s ejected for %g s after %d in a row (%s)",
            self.pool.name, endpoint.address, track.ejected_until - now, length, reason,
        )  # fmt: skip
        self._rebalance()

    def _duration(self, track: Track) -> float:
        base = self.thresholds.base
        return min(base * track.multiplier, max(MAX_EJECTION, base))

    def _rebalance(self) -> None:
        if self.cluster is not None:
            self.cluster.rebalance()


def _names(endpoints: list[Endpoint]) -> str:
    return ", ".join(endpoint.address for endpoint in endpoints)
