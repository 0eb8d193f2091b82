"""The service graph: gateway, routes, subsets, endpoints, and what flows between them now.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.admin.console.places import (
    cluster_label,
    hosts,
    is_out,
    listener_tls,
    listeners,
    route_key,
    tls_mode,
)

if TYPE_CHECKING:
    from gateway.admin.console.flows import Flows
    from gateway.admin.console.sources import Sources
    from gateway.routing.route import Route
    from gateway.upstream import Cluster

MOST_ROUTES: Final = 40
"""Routes in one picture, the busiest; more would be wool."""
MOST_ENDPOINTS: Final = 8
"""Endpoints of one cluster in the picture."""


def graph(sources: Sources, flows: Flows) -> dict[str, Any]:
    """Nodes by kind, each with its rates, and edges from node to node."""
    return _Drawing(sources, flows).drawn()


def _plainness(domain: str) -> tuple[bool, int]:
    """Names before addresses and patterns, short before long."""
    return not domain[:1].isalpha(), len(domain)


class _Drawing:
    def __init__(self, sources: Sources, flows: Flows) -> None:
        self._snapshot = sources.control.snapshot
        self._flows = flows
        self._edges: list[dict[str, Any]] = []
        self._clusters: dict[str, Cluster | None] = {}

    def drawn(self) -> dict[str, Any]:
        """The whole picture."""
        found: dict[str, tuple[list[Route], list[str], list[str]]] = {}
        ports = []
        for listener in listeners(self._snapshot):
            mode = listener_tls(self._snapshot, listener.port)
            ports.append({"id": f"l:{listener.name}", "name": listener.name, "tls": mode})
            for host, domains in hosts(listener):
                for route in host.routes:
                    entry = found.setdefault(route_key(route), ([], [], []))
                    entry[0].append(route)
                    entry[1].append(listener.name)
                    entry[2].extend(sorted(set(domains) - set(entry[2]), key=_plainness)[:3])
        order = sorted(found, key=lambda key: -self._flows.route(key)["rps"])
        shown = set(order[:MOST_ROUTES])
        routes = [self._route(key, *found[key]) for key in found if key in shown]
        clusters = [self._cluster(name, cluster) for name, cluster in self._clusters.items()]
        return {
            "listeners": ports,
            "routes": routes,
            "clusters": clusters,
            "edges": self._edges,
            "hidden_routes": len(found) - len(shown),
        }

    def _route(self, key: str, routes: list[Route], names: list[str], domains: list[str]) -> dict[str, Any]:
        node, route = f"r:{key}", routes[0]
        alone = len(set(names)) == 1
        for name in dict.fromkeys(names):
            here = [each for each, of in zip(routes, names, strict=True) if of == name]
            flow = self._flows.route(key) if alone else self._flows.taken(here)
            self._edges.append({"from": f"l:{name}", "to": node, **flow})
        for destination in route.destinations:
            name = destination.cluster_name
            self._clusters.setdefault(name, destination.cluster)
            percent = round(100 * destination.weight / route.total_weight, 1) if route.total_weight else None
            edge = {"from": node, "to": f"c:{name}", "percent": percent, **self._flows.between(key, name)}
            self._edges.append(edge)
        for mirror in route.mirrors:
            cluster = self._snapshot.clusters.get(mirror.cluster_name)
            self._clusters.setdefault(mirror.cluster_name, cluster)
            share = round(mirror.share / 10_000, 2)
            name = mirror.cluster_name
            same = (item for each in routes for item in each.mirrors if item.cluster_name == name)
            edge = {"from": node, "to": f"c:{name}", "mirror": share, **self._flows.copied(same)}
            self._edges.append(edge)
        return {
            "id": node,
            "source": key,
            "name": route.name,
            "hosts": domains[:3],
            "answers": route.answer is not None,
            **self._flows.route(key),
        }

    def _cluster(self, name: str, cluster: Cluster | None) -> dict[str, Any]:
        node = f"c:{name}"
        endpoints = []
        for endpoint in (cluster.endpoints if cluster is not None else ())[:MOST_ENDPOINTS]:
            flow = self._flows.endpoint(name, endpoint.address)
            ejected = is_out(endpoint)
            place = f"e:{name} {endpoint.address}"
            copies = self._flows.copied_to(name, endpoint.address)
            shown = {"id": place, "address": endpoint.address, "ejected": ejected, "copies": copies}
            endpoints.append({**shown, **flow})
            self._edges.append({"from": node, "to": place, "copies": copies, **flow})
        return {
            "id": node,
            **cluster_label(name),
            "known": cluster is not None,
            "tls": "" if cluster is None else tls_mode(cluster),
            "endpoints": endpoints,
            "copies": self._flows.copied_to(name),
            "hidden_endpoints": max(len(cluster.endpoints) - MOST_ENDPOINTS, 0) if cluster else 0,
            **self._flows.cluster(name),
        }
