"""`/clusters`: every cluster with its endpoints, connections and counters, as JSON and as Envoy-like text.

Lifetime: request (pure functions over what the registry holds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.upstream import Cluster, Endpoint


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
        "endpoints": [
            _endpoint(endpoint, weight)
            for endpoint, weight in zip(cluster.endpoints, cluster.weights, strict=False)
        ],
    }


def _endpoint(endpoint: Endpoint, weight: int) -> dict[str, Any]:
    return {
        "address": endpoint.address,
        "weight": weight,
        "health": "healthy",
        "active": endpoint.active,
        "requests": endpoint.requests,
        "connections": endpoint.connections,
        "idle": len(endpoint.idle),
        "waiting": len(endpoint.waiters),
    }


def clusters_text(clusters: Mapping[str, Cluster]) -> str:
    """`cluster::endpoint::name::value` lines, as `istioctl` and people who know Envoy read them."""
    lines: list[str] = []
    for cluster in clusters_json(clusters):
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
