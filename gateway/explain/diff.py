"""What a new configuration changes for traffic: not which lines differ, but which requests fare otherwise.

Lifetime: config; plain functions over two snapshots.

Theory. Both configurations are asked the same questions: for every route of either a request that it takes is
made up, and whatever differs in where that request goes, what may happen to it on the way and who may send it
is a change. So a rule that moved, was renamed or split in two is no change unless traffic notices. Routes for
which no request can be made up are compared by what they demand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.explain.access import access_changes, unnoticed
from gateway.explain.outcome import moved, outcome, settings_of
from gateway.explain.places import cluster_changes, setting_changes
from gateway.explain.probes import probe, sample_host, told
from gateway.http.secrets import clean
from gateway.routing.explain import demand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.http.request import Request
    from gateway.routing import Listener, Route, Snapshot, VirtualHost


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that traffic notices."""

    kind: str
    """`listener`, `host`, `route`, `access`, `cluster` or `settings`."""
    subject: str
    """What it is about."""
    text: str
    opens: bool = False
    """Somebody can reach what they could not before."""

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.text}"


def differences(old: Snapshot, new: Snapshot) -> list[Change]:
    """Every change, those that open something first."""
    access = list(access_changes(old, new))
    access += unnoticed(old.config, new.config, [text for _, text, _ in access])
    found = [
        *_listeners(old, new),
        *(Change("access", subject, text, opens) for subject, text, opens in access),
        *(Change("cluster", subject, text) for subject, text in cluster_changes(old, new)),
        *(Change("settings", subject, text) for subject, text in setting_changes(old, new)),
    ]
    return sorted(dict.fromkeys(found), key=lambda change: not change.opens)


def _listeners(old: Snapshot, new: Snapshot) -> Iterator[Change]:
    before, after = _by_name(old), _by_name(new)
    for name in before.keys() - after.keys():
        yield Change("listener", name, "is gone: nobody listens there any more")
    for name in sorted(after.keys() - before.keys()):
        hosts = ", ".join(host.name for host in after[name].virtual_hosts) or "no host"
        yield Change("listener", name, f"is new, for {hosts}", opens=True)
    for name in sorted(before.keys() & after.keys()):
        yield from _hosts(before[name], after[name])


def _by_name(snapshot: Snapshot) -> dict[str, Listener]:
    return {item.name: item for item in (snapshot.default, *snapshot.listeners.values())}


def _hosts(old: Listener, new: Listener) -> Iterator[Change]:
    before = {host.name: host for host in old.virtual_hosts}
    after = {host.name: host for host in new.virtual_hosts}
    for name in sorted(before.keys() - after.keys()):
        fallback = new.virtual_host(sample_host(name))
        where = "its requests get 404" if fallback is None else f"{fallback.name} takes its requests"
        yield Change("host", name, f"is no longer served on {new.name}: {where}")
    for name in sorted(after.keys() - before.keys()):
        places = ", ".join(sorted({place for route in after[name].routes for place in _places(route)}))
        yield Change("host", name, f"is served on {new.name} now, by {places or 'nobody'}", opens=True)
    for name in sorted(before.keys() & after.keys()):
        yield from _routes(before[name], after[name], new)


def _routes(old: VirtualHost, new: VirtualHost, listener: Listener) -> Iterator[Change]:
    """What requests to one host notice. Each pair of routes is told once, by the first request it has."""
    seen: set[tuple[int, int]] = set()
    unasked: list[Route] = []
    for routes in (old.routes, new.routes):
        for route in routes:
            made = probe(route, sample_host(new.name), listener.port)
            if made is None:
                unasked.append(route)
                continue
            before, after = old.match(made), new.match(made)
            if (id(before), id(after)) not in seen:
                seen.add((id(before), id(after)))
                yield from _pair(before, after, made)
    yield from _by_demands(old, new, unasked)


def _pair(before: Route | None, after: Route | None, request: Request) -> Iterator[Change]:
    if before is None and after is None:
        return
    if before is None or after is None:
        text = "nobody takes it: 404" if after is None else outcome(after, request)
        was = "404" if before is None else outcome(before, request)
        yield Change("route", clean(told(request)), f"{was} -> {text}", opens=before is None)
        return
    label = clean(_label(before, after, request))
    for text in (*moved(before, after, request), *settings_of(before, after, request)):
        yield Change("route", label, text)


def _label(before: Route, after: Route, request: Request) -> str:
    if after.name and before.name == after.name:
        return _full_name(after)
    if str(before.source) == str(after.source):
        return _full_name(after)
    return told(request)


def _full_name(route: Route) -> str:
    """`reviews/canary`, or where it is written."""
    owner = route.source.rule_of.removeprefix("default/")
    return f"{owner}/{route.name}" if route.name else str(route.source)


def _by_demands(old: VirtualHost, new: VirtualHost, unasked: Iterable[Route]) -> Iterator[Change]:
    """Routes for which no request could be made up, by the words of their conditions."""
    before = {_demands(route): route for route in old.routes}
    after = {_demands(route): route for route in new.routes}
    for key in dict.fromkeys(_demands(route) for route in unasked):
        was, now = before.get(key), after.get(key)
        conditions = (now or was or old.routes[0]).conditions
        label = f"{new.name} with {', '.join(map(demand, conditions)) or 'any request'}"
        if was is None or now is None:
            gone = now is None
            yield Change("route", label, "is gone" if gone else "is new", opens=not gone)
        else:
            for text in (*moved(was, now, None), *settings_of(was, now, None)):
                yield Change("route", _full_name(now) if now.name else label, text)


def _demands(route: Route) -> str:
    return ", ".join(map(str, route.conditions)) or "every request"


def _places(route: Route) -> list[str]:
    return [item.cluster_name for item in route.destinations] or ["itself"]
