"""What is counted about finished exchanges.

Lifetime: process. Labels are resolved once for each combination of route, destination, endpoint, status and
flags; after that a request costs one look-up and a few additions. The number of series is bounded by the
configuration and, whatever happens, by a limit; nothing that a client sends becomes a label, except where a
Telemetry document asks for it.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from itertools import chain
from typing import TYPE_CHECKING

from gateway.config.settings import DEFAULTS
from gateway.telemetry import catalog
from gateway.telemetry.catalog import BOUNDS, SECONDS
from gateway.telemetry.cells import MOST_SERIES, Count, Histogram, counts, histograms
from gateway.telemetry.events import Events
from gateway.telemetry.families import Family, exposition
from gateway.telemetry.labels import destination_labels, source_labels
from gateway.telemetry.overrides import NO_OVERRIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.config.settings import GatewaySettingsSpec
    from gateway.exchange.exchange import Exchange
    from gateway.routing.route import Route
    from gateway.telemetry.overrides import Overrides

MOST_ENTRIES = 20_000
"""Resolved combinations that are remembered; beyond, they are resolved anew."""
_GRPC = b"application/grpc"
_pairs = chain.from_iterable


class Entry:
    """Where the numbers of one combination go; entries with the same labels share their cells."""

    __slots__ = ("attempt", "duration", "received", "requests", "route", "route_seconds", "sent", "upstream")

    requests: Count
    duration: Histogram
    received: Histogram
    sent: Histogram
    route: Count
    route_seconds: Histogram
    attempt: Count
    upstream: Histogram


class Counters:
    """All series of this process that requests move."""

    def __init__(self, *, most_series: int = MOST_SERIES, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._entries: dict[object, Entry] = {}
        self._requests = counts(catalog.REQUESTS, most_series)
        self._durations = histograms(catalog.DURATION, most_series)
        self._received = histograms(catalog.REQUEST_BYTES, most_series)
        self._sent = histograms(catalog.RESPONSE_BYTES, most_series)
        self._routes = counts(catalog.ROUTE_REQUESTS, most_series)
        self._route_seconds = histograms(catalog.ROUTE_SECONDS, most_series)
        self._upstream = histograms(catalog.ATTEMPT_SECONDS, most_series)
        self._all = (
            self._requests,
            self._durations,
            self._received,
            self._sent,
            self._routes,
            self._route_seconds,
            self._upstream,
        )
        self._source = source_labels(DEFAULTS.spec)
        self._overrides: Overrides = NO_OVERRIDES
        self._columns: Callable[[Exchange], tuple[str, ...]] | None = None
        self.events = Events(most_series)
        """What happens to few requests: retries, timeouts, faults, replies of our own."""

    @property
    def series(self) -> int:
        """Label sets in use."""
        return sum(len(cells) for cells in self._all) + self.events.series

    def follow(self, settings: GatewaySettingsSpec, overrides: Overrides = NO_OVERRIDES) -> None:
        """Follows a generation: labels are resolved anew, numbers stay."""
        self._source = source_labels(settings)
        self._overrides = overrides
        self._columns = overrides.columns
        self._entries = {}

    def record(self, exchange: Exchange, ended_at: float) -> None:
        """Counts one finished exchange."""
        request = exchange.request
        flags = exchange.flags
        key: object = (exchange.route, exchange.destination, exchange.endpoint, exchange.status, flags)
        kind = request.header_map.get(b"content-type")
        if kind is not None and kind[:16] == _GRPC:
            key = (key, _grpc_status(exchange))
        if self._columns is not None:
            key = (key, self._columns(exchange))
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entry(exchange, key)
        milliseconds = (ended_at - exchange.started_at) * 1000.0
        place = bisect_left(BOUNDS, milliseconds)
        entry.requests.value += 1
        entry.route.value += 1
        cell = entry.duration
        cell.total += milliseconds
        cell.counts[place] += 1
        cell = entry.route_seconds
        cell.total += milliseconds / 1000.0
        cell.counts[place] += 1
        size = exchange.bytes_received + (exchange.request_head or len(b"".join(_pairs(request.headers))))
        cell = entry.received
        cell.total += size
        cell.counts[bisect_left(BOUNDS, size)] += 1
        size = exchange.bytes_sent + exchange.response_head
        if not exchange.response_head and (headers := exchange.response_headers) is not None:
            size += len(b"".join(_pairs(headers)))
        cell = entry.sent
        cell.total += size
        cell.counts[bisect_left(BOUNDS, size)] += 1
        service = exchange.service_time
        if service >= 0.0:
            cell = entry.upstream
            cell.total += service
            cell.counts[bisect_left(SECONDS, service)] += 1
            if not flags and not exchange.earlier and not exchange.mirrors:
                entry.attempt.value += 1
                return
        self.events.record(exchange)

    def exemplify(self, exchange: Exchange, ended_at: float, trace_id: str) -> None:
        """Ties the bucket of the duration to a trace; for traced requests, after `record`."""
        key = (exchange.route, exchange.destination, exchange.endpoint, exchange.status, exchange.flags)
        entry = self._entries.get(key)
        if entry is not None:
            milliseconds = (ended_at - exchange.started_at) * 1000.0
            exemplars = entry.duration.exemplars or {}
            exemplars[bisect_left(BOUNDS, milliseconds)] = (trace_id, milliseconds, self._wall())
            entry.duration.exemplars = exemplars

    def read(self) -> Iterator[Family]:
        """Every family; may be called in a thread."""
        for cells in self._all:
            yield cells.read()
        yield from self.events.read()
        beyond = self._requests.overflowed
        yield Family(catalog.SERIES, {(): self.series})
        yield Family(catalog.SERIES_OVERFLOW, {(): 0 if beyond is None else beyond.value})

    def exposition(self) -> bytes:
        """These families alone in Prometheus' text format; called in a thread."""
        return exposition(self.read())

    def _entry(self, exchange: Exchange, key: object) -> Entry:
        """Resolves the labels of a combination that is new."""
        if len(self._entries) >= MOST_ENTRIES:
            self._entries = {}
        destination, endpoint, route = exchange.destination, exchange.endpoint, exchange.route
        grpc = (exchange.request.header(b"content-type") or b"").startswith(_GRPC)
        labels = {
            **self._source,
            **destination_labels(destination, endpoint),
            "request_protocol": "grpc" if grpc else "http",
            "response_code": str(exchange.status),
            "grpc_response_status": _grpc_status(exchange) if grpc else "",
            "response_flags": ",".join(exchange.flags) or "-",
            "connection_security_policy": catalog.UNKNOWN,
        }
        columns = () if self._columns is None else self._columns(exchange)
        entry = self._entries[key] = Entry()
        apply = self._overrides.apply
        # A metric that is disabled is counted where nobody looks.
        changed = apply(catalog.REQUESTS, labels, columns)
        entry.requests = Count() if changed is None else self._requests.of(changed)
        entry.duration, entry.received, entry.sent = (
            Histogram(len(BOUNDS)) if changed is None else cells.of(changed)
            for cells in (self._durations, self._received, self._sent)
            for changed in [apply(cells.metric, labels, columns)]
        )
        names = ("", "") if route is None else (route.virtual_service, route_label(route))
        outcome = f"{exchange.status // 100}xx" if exchange.status else "0"
        entry.route = self._routes.at(*names, outcome, labels["response_flags"])
        entry.route_seconds = self._route_seconds.at(*names)
        cluster = "" if destination is None else destination.cluster_name
        entry.upstream = self._upstream.at(cluster) if cluster else Histogram(len(SECONDS))
        entry.attempt = Count() if endpoint is None else self.events.attempt(cluster, endpoint, outcome)
        return entry


def route_label(route: Route) -> str:
    """The route's name, or where its rule stands."""
    return route.name or f"http[{route.source.rule}]"


def _grpc_status(exchange: Exchange) -> str:
    """`grpc-status` of an answer that has only headers; with trailers of their own it is not known."""
    for name, value in exchange.response_headers or ():
        if name == b"grpc-status" and value.isdigit() and len(value) <= 2:
            return value.decode("ascii")
    return ""
