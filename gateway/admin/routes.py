"""What the documents became: listeners, virtual hosts, and their routes in the order they are tried.

Lifetime: request (pure functions over a frozen snapshot). A route's conditions and headers are told by its
document, whose secrets are redacted; here stands where it is written and what becomes of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.routing import Destination, Listener, Route, Snapshot, VirtualHost


def listeners_json(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Every listener; `mesh` is the one that no Gateway document describes."""
    return [_listener(item) for item in (snapshot.default, *snapshot.listeners.values())]


def _listener(listener: Listener) -> dict[str, Any]:
    return {
        "name": listener.name,
        "port": listener.port or None,
        "virtual_hosts": [_virtual_host(item) for item in listener.virtual_hosts],
    }


def _virtual_host(host: VirtualHost) -> dict[str, Any]:
    return {
        "name": host.name,
        "domains": list(host.domains),
        "routes": [_route(item) for item in host.routes],
    }


def _route(route: Route) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": route.name,
        "virtual_service": route.virtual_service,
        "source": str(route.source),
        "takes": "every request" if route.catches_all else f"{len(route.conditions)} conditions",
        "timeout": route.timeout,
    }
    if route.answer is not None:
        return {**shown, "answers": True}
    return {**shown, "destinations": [_destination(item) for item in route.destinations]}


def _destination(destination: Destination) -> dict[str, Any]:
    return {
        "cluster": destination.cluster_name,
        "weight": destination.weight,
        "known": destination.cluster is not None,
    }
