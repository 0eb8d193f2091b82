"""Names as sentences have them.

Lifetime: config; plain functions.
"""

from __future__ import annotations


def short(cluster: str) -> str:
    """`outbound|9080|v1|reviews.default.svc.cluster.local` as `reviews v1`."""
    parts = cluster.split("|")
    if len(parts) != 4:
        return cluster
    _, port, subset, host = parts
    name = host.partition(".svc.")[0].removesuffix(".default")
    return f"{name} {subset}" if subset else f"{name}:{port}"
