"""What flows where right now, out of the recorder's memory.

Lifetime: request. Made on the event loop, where the recorder is written; later read in a thread.
"""

from __future__ import annotations

from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.exchange.mirror import Copied
    from gateway.routing.policies import Mirror
    from gateway.routing.route import Route
    from gateway.telemetry.recorder import Counts, Key, Recorder

WINDOW: Final = 10.0
"""Seconds that present rates are computed over."""
POINT: Final = 10.0
"""Seconds of a point of the recorder's history."""


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


class Flows:
    """The last ten seconds by route, cluster and endpoint, and the last quarter of an hour altogether."""

    def __init__(self, recorder: Recorder | None) -> None:
        """Reads the recorder; on the event loop."""
        self._seconds = WINDOW
        self._window: dict[Key, Counts] = {}
        self._points: list[tuple[float, float, Counts]] = []
        self._recent: list[Any] = []
        self._copies: list[Copied] = []
        self._now, self._full, self._copies_full = 0.0, False, False
        if recorder is None:
            return
        now = recorder.clock()
        self._seconds, self._window = recorder.window(WINDOW)
        for point in recorder.history():
            # The last point may still be filling.
            seconds = max(POINT - max(point.at - now, 0.0), 1.0)
            self._points.append((recorder.moment(min(point.at, now)), seconds, point.counts))
        youngest = reversed(recorder.recent)
        self._recent = list(takewhile(lambda entry: entry[1] > now - WINDOW, youngest))
        self._full = len(self._recent) == recorder.recent.maxlen
        self._copies = list(takewhile(lambda copy: copy.ended_at > now - WINDOW, reversed(recorder.copies)))
        self._copies_full = len(self._copies) == recorder.copies.maxlen
        self._now = now

    def __repr__(self) -> str:
        return f"<Flows of {len(self._window)} places>"

    def total(self) -> dict[str, Any]:
        """All requests."""
        return rates(self._grouped(lambda _: "").get(""), self._seconds)

    def route(self, source: str) -> dict[str, Any]:
        """Of one route, by where it is written."""
        return rates(self._routes.get(source), self._seconds)

    def cluster(self, name: str) -> dict[str, Any]:
        """Of one cluster."""
        return rates(self._clusters.get(name), self._seconds)

    def between(self, source: str, cluster: str) -> dict[str, Any]:
        """Of what one route sends to one cluster."""
        return rates(self._pairs.get(f"{source}\0{cluster}"), self._seconds)

    def taken(self, routes: Iterable[Route]) -> dict[str, Any]:
        """Of the routes that a rule has on one listener, of the requests that are still remembered: on
        several listeners they share their name.
        """
        flows = [self._taken.get(each, (0, 0)) for each in {id(route) for route in routes}]
        return self._remembered((sum(flow[0] for flow in flows), sum(flow[1] for flow in flows)))

    def endpoint(self, cluster: str, address: str) -> dict[str, Any]:
        """Requests and failures a second of one endpoint, of the requests that are still remembered."""
        return self._remembered(self._endpoints.get((cluster, address), (0, 0)))

    def copied(self, mirrors: Iterable[Mirror]) -> dict[str, Any]:
        """Of copies: what these mirrors of a route got."""
        wanted = {id(mirror) for mirror in mirrors}
        return self._copied(copy for copy in self._copies if id(copy.mirror) in wanted)

    def copied_to(self, cluster: str, address: str = "") -> dict[str, Any]:
        """Of copies: what a cluster got, or one endpoint of it."""
        return self._copied(
            copy
            for copy in self._copies
            if copy.mirror.cluster_name == cluster
            and (not address or (copy.endpoint is not None and copy.endpoint.address == address))
        )

    def _copied(self, copies: Iterable[Copied]) -> dict[str, Any]:
        """Declined ones never went anywhere."""
        sent = [copy for copy in copies if copy.status or copy.flag is not None]
        failed = sum(copy.flag is not None or copy.status >= 500 for copy in sent)
        full = self._copies_full
        span = max(self._now - self._copies[-1].ended_at, 0.1) if self._copies and full else self._seconds
        return self._remembered((len(sent), failed), span)

    def _remembered(self, flow: tuple[int, int], span: float | None = None) -> dict[str, Any]:
        requests, failures = flow
        seconds = span or self._span
        success = None if not requests else _short(100 * (1 - failures / requests))
        return {"rps": _short(requests / seconds), "failed": _short(failures / seconds), "success": success}

    def busiest_routes(self, most: int) -> list[dict[str, Any]]:
        """Those with most requests; the name may be where the route is written."""
        named = {key.source: key.route for key in self._window}
        order = sorted(self._routes, key=lambda source: -self._routes[source].requests)[:most]
        return [{"source": source, "name": named[source], **self.route(source)} for source in order]

    def busiest_clusters(self, most: int) -> list[tuple[str, dict[str, Any]]]:
        """Those with most requests."""
        order = sorted(self._clusters, key=lambda name: -self._clusters[name].requests)
        return [(name, self.cluster(name)) for name in order if name][:most]

    def history(self) -> dict[str, list[float | None]]:
        """Columns, so that a quarter of an hour stays small; times in seconds since the epoch."""
        shown = [rates(counts, seconds) for _, seconds, counts in self._points]
        return {
            "at": [round(at, 1) for at, _, _ in self._points],
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
        for key, counts in self._window.items():
            name = by(key)
            if name not in groups:
                groups[name] = type(counts)()
            groups[name].add(counts)
        return groups

    @cached_property
    def _span(self) -> float:
        """Seconds that the remembered requests cover: fewer than the window when there were very many."""
        return max(self._now - self._recent[-1][1], 0.1) if self._recent and self._full else self._seconds

    @cached_property
    def _taken(self) -> dict[int, tuple[int, int]]:
        counts: dict[int, tuple[int, int]] = {}
        for exchange, _ in self._recent:
            requests, failures = counts.get(id(exchange.route), (0, 0))
            counts[id(exchange.route)] = (requests + 1, failures + (exchange.status >= 500))
        return counts

    @cached_property
    def _endpoints(self) -> dict[tuple[str, str], tuple[int, int]]:
        counts: dict[tuple[str, str], tuple[int, int]] = {}
        for exchange, _ in self._recent:
            if exchange.endpoint is None or exchange.destination is None:
                continue
            place = (exchange.destination.cluster_name, exchange.endpoint.address)
            requests, failures = counts.get(place, (0, 0))
            counts[place] = (requests + 1, failures + (exchange.status >= 500))
        return counts
