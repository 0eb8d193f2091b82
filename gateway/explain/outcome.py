"""What two routes do differently to the same request.

Lifetime: config; plain functions.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gateway.explain.forwarding import plan_of
from gateway.explain.names import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.http.request import Request
    from gateway.routing import Destination, Route

TINY = 1e-9
"""Shares below this are rounding."""


def outcome(route: Route, request: Request) -> str:
    """Where a request goes, in words."""
    if route.answer is not None:
        reply = route.answer(request)
        location = next((value.decode("latin-1") for name, value in reply.headers if name == b"location"), "")
        return f"answers {reply.status} {location}".rstrip()
    return " and ".join(
        f"{100 * item.weight / route.total_weight:g} % {short(item.cluster_name)}"
        for item in route.destinations
    )


def shares(route: Route) -> dict[str, float]:
    """Per cent of the requests that go to each cluster."""
    found: dict[str, float] = {}
    for item in route.destinations:
        share = 100 * item.weight / route.total_weight
        found[item.cluster_name] = found.get(item.cluster_name, 0.0) + share
    return found


def moved(before: Route, after: Route, request: Request | None) -> Iterator[str]:
    """Which share of the requests goes elsewhere."""
    if before.answer is not None or after.answer is not None:
        if request is not None and outcome(before, request) != outcome(after, request):
            yield f"{outcome(before, request)} -> {outcome(after, request)}"
        return
    was, now = shares(before), shares(after)
    change = {name: now.get(name, 0.0) - was.get(name, 0.0) for name in {**was, **now}}
    losing = {name: -value for name, value in change.items() if value < -TINY}
    gaining = {name: value for name, value in change.items() if value > TINY}
    for loser, share in losing.items():
        left = share
        for gainer, room in tuple(gaining.items()):
            part = min(left, room)
            if part > TINY:
                yield f"{round(part, 4):g} % moves from {short(loser)} to {short(gainer)}"
                gaining[gainer] = room - part
                left -= part


_NAMES = {
    "timeout": "timeout",
    "retries": "retries",
    "faults": "fault",
    "mirrors": "mirrors",
    "rewrite": "path that is forwarded",
    "hash_key": "hash key",
    "cors": "CORS policy",
}


def settings_of(before: Route, after: Route, request: Request | None) -> Iterator[str]:
    """What else becomes of a request on the way."""
    if before.answer is not None or after.answer is not None:
        return
    if request is not None:
        yield from _plans(asdict(plan_of(before, request)), asdict(plan_of(after, request)))
    elif before.timeout != after.timeout:
        yield f"timeout: {_said(before.timeout)} -> {_said(after.timeout)}"
    old = {item.cluster_name: item for item in before.destinations}
    for item in after.destinations:
        if item.cluster_name in old:
            yield from _destination(old[item.cluster_name], item)


def _plans(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for field, name in _NAMES.items():
        one, two = was[field], now[field]
        if isinstance(one, dict) and isinstance(two, dict):
            for key in one:
                if one[key] != two[key]:
                    yield f"{name}, {key.replace('_', ' ')}: {_said(one[key])} -> {_said(two[key])}"
        elif one != two:
            yield f"{name}: {_said(one)} -> {_said(two)}"


def _destination(before: Destination, after: Destination) -> Iterator[str]:
    place = short(after.cluster_name)
    for what, one, two in (
        ("request headers", before.request_ops, after.request_ops),
        ("response headers", before.response_ops, after.response_ops),
    ):
        if repr(one) != repr(two):
            yield f"{what} to {place}: {_said(one and repr(one))} -> {_said(two and repr(two))}"
    if before.authority != after.authority:
        yield f"host sent to {place}: {_text(before.authority)} -> {_text(after.authority)}"


def _text(value: bytes | None) -> str:
    return "the client's" if value is None else value.decode("latin-1")


def _said(value: object) -> str:
    """A value of a plan in words."""
    if value is None or value in ("", (), False, 0):
        return "none"
    if value is True:
        return "set"
    if isinstance(value, float):
        return f"{value:g} s"
    if isinstance(value, dict):
        parts = [
            f"{key.replace('_', ' ')} {_plain(item)}"
            for key, item in value.items()
            if item not in (None, (), 0, "")
        ]
        return ", ".join(parts)
    if isinstance(value, tuple):
        return ", ".join(_member(item) for item in value)
    return str(value).removeprefix("<HeaderOps ").removesuffix(">")


def _member(item: object) -> str:
    if isinstance(item, tuple):
        name, share = item
        return f"{share:g} % to {short(name)}"
    return _said(item)


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
