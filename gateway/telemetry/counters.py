"""What was counted about finished exchanges: requests, durations, sizes.

Lifetime: process. One small mutable series per (cluster, status, flags); the number of series is bounded by
the configuration times the statuses, never by what clients send.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from gateway.exchange.exchange import Exchange

BUCKETS = (
    0.5,
    1,
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10000,
    30000,
    60000,
    300000,
    600000,
    1800000,
    3600000,
)
"""Milliseconds: Envoy's default histogram bounds."""

LABELS = (
    "reporter",
    "destination_cluster",
    "destination_service",
    "destination_version",
    "response_code",
    "response_flags",
)


class Series:
    """Counts of one (cluster, status, flags)."""

    __slots__ = ("buckets", "milliseconds", "received", "requests", "sent")

    def __init__(self) -> None:
        self.requests = 0
        self.milliseconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.received = 0
        self.sent = 0


class Counters:
    """All series of this process."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, int, tuple[str, ...]], Series] = {}

    def record(self, exchange: Exchange, ended_at: float) -> None:
        """Counts one finished exchange."""
        destination = exchange.destination
        key = (destination.cluster_name if destination is not None else "", exchange.status, exchange.flags)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
        milliseconds = (ended_at - exchange.started_at) * 1000.0
        series.requests += 1
        series.milliseconds += milliseconds
        series.buckets[bisect_left(BUCKETS, milliseconds)] += 1
        series.received += exchange.bytes_received
        series.sent += exchange.bytes_sent

    def exposition(self) -> bytes:
        """The Prometheus text format; takes milliseconds, so call it off the event loop."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(list(self.series.items())))
        return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, series: Iterable[tuple[tuple[str, int, tuple[str, ...]], Series]]) -> None:
        self._series = tuple(series)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "istio_requests", "Requests, replies of the gateway included.", labels=LABELS
        )
        durations = HistogramMetricFamily(
            "istio_request_duration_milliseconds", "First byte in to last byte out.", labels=LABELS
        )
        for (cluster, status, flags), series in self._series:
            _, _, subset, service = (*cluster.split("|"), "", "", "", "")[:4]
            labels = (
                "source",
                cluster or "unknown",
                service or "unknown",
                subset or "unknown",
                str(status),
                ",".join(flags) or "-",
            )
            requests.add_metric(labels, series.requests)
            total, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), series.buckets, strict=True):
                total += count
                buckets.append((bound, total))
            durations.add_metric(labels, buckets, series.milliseconds)
        yield requests
        yield durations
