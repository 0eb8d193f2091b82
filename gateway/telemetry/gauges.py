"""What is true right now: pools, breakers, ejections, connections, certificates.

Lifetime: process. Read in a thread while the loop works: each number is right, at slightly different moments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.telemetry import catalog
from gateway.telemetry.families import Family
from gateway.upstream.cluster_config import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.telemetry.catalog import Metric
    from gateway.telemetry.families import Value
    from gateway.upstream import Cluster

Sheet = dict["Metric", dict[tuple[tuple[str, str], ...], "Value"]]
"""Metric -> labels -> number."""


def cluster_families(clusters: Mapping[str, Cluster]) -> Iterator[Family]:
    """Every cluster's pool, limits and ejections."""
    sheet: Sheet = {metric: {} for metric in _CLUSTERS}
    for name, cluster in list(clusters.items()):
        at = (("cluster", name),)
        pool = cluster.pool
        endpoints = list(pool.endpoints.values())
        sheet[catalog.ENDPOINTS][at] = len(endpoints)
        sheet[catalog.POOL_CONNECTIONS][at] = pool.connections
        sheet[catalog.POOL_PENDING][at] = pool.pending
        sheet[catalog.POOL_ACTIVE][at] = sum(endpoint.active for endpoint in endpoints)
        sheet[catalog.POOL_IDLE][at] = sum(len(endpoint.idle) for endpoint in endpoints)
        _breakers(sheet, at, pool)
        _ejections(sheet, at, cluster, endpoints)
    for metric, samples in sheet.items():
        yield Family(metric, samples)


_CLUSTERS = (
    catalog.ENDPOINTS,
    catalog.POOL_CONNECTIONS,
    catalog.POOL_PENDING,
    catalog.POOL_ACTIVE,
    catalog.POOL_IDLE,
    catalog.BREAKER_OPEN,
    catalog.BREAKER_REMAINING,
    catalog.BREAKER_LIMIT,
    catalog.EJECTED,
    catalog.EJECTIONS,
    catalog.ENDPOINT_EJECTED,
)
MOST_LIMIT = UNLIMITED // 2
"""A limit beyond this is none: nothing is said about it."""


def _breakers(sheet: Sheet, at: tuple[tuple[str, str], ...], pool: Any) -> None:
    for limit, opened, remaining in _limits(pool):
        labels = (*at, ("limit", limit))
        sheet[catalog.BREAKER_OPEN][labels] = int(opened)
        if remaining < MOST_LIMIT:
            sheet[catalog.BREAKER_REMAINING][labels] = remaining


def _limits(pool: Any) -> Iterable[tuple[str, bool, int]]:
    """Limit, whether it is reached, what is left of it."""
    breakers = getattr(pool, "breakers", None)
    if breakers is not None:
        return ((item.limit, item.open, item.remaining) for item in breakers())
    return (("max_connections", pool.connections >= pool.limit, max(0, pool.limit - pool.connections)),)


def _ejections(
    sheet: Sheet, at: tuple[tuple[str, str], ...], cluster: Cluster, endpoints: Iterable[Any]
) -> None:
    detector = getattr(cluster, "outlier", None)
    if detector is None:
        return
    sheet[catalog.EJECTED][at] = detector.active
    for reason, count in dict(detector.ejections).items():
        sheet[catalog.EJECTIONS][*at, ("reason", str(reason))] = count
    for endpoint in endpoints:
        track = endpoint.track
        out = track is not None and track.ejected_until is not None
        sheet[catalog.ENDPOINT_EJECTED][*at, ("endpoint", endpoint.address)] = int(out)


def edge_families(edge: Any) -> Iterator[Family]:
    """Client connections and what was refused on them; `edge`: `gateway.server.edge.Edge` or None."""
    if edge is None:
        return
    yield Family(catalog.CONNECTIONS, {(): edge.connections})
    yield Family(catalog.ACTIVE, {(): edge.active})
    counts = dict(edge.refusals.counts)
    yield Family(catalog.REJECTED, {(("reason", reason),): count for reason, count in counts.items()})


def certificate_families(certificates: Callable[[], Iterable[tuple[str, float]]] | None) -> Iterator[Family]:
    """When each certificate in use ends."""
    if certificates is not None:
        samples = {(("name", name),): ends for name, ends in certificates()}
        yield Family(catalog.CERTIFICATE, samples)  # type: ignore[arg-type] # a number is a Value
