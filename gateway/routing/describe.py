"""Routing as plain data, for dumps. Why a request goes where it goes is told by `gateway.routing.explain`.

Lifetime: config; plain functions. Strings, numbers, lists and dicts only, so everything is JSON.
With `conditions=False` no value that a rule compares with is told: it may be a secret.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.routing.listener import Listener, VirtualHost
    from gateway.routing.route import Destination, Route
    from gateway.routing.snapshot import Snapshot


def describe_snapshot(snapshot: Snapshot, *, conditions: bool = True) -> dict[str, Any]:
    """Every listener with its virtual hosts and routes."""
    listeners = [snapshot.default, *(snapshot.listeners[port] for port in sorted(snapshot.listeners))]
    return {
        "generation": snapshot.generation,
        "listeners": [describe_listener(listener, conditions=conditions) for listener in listeners],
    }


def describe_listener(listener: Listener, *, conditions: bool = True) -> dict[str, Any]:
    """A listener and its virtual hosts."""
    return {
        "name": listener.name,
        "port": listener.port,
        "https_redirect": listener.https_redirect is not None,
        **({"policies": list(listener.policies)} if listener.policies else {}),
        "virtual_hosts": [
            describe_virtual_host(host, conditions=conditions) for host in listener.virtual_hosts
        ],
    }


def describe_virtual_host(host: VirtualHost, *, conditions: bool = True) -> dict[str, Any]:
    """A virtual host and its routes, in the order they are tried."""
    return {
        "name": host.name,
        "domains": list(host.domains),
        "routes": [describe_route(route, conditions=conditions) for route in host.routes],
    }


def describe_route(route: Route, *, conditions: bool = True) -> dict[str, Any]:
    """A route: where it is written, what it demands, what becomes of a request; no absent features."""
    described: dict[str, Any] = {
        "name": route.name,
        "virtual_service": route.virtual_service,
        "source": str(route.source),
    }
    if conditions:
        described["match"] = [str(condition) for condition in route.conditions]
    else:
        described["conditions"] = len(route.conditions)
    if route.answer is not None:
        described["answers"] = True
    else:
        described["destinations"] = [_destination(item, route) for item in route.destinations]
    features: dict[str, Any] = {
        "timeout": route.timeout,
        "retries": route.retries and _plain(route.retries),
        "fault": route.fault and _plain(route.fault),
        "mirrors": [{"cluster": item.cluster_name, "per_million": item.share} for item in route.mirrors],
        "rewrites_path": route.rewrite is not None,
        "hashes": route.hash_key is not None,
        "cors": route.cors is not None,
    }
    described.update((name, value) for name, value in features.items() if value)
    return described


def _destination(destination: Destination, route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        "cluster": destination.cluster_name,
        "known": destination.cluster is not None,
        "weight": destination.weight,
        "percent": round(100 * destination.weight / route.total_weight, 4),
    }
    if destination.authority is not None:
        described["authority"] = destination.authority.decode(errors="replace")
    if destination.policies:
        described["policies"] = list(destination.policies)
    for side in ("request_ops", "response_ops"):
        operations = getattr(destination, side)
        if operations is not None:
            described[side] = str(operations)
    return described


def _plain(policy: Any) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in asdict(policy).items()
    }
