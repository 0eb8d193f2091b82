"""What is true right now: pools, breakers, ejections, connections, certificates.

Lifetime: process. Read in a thread while the loop works: each number is right, at slightly different moments.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from gateway.telemetry import catalog
from gateway.telemetry.families import Buckets, Family
from gateway.upstream.cluster_config import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.security.counts import PolicyCounts
    from gateway.security.rate_redis import RedisBuckets
    from gateway.security.state import SecurityState
    from gateway.telemetry.catalog import Metric
    from gateway.telemetry.families import Labels, Value
    from gateway.tls.expiry import Held
    from gateway.tls.handshakes import Handshakes
    from gateway.upstream import Cluster, Endpoint
    from gateway.upstream.pool import Pool

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
        sheet[catalog.AVAILABLE][at] = sum(
            not endpoint.failed_check and endpoint.ejected_until is None for endpoint in endpoints
        )
        sheet[catalog.POOL_CONNECTIONS][at] = pool.connections
        sheet[catalog.POOL_PENDING][at] = pool.pending
        active = sheet[catalog.POOL_ACTIVE][at] = sum(endpoint.active for endpoint in endpoints)
        sheet[catalog.POOL_IDLE][at] = sum(len(endpoint.idle) for endpoint in endpoints)
        _breakers(sheet, at, pool, active)
        _health(sheet, at, cluster, endpoints)
    for metric, samples in sheet.items():
        yield Family(metric, samples)


_CLUSTERS = (
    catalog.ENDPOINTS,
    catalog.AVAILABLE,
    catalog.POOL_CONNECTIONS,
    catalog.POOL_PENDING,
    catalog.POOL_ACTIVE,
    catalog.POOL_IDLE,
    catalog.BREAKER_OPEN,
    catalog.BREAKER_REMAINING,
    catalog.OVERFLOWS,
    catalog.EJECTED,
    catalog.EJECTIONS,
    catalog.ENDPOINT_EJECTED,
    catalog.ENDPOINT_HEALTHY,
)
MOST_LIMIT = UNLIMITED // 2
"""A limit beyond this is none: nothing is said about it."""


def _breakers(sheet: Sheet, at: tuple[tuple[str, str], ...], pool: Pool, active: int) -> None:
    """The same as `pool.breakers()`, which belongs to the event loop."""
    sheet[catalog.OVERFLOWS][at] = pool.overflows
    retries = pool.retries
    for limit, used, most in (
        ("max_connections", pool.connections, pool.limit),
        ("max_pending_requests", pool.pending, pool.max_pending),
        ("max_requests", active - pool.pending, pool.max_requests),
        ("max_retries", retries.in_flight, retries.most(active)),
    ):
        labels = (*at, ("limit", limit))
        sheet[catalog.BREAKER_OPEN][labels] = int(used >= most)
        if most < MOST_LIMIT:
            sheet[catalog.BREAKER_REMAINING][labels] = max(0, most - used)
    left = pool.retries_left(active)
    if left is not None:
        labels = (*at, ("limit", "retries_over_time"))
        sheet[catalog.BREAKER_OPEN][labels] = int(left < 1)
        sheet[catalog.BREAKER_REMAINING][labels] = left


def _health(
    sheet: Sheet, at: tuple[tuple[str, str], ...], cluster: Cluster, endpoints: Iterable[Endpoint]
) -> None:
    detector = cluster.outlier
    if detector is not None:
        sheet[catalog.EJECTED][at] = detector.active
        for reason, count in dict(detector.ejections).items():
            sheet[catalog.EJECTIONS][*at, ("reason", str(reason))] = count
    for endpoint in endpoints:
        labels = (*at, ("endpoint", endpoint.address))
        sheet[catalog.ENDPOINT_HEALTHY][labels] = int(not endpoint.failed_check)
        if detector is not None:
            sheet[catalog.ENDPOINT_EJECTED][labels] = int(endpoint.ejected_until is not None)


def edge_families(edge: Any) -> Iterator[Family]:
    """Client connections and what was refused on them; `edge`: `gateway.server.edge.Edge` or None."""
    if edge is None:
        return
    yield Family(catalog.CONNECTIONS, {(): edge.connections})
    yield Family(catalog.ACTIVE, {(): edge.active})
    counts = dict(edge.refusals.counts)
    yield Family(catalog.REJECTED, {(("reason", reason),): count for reason, count in counts.items()})


def certificate_families(certificates: Callable[[], Iterable[Held]] | None) -> Iterator[Family]:
    """When each certificate in use ends."""
    if certificates is not None:
        samples: dict[Labels, Value] = {
            (("name", item.name), ("role", item.role), ("subject", item.subject)): item.not_after
            for item in certificates()
        }
        yield Family(catalog.CERTIFICATE, samples)


def handshake_families(handshakes: Handshakes | None) -> Iterator[Family]:
    """How the handshakes of clients ended."""
    if handshakes is not None:
        counts = handshakes.counts.copy()
        yield Family(
            catalog.HANDSHAKES, {(("outcome", outcome),): count for outcome, count in counts.items()}
        )


def policy_families(counts: PolicyCounts | None) -> Iterator[Family]:
    """What authorization policies decided."""
    if counts is None:
        return
    decisions = {
        "allowed": counts.allowed,
        "denied": counts.denied,
        "audited": counts.audited,
        "shadow_allowed": counts.shadow_allowed,
        "shadow_denied": counts.shadow_denied,
        "plaintext": counts.plaintext,
        "error": counts.errors,
    }
    yield Family(catalog.POLICY_DECISIONS, {(("decision", name),): n for name, n in decisions.items()})
    matches: dict[Labels, Value] = {
        (("policy", policy), ("rule", str(rule))): taken for policy, rule, taken in _rules(counts)
    }
    yield Family(catalog.POLICY_MATCHES, matches)


def _rules(counts: PolicyCounts) -> list[tuple[str, int, int]]:
    for _ in range(3):
        with contextlib.suppress(RuntimeError):  # a reload added a rule just then
            return list(counts.rules())
    return []


def security_families(security: SecurityState | None) -> Iterator[Family]:
    """Keys of issuers, and rate limits."""
    if security is None:
        return
    sheet: Sheet = {metric: {} for metric in _SECURITY}
    for limit in security.rate_limits:
        at = (("limit", str(limit["name"])),)
        sheet[catalog.RATE_LIMITED][at] = limit["refused"]
        sheet[catalog.RATE_KEYS][at] = limit["keys"]
        sheet[catalog.RATE_ALONE][at] = limit["alone"]
    store = security.rate_limit_store
    if store is not None:
        _store(sheet, store)
    for issuer in security.providers:
        at = (("issuer", str(issuer["issuer"])),)
        sheet[catalog.JWKS_KEYS][at] = len(issuer["keys"])
        sheet[catalog.JWKS_FAILING][at] = int(bool(issuer["last_error"]))
        if issuer["last_success"] is not None:
            sheet[catalog.JWKS_FETCHED][at] = issuer["last_success"]
        sheet[catalog.JWT_CACHE][*at, ("result", "hit")] = issuer["cache_hits"]
        sheet[catalog.JWT_CACHE][*at, ("result", "miss")] = issuer["cache_misses"]
    for metric, samples in sheet.items():
        yield Family(metric, samples)


def _store(sheet: Sheet, store: RedisBuckets) -> None:
    line = store.line
    at = (("store", line.settings.address),)
    sheet[catalog.STORE_UP][at] = int(line.up)
    sheet[catalog.STORE_SECONDS][at] = Buckets(tuple(line.counts), line.seconds)
    for result in ("allowed", "limited", "recalled", "failed", "skipped"):
        sheet[catalog.STORE_REQUESTS][*at, ("result", result)] = getattr(store, result)


_SECURITY = (
    catalog.RATE_LIMITED,
    catalog.RATE_KEYS,
    catalog.RATE_ALONE,
    catalog.STORE_UP,
    catalog.STORE_REQUESTS,
    catalog.STORE_SECONDS,
    catalog.JWKS_KEYS,
    catalog.JWKS_FAILING,
    catalog.JWKS_FETCHED,
    catalog.JWT_CACHE,
)
