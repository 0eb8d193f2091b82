"""Names of clusters.

Lifetime: config; plain functions.
"""

from __future__ import annotations


def cluster_name(host: str, port: int, subset: str | None) -> str:
    """Envoy's name of a cluster in Istio: `outbound|9080|v1|reviews.default.svc.cluster.local`."""
    return f"outbound|{port}|{subset or ''}|{host}"
