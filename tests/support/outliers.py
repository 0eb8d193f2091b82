"""A cluster with outlier detection, told how attempts ended.

Lifetime: process.
"""

from __future__ import annotations

from typing import Any

from support.clock import FakeClock
from support.upstreams import cluster_of

from gateway.config.outlier import OutlierDetection
from gateway.http.flags import Flag
from gateway.upstream import Cluster, Policy, UpstreamError
from gateway.upstream.outlier import Detector

REFUSED = UpstreamError(Flag.UPSTREAM_CONNECT_FAILURE, "remote connection failure")
TIMEOUT = UpstreamError(Flag.UPSTREAM_TIMEOUT, "response timeout", sent=True)
OVERFLOW = UpstreamError(Flag.UPSTREAM_OVERFLOW, "overflow")
GONE = UpstreamError(Flag.CLIENT_GONE, "client gone")

Event = int | UpstreamError | tuple[int, UpstreamError]
"""A status, a failure before one, or a failure after one."""


def detection(**written: Any) -> OutlierDetection:
    """`outlierDetection`, with seconds as numbers."""
    return OutlierDetection(
        **{name: f"{value}s" if isinstance(value, float) else value for name, value in written.items()}
    )


class Scene:
    """A cluster with detection, and its clock."""

    def __init__(self, count: int = 4, policy: Policy = Policy.LEAST_REQUEST, **written: Any) -> None:
        self.clock = FakeClock()
        config = detection(**written)
        ports = range(1, count + 1)
        self.cluster: Cluster = cluster_of(*ports, clock=self.clock, policy=policy, outlier=config)
        self.detector = self.cluster.outlier = Detector(self.cluster.pool, config)
        self.detector.follow(config, self.cluster)

    def record(self, number: int, *events: Event) -> None:
        """Finished attempts on one endpoint."""
        for event in events:
            status, error = event if isinstance(event, tuple) else (0, event)
            if isinstance(error, int):
                status, error = error, None
            self.detector.record(self.cluster.endpoints[number], status, error, self.clock())

    def sweep(self, after: float = 0.0) -> None:
        """Lets time pass, and the registry's timer come."""
        self.clock.advance(after)
        self.cluster.sweep(self.clock())

    @property
    def ejected(self) -> list[int]:
        """Numbers of the endpoints that are out."""
        return [n for n, item in enumerate(self.cluster.endpoints) if item.ejected_until is not None]

    def picked(self, count: int = 200, key: bool = False) -> set[int]:
        """Numbers of the endpoints that get requests."""
        found = {self.cluster.pick(b"%d" % n if key else None) for n in range(count)}
        return {n for n, item in enumerate(self.cluster.endpoints) if item in found}
