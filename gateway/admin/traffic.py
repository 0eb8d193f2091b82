"""What a worker tells the others about its traffic, and all of that as if it were one process.

Lifetime: request. Durations travel as the buckets they are counted in: percentiles cannot be added up.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.admin.console.flows import Flows, Stretch, added
from gateway.admin.console.places import hosts, is_out, listeners, route_key
from gateway.telemetry.recorder import Counts, Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.admin.console.flows import Flow
    from gateway.routing import Snapshot
    from gateway.upstream import Cluster

Told = dict[str, Any]


def flows_json(flows: Flows, snapshot: Snapshot) -> Told:
    """`flows` as JSON; routes and endpoints by what every worker calls them."""
    names, copies = places(snapshot), mirrors(snapshot)
    return {
        "seconds": flows.seconds,
        "window": [[*key, *_plain(counts)] for key, counts in flows.window.items()],
        "points": [[*point[:3], *_plain(point.counts)] for point in flows.points],
        "endpoints": [[*place, *flow] for place, flow in flows.by_endpoint.items()],
        "places": [[names[each], *flow] for each, flow in flows.by_route.items() if each in names],
        "mirrors": [[copies[each], *flow] for each, flow in flows.by_mirror.items() if each in copies],
        "copies": [[*place, *flow] for place, flow in flows.by_copy.items()],
    }


def places(snapshot: Snapshot) -> dict[int, str]:
    """Route objects, by their identity, as listener and place; one rule may be on several listeners."""
    return {
        id(route): f"{listener.name} {route_key(route)}"
        for listener in listeners(snapshot)
        for host, _ in hosts(listener)
        for route in host.routes
    }


def mirrors(snapshot: Snapshot) -> dict[int, str]:
    """Mirrors, by their identity, likewise."""
    return {
        id(mirror): f"{listener.name} {route_key(route)} {number}"
        for listener in listeners(snapshot)
        for host, _ in hosts(listener)
        for route in host.routes
        for number, mirror in enumerate(route.mirrors)
    }


def _plain(counts: Counts) -> list[Any]:
    return [counts.requests, counts.failures, list(counts.buckets.items())]


def _counts(requests: int, failures: int, buckets: Iterable[tuple[int, int]]) -> Counts:
    counts = Counts()
    counts.requests, counts.failures, counts.buckets = requests, failures, Counter(dict(buckets))
    return counts


class MergedFlows(Flows):
    """The flows of several workers together, for the routes of `snapshot`."""

    def __init__(self, told: Sequence[Told], snapshot: Snapshot) -> None:
        """`told`: of each worker what `flows_json` gave."""
        super().__init__(None)
        self.seconds = max((item["seconds"] for item in told), default=self.seconds) or self.seconds
        points: dict[int, Stretch] = {}
        for item in told:
            for route, source, cluster, *counted in item["window"]:
                key = Key(route, source, cluster)
                self.window.setdefault(key, Counts()).add(_counts(*counted))
            for end, at, seconds, *counted in item["points"]:
                known = points.get(end) or Stretch(end, at, seconds, Counts())
                known.counts.add(_counts(*counted))
                points[end] = known._replace(at=max(at, known.at), seconds=max(seconds, known.seconds))
        self.points = [points[end] for end in sorted(points)]
        self.by_endpoint = _sums(told, "endpoints")
        self.by_copy = _sums(told, "copies")
        ways, copies = _sums(told, "places"), _sums(told, "mirrors")
        self.by_route = {each: ways[name,] for each, name in places(snapshot).items() if (name,) in ways}
        self.by_mirror = {
            each: copies[name,] for each, name in mirrors(snapshot).items() if (name,) in copies
        }


def _sums(told: Sequence[Told], name: str) -> dict[Any, Flow]:
    """By what each row begins with, what its last two columns come to."""
    flows: dict[Any, list[Flow]] = {}
    for item in told:
        for *place, requests, failures in item[name]:
            flows.setdefault(tuple(place), []).append((requests, failures))
    return {place: added(each) for place, each in flows.items()}


def out_json(clusters: Mapping[str, Cluster]) -> list[list[str]]:
    """Cluster and address of every endpoint that gets no requests."""
    return [
        [name, endpoint.address]
        for name, cluster in list(clusters.items())
        for endpoint in cluster.endpoints
        if is_out(endpoint)
    ]
