"""Clusters: their endpoints, who is ejected and until when, and how full their limits are.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.admin.clusters import clusters_json
from gateway.admin.console.places import tls_mode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.admin.console.flows import Flows
    from gateway.admin.console.sources import Sources

MOST: Final = 500
"""Clusters in one answer, the busiest."""


def upstreams(sources: Sources, flows: Flows) -> dict[str, Any]:
    """What `/clusters?format=json` says, with rates."""
    clusters = sources.control.snapshot.clusters
    names = busiest(clusters, flows)
    return shown(sources, flows, clusters_json({name: clusters[name] for name in names}))


def busiest(names: Iterable[str], flows: Flows) -> list[str]:
    """Those that one answer has room for."""
    return sorted(names, key=lambda name: -flows.cluster(name)["rps"])[:MOST]


def shown(sources: Sources, flows: Flows, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """`rows` of `clusters_json`, with rates."""
    clusters = sources.control.snapshot.clusters
    for row in rows:
        name = row["name"]
        row["tls"] = tls_mode(clusters[name]) if name in clusters else ""
        row.update(flows.cluster(name), copies=flows.copied_to(name))
        for endpoint in row["endpoints"]:
            endpoint.update(flows.endpoint(name, endpoint["address"]))
    return {"clusters": rows, "hidden": max(len(clusters) - len(rows), 0)}
