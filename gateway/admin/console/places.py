"""The serving snapshot as the console names it: listeners, routes, clusters, endpoints.

Lifetime: request (pure functions). Everything read is frozen, or a number that is right at its moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.admin.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.routing.conditions import Condition
    from gateway.routing.listener import Listener, VirtualHost
    from gateway.routing.route import Route
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Cluster, Endpoint

NAMED = frozenset({"header", "query", "claim"})
"""Conditions on something with a name; the name says whether the value may be a secret."""


def listeners(snapshot: Snapshot) -> Iterator[Listener]:
    """Those that have routes: of Gateway documents by port, and the one without."""
    for port in sorted(snapshot.listeners):
        yield snapshot.listeners[port]
    if snapshot.default.virtual_hosts or not snapshot.listeners:
        yield snapshot.default


def hosts(listener: Listener) -> Iterator[tuple[VirtualHost, list[str]]]:
    """Virtual hosts with the names that select them; those that share their routes are one."""
    merged: dict[tuple[int, ...], tuple[VirtualHost, list[str]]] = {}
    for host in listener.virtual_hosts:
        key = tuple(id(route) for route in host.routes) or (id(host),)
        if key in merged:
            merged[key][1].extend(host.domains)
        else:
            merged[key] = (host, list(host.domains))
    yield from merged.values()


def route_key(route: Route) -> str:
    """Where it is written: unique, where names need not be."""
    return str(route.source)


def demands(route: Route) -> list[str]:
    """What a request must be to take it, one demand each; values that may be secrets are hidden."""
    return [_demand(condition) for condition in route.conditions]


def _demand(condition: Condition) -> str:
    if condition.subject not in NAMED:
        return str(condition)
    name = condition.name.decode(errors="replace")
    shown = redact(str(condition.pattern), name)
    return f"{condition.subject} {name} {'not ' if condition.inverted else ''}{shown}"


def tls_mode(cluster: Cluster) -> str:
    """`mTLS`, `TLS`, or empty: how connections to its endpoints are secured."""
    tls = cluster.config.tls
    if tls is None or tls.mode in {None, "DISABLE"}:
        return ""
    return "TLS" if tls.mode == "SIMPLE" else "mTLS"


def listener_tls(snapshot: Snapshot, port: int) -> str:
    """`mTLS`, `TLS`, or empty: what clients of a Gateway document's port speak."""
    for gateway in snapshot.config.gateways:
        for server in gateway.spec.servers:
            if server.port.number == port and server.port.protocol == "HTTPS" and server.tls is not None:
                return "TLS" if server.tls.mode in {None, "SIMPLE"} else "mTLS"
    return ""


def cluster_label(name: str) -> dict[str, Any]:
    """Host, port and subset out of `outbound|9080|v1|reviews.default.svc.cluster.local`."""
    _, port, subset, host = (*name.split("|", 3), "", "", "", "")[:4]
    return {"name": name, "host": host or name, "port": port, "subset": subset}


def is_out(endpoint: Endpoint) -> bool:
    """Whether it gets no requests: ejected for its failures, or failing its health checks."""
    return not endpoint.healthy
