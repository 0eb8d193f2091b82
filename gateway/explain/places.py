"""What changes about clusters and about the gateway's own settings.

Lifetime: config; plain functions.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from gateway.explain.names import short
from gateway.upstream.cluster_config import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.routing import Snapshot
    from gateway.upstream import ClusterConfig

_APART = frozenset({"name", "host", "port", "subset", "namespace", "endpoints", "resolution"})


def cluster_changes(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str]]:
    """Endpoints that come and go, limits, balancing, TLS: of clusters that both have."""
    common = sorted(old.clusters.keys() & new.clusters.keys())
    told: dict[str, list[str]] = {}
    for name in common:
        was, now = old.clusters[name].config, new.clusters[name].config
        if was != now:
            for text in _cluster(was, now):
                told.setdefault(text, []).append(short(name))
    for text, names in told.items():
        subjects = [f"(all {len(names)})"] if len(names) == len(common) > 1 else names
        yield from ((subject, text) for subject in subjects)


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
        if field.name in _APART or not field.compare:
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
        if _named(one) or _named(two):
            one, two = _by_name(one), _by_name(two)
        if isinstance(one, dict) and isinstance(two, dict):
            yield from _leaves(one, two, f"{prefix}{key}.")
        elif one != two:
            yield f"{prefix}{key}", one, two


def _named(value: Any) -> bool:
    """A list of things that have names, such as `rateLimits`."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and "name" in each for each in value)
    )


def _by_name(value: Any) -> dict[str, Any]:
    return {each["name"]: {key: each[key] for key in each if key != "name"} for each in value or ()}


def _said(value: Any) -> str:
    if value is None or value in ("", (), [], {}):
        return "none"
    if value == UNLIMITED:
        return "no limit"
    if hasattr(value, "model_dump"):
        return _words(value.model_dump(mode="json", by_alias=True, exclude_unset=True)) or "set"
    if is_dataclass(value):
        parts = {field.name.replace("_", " "): getattr(value, field.name) for field in fields(value)}
        return _words(parts) or "set"
    if isinstance(value, dict):
        return _words(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(parts: Mapping[str, Any]) -> str:
    """`percent 20, least 3`, without what is not set; what is inside of something in brackets."""
    told = []
    for name, value in parts.items():
        text = _said(value)
        if text not in ("none", ""):
            inner = isinstance(value, dict) or is_dataclass(value)
            told.append(f"{name} ({text})" if inner else f"{name} {text}")
    return ", ".join(told)
