"""`/clusters`: every cluster with its endpoints, connections and counters, as JSON and as Envoy-like text.

Lifetime: request (pure functions over what the registry holds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.upstream.cluster_config import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.upstream import Cluster, Endpoint
    from gateway.upstream.pool import Pool


def clusters_json(clusters: Mapping[str, Cluster]) -> list[dict[str, Any]]:
    """One object a cluster, in the order of their names."""
    return [_cluster(clusters[name]) for name in sorted(clusters)]


def _cluster(cluster: Cluster) -> dict[str, Any]:
    config, pool = cluster.config, cluster.pool
    return {
        "name": cluster.name,
        "host": config.host,
        "port": config.port,
        "subset": config.subset,
        "namespace": config.namespace,
        "resolution": str(config.resolution),
        "policy": str(config.policy),
        "connect_timeout": config.connect_timeout,
        "max_connections": config.max_connections,
        "connections": pool.connections,
        "pending": pool.pending,
        "limits": _limits(pool),
        "overflows": pool.overflows,
        "retries_refused": pool.retries.refused,
        "retries_left": pool.retries_left(pool.active()),
        "endpoints": [
            _endpoint(endpoint, weight, pool.clock())
            for endpoint, weight in zip(cluster.endpoints, cluster.weights, strict=False)
        ],
    }


def _limits(pool: Pool) -> dict[str, dict[str, Any]]:
    """The circuit breaker: of each limit that is set, what is in use, how much may be, whether it is full."""
    active = pool.active()
    used = {
        "max_connections": (pool.connections, pool.limit),
        "max_pending_requests": (pool.pending, pool.max_pending),
        "max_requests": (active - pool.pending, pool.max_requests),
        "max_retries": (pool.retries.in_flight, pool.retries.most(active)),
    }
    return {
        name: {"used": count, "limit": most, "open": count >= most}
        for name, (count, most) in used.items()
        if most != UNLIMITED
    }


def _endpoint(endpoint: Endpoint, weight: int, now: float) -> dict[str, Any]:
    told = {
        "address": endpoint.address,
        "weight": weight,
        "health": _health(endpoint),
        "active": endpoint.active,
        "requests": endpoint.requests,
        "connections": endpoint.connections,
        "idle": len(endpoint.idle),
        "waiting": len(endpoint.waiters),
    }
    until, track = endpoint.ejected_until, endpoint.track
    if until is not None:
        told["ejected_for"] = round(max(0.0, until - now), 1)
    if track is not None and track.reason is not None:
        told["ejected_because"] = str(track.reason)
        told["ejections"] = track.ejections
    return told


def _health(endpoint: Endpoint) -> str:
    if endpoint.ejected_until is not None:
        return "ejected"
    return "healthy" if endpoint.healthy else "failing its checks"


def clusters_text(clusters: Iterable[Mapping[str, Any]]) -> str:
    """They as `cluster::endpoint::name::value` lines, for `istioctl` and people who know Envoy."""
    lines: list[str] = []
    for cluster in clusters:
        name = cluster["name"]
        lines += (
            f"{name}::{key}::{cluster[key]}"
            for key in ("resolution", "policy", "max_connections", "connections", "pending")
        )
        for endpoint in cluster["endpoints"]:
            address = endpoint["address"]
            lines += (
                f"{name}::{address}::{key}::{value}" for key, value in endpoint.items() if key != "address"
            )
    return "".join(f"{line}\n" for line in lines)
