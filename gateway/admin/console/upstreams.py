"""Clusters: their endpoints, who is ejected and until when, and how full their limits are.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.admin.clusters import clusters_json
from gateway.admin.console.places import tls_mode

if TYPE_CHECKING:
    from gateway.admin.console.flows import Flows
    from gateway.admin.console.sources import Sources

MOST: Final = 500
"""Clusters in one answer, the busiest."""


def upstreams(sources: Sources, flows: Flows) -> dict[str, Any]:
    """What `/clusters?format=json` says, with rates."""
    clusters = sources.control.snapshot.clusters
    names = sorted(clusters, key=lambda name: -flows.cluster(name)["rps"])[:MOST]
    shown = clusters_json({name: clusters[name] for name in names})
    for cluster in shown:
        name = cluster["name"]
        cluster["tls"] = tls_mode(clusters[name])
        cluster.update(flows.cluster(name))
        for endpoint in cluster["endpoints"]:
            endpoint.update(flows.endpoint(name, endpoint["address"]))
    return {"clusters": shown, "hidden": len(clusters) - len(names)}
