"""What changes about clusters and about the gateway's own settings.

Lifetime: config; plain functions.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gateway.explain.names import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.routing import Snapshot
    from gateway.upstream import ClusterConfig

_APART = frozenset({"name", "host", "port", "subset", "namespace", "endpoints", "resolution"})


def cluster_changes(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str]]:
    """Endpoints that come and go, limits, balancing, TLS: of clusters that both have."""
    for name in sorted(old.clusters.keys() & new.clusters.keys()):
        was, now = old.clusters[name].config, new.clusters[name].config
        if was != now:
            yield from ((short(name), text) for text in _cluster(was, now))


def _cluster(was: ClusterConfig, now: ClusterConfig) -> Iterator[str]:
    before, after = _endpoints(was), _endpoints(now)
    for place in sorted(before.keys() - after.keys()):
        yield f"endpoint {place} is gone"
    for place in sorted(after.keys() - before.keys()):
        yield f"endpoint {place} is new"
    for place in sorted(before.keys() & after.keys()):
        if before[place] != after[place]:
            yield f"endpoint {place}: weight {before[place]} -> {after[place]}"
    for field in fields(now):
        if field.name in _APART:
            continue
        one, two = getattr(was, field.name), getattr(now, field.name)
        if one != two:
            yield f"{field.name.replace('_', ' ')}: {_said(one)} -> {_said(two)}"


def _endpoints(config: ClusterConfig) -> dict[str, int]:
    return {
        item.address if item.is_unix else f"{item.address}:{item.port}": item.weight
        for item in config.endpoints
    }


def setting_changes(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str]]:
    """GatewaySettings, field by field."""
    was = old.config.settings.spec.model_dump(mode="json", by_alias=True)
    now = new.config.settings.spec.model_dump(mode="json", by_alias=True)
    for name, one, two in _leaves(was, now, ""):
        yield name, f"{_said(one)} -> {_said(two)}"


def _leaves(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for key in {**was, **now}:
        one, two = was.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            yield from _leaves(one, two, f"{prefix}{key}.")
        elif one != two:
            yield f"{prefix}{key}", one, two


def _said(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return "none"
    if hasattr(value, "model_dump"):
        told = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return ", ".join(f"{key} {item}" for key, item in told.items()) or "set"
    return f"{value:g}" if isinstance(value, float) else str(value)
