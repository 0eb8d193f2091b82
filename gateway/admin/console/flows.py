"""What flows where right now, out of the recorder's memory.

Lifetime: request. Made on the event loop, where the recorder is written; later read in a thread.
"""

from __future__ import annotations

from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.exchange.mirror import Copied
    from gateway.routing.policies import Mirror
    from gateway.routing.route import Route
    from gateway.telemetry.recorder import Counts, Key, Recorder

Flow = tuple[float, float]
"""Requests and failures (5xx) a second."""

WINDOW: Final = 10.0
"""Seconds that present rates are computed over."""
POINT: Final = 10.0
"""Seconds of a point of the recorder's history."""
NOTHING: Final = (0.0, 0.0)


class Stretch(NamedTuple):
    """All requests of some seconds."""

    end: int
    """Of the monotonic clock, so that processes agree on it."""
    at: float
    """Seconds since the epoch, not in the future."""
    seconds: float
    counts: Counts


def rates(counts: Counts | None, seconds: float) -> dict[str, Any]:
    """Requests and failures (5xx) a second, the share in percent that did not fail, percentiles in ms.

    The share and the percentiles are None without requests.
    """
    if counts is None or not counts.requests:
        return {"rps": 0, "failed": 0, "success": None, "p50": None, "p99": None}
    return {
        "rps": _short(counts.requests / seconds),
        "failed": _short(counts.failures / seconds),
        "success": _short(100 * (1 - counts.failures / counts.requests)),
        "p50": _short(counts.quantile(0.5) * 1000),
        "p99": _short(counts.quantile(0.99) * 1000),
    }


def _short(value: float) -> float:
    """Four digits say as much as there is to know."""
    return float(f"{value:.4g}")


def _flow(flow: Flow) -> dict[str, Any]:
    requests, failures = flow
    success = None if not requests else _short(100 * (1 - failures / requests))
    return {"rps": _short(requests), "failed": _short(failures), "success": success}


def added(flows: Iterable[Flow]) -> Flow:
    """All of them together."""
    several = list(flows)
    return sum(flow[0] for flow in several), sum(flow[1] for flow in several)


class Flows:
    """The last ten seconds by route, cluster and endpoint, and the last quarter of an hour altogether."""

    def __init__(self, recorder: Recorder | None, seconds: float = WINDOW) -> None:
        """Reads the recorder; on the event loop."""
        self.seconds = seconds
        """Seconds that `window` covers."""
        self.window: dict[Key, Counts] = {}
        """What happened in them, by route and destination."""
        self.points: list[Stretch] = []
        """The last quarter of an hour, the oldest first."""
        self._recent: list[Any] = []
        self._copies: list[Copied] = []
        self._now, self._full, self._copies_full = 0.0, False, False
        if recorder is None:
            return
        now = recorder.clock()
        self.seconds, self.window = recorder.window(seconds)
        for point in recorder.history():
            # The last point may still be filling.
            covered = max(POINT - max(point.at - now, 0.0), 1.0)
            at = recorder.moment(min(point.at, now))
            self.points.append(Stretch(round(point.at), at, covered, point.counts))
        youngest = reversed(recorder.recent)
        self._recent = list(takewhile(lambda entry: entry[1] > now - seconds, youngest))
        self._full = len(self._recent) == recorder.recent.maxlen
        self._copies = list(takewhile(lambda copy: copy.ended_at > now - seconds, reversed(recorder.copies)))
        self._copies_full = len(self._copies) == recorder.copies.maxlen
        self._now = now

    def __repr__(self) -> str:
        return f"<Flows of {len(self.window)} places>"

    def total(self) -> dict[str, Any]:
        """All requests."""
        return rates(self._grouped(lambda _: "").get(""), self.seconds)

    def route(self, source: str) -> dict[str, Any]:
        """Of one route, by where it is written."""
        return rates(self._routes.get(source), self.seconds)

    def cluster(self, name: str) -> dict[str, Any]:
        """Of one cluster."""
        return rates(self._clusters.get(name), self.seconds)

    def between(self, source: str, cluster: str) -> dict[str, Any]:
        """Of what one route sends to one cluster."""
        return rates(self._pairs.get(f"{source}\0{cluster}"), self.seconds)

    def taken(self, routes: Iterable[Route]) -> dict[str, Any]:
        """Of the routes that a rule has on one listener, of the requests that are still remembered: on
        several listeners they share their name.
        """
        flows = [self.by_route.get(each, NOTHING) for each in {id(route) for route in routes}]
        return _flow(added(flows))

    def endpoint(self, cluster: str, address: str) -> dict[str, Any]:
        """Requests and failures a second of one endpoint, of the requests that are still remembered."""
        return _flow(self.by_endpoint.get((cluster, address), NOTHING))

    def copied(self, mirrors: Iterable[Mirror]) -> dict[str, Any]:
        """Of copies: what these mirrors of a route got."""
        return _flow(added(self.by_mirror.get(each, NOTHING) for each in {id(mirror) for mirror in mirrors}))

    def copied_to(self, cluster: str, address: str = "") -> dict[str, Any]:
        """Of copies: what a cluster got, or one endpoint of it."""
        return _flow(self.by_copy.get((cluster, address), NOTHING))

    def busiest_routes(self, most: int) -> list[dict[str, Any]]:
        """Those with most requests; the name may be where the route is written."""
        named = {key.source: key.route for key in self.window}
        order = sorted(self._routes, key=lambda source: -self._routes[source].requests)[:most]
        return [{"source": source, "name": named[source], **self.route(source)} for source in order]

    def busiest_clusters(self, most: int) -> list[tuple[str, dict[str, Any]]]:
        """Those with most requests."""
        order = sorted(self._clusters, key=lambda name: -self._clusters[name].requests)
        return [(name, self.cluster(name)) for name in order if name][:most]

    def history(self) -> dict[str, list[float | None]]:
        """Columns, so that a quarter of an hour stays small; times in seconds since the epoch."""
        shown = [rates(point.counts, point.seconds) for point in self.points]
        return {
            "at": [round(point.at, 1) for point in self.points],
            **{name: [item[name] for item in shown] for name in ("rps", "failed", "success", "p50", "p99")},
        }

    @cached_property
    def _routes(self) -> dict[str, Counts]:
        return self._grouped(lambda key: key.source)

    @cached_property
    def _clusters(self) -> dict[str, Counts]:
        return self._grouped(lambda key: key.cluster)

    @cached_property
    def _pairs(self) -> dict[str, Counts]:
        return self._grouped(lambda key: f"{key.source}\0{key.cluster}")

    def _grouped(self, by: Callable[[Key], str]) -> dict[str, Counts]:
        groups: dict[str, Counts] = {}
        for key, counts in self.window.items():
            name = by(key)
            if name not in groups:
                groups[name] = type(counts)()
            groups[name].add(counts)
        return groups

    @cached_property
    def _span(self) -> float:
        """Seconds that the remembered requests cover: fewer than the window when there were very many."""
        return max(self._now - self._recent[-1][1], 0.1) if self._recent and self._full else self.seconds

    @cached_property
    def by_route(self) -> dict[int, Flow]:
        """What each route object took, by its identity, of the requests that are still remembered."""
        return self._remembered(lambda exchange: id(exchange.route))

    @cached_property
    def by_endpoint(self) -> dict[tuple[str, str], Flow]:
        """What each endpoint got, by cluster and address, likewise."""
        flows = self._remembered(
            lambda exchange: (
                None
                if exchange.endpoint is None or exchange.destination is None
                else (exchange.destination.cluster_name, exchange.endpoint.address)
            )
        )
        flows.pop(None, None)
        return flows

    @cached_property
    def by_mirror(self) -> dict[int, Flow]:
        """What each mirror object got, by its identity, of the copies that are still remembered."""
        return self._copied(lambda copy: [id(copy.mirror)])

    @cached_property
    def by_copy(self) -> dict[tuple[str, str], Flow]:
        """What clusters and endpoints got of copies, by cluster and address; the address of all is empty."""

        def places(copy: Copied) -> list[tuple[str, str]]:
            name = copy.mirror.cluster_name
            return [(name, ""), *([(name, copy.endpoint.address)] if copy.endpoint is not None else ())]

        return self._copied(places)

    def _copied(self, by: Callable[[Copied], Iterable[Any]]) -> dict[Any, Flow]:
        """Declined ones never went anywhere."""
        sent = (copy for copy in self._copies if copy.status or copy.flag is not None)
        full = self._copies_full
        seconds = max(self._now - self._copies[-1].ended_at, 0.1) if full else self.seconds
        return _counted(
            ((place, copy.flag is not None or copy.status >= 500) for copy in sent for place in by(copy)),
            seconds,
        )

    def _remembered(self, by: Callable[[Any], Any]) -> dict[Any, Flow]:
        return _counted(((by(exchange), exchange.status >= 500) for exchange, _ in self._recent), self._span)


def _counted(happened: Iterable[tuple[Any, bool]], seconds: float) -> dict[Any, Flow]:
    """Flows by place, of events that each have a place and may have failed."""
    counts: dict[Any, tuple[int, int]] = {}
    for place, failed in happened:
        requests, failures = counts.get(place, (0, 0))
        counts[place] = (requests + 1, failures + failed)
    return {place: (requests / seconds, failures / seconds) for place, (requests, failures) in counts.items()}
