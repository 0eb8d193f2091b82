"""What is counted about finished exchanges.

Lifetime: process. Labels are resolved once for each combination of route, destination, endpoint, status and
flags; after that a request costs one look-up and a few additions to the combination's tally. The number of
series is bounded by the configuration and, whatever happens, by a limit; nothing that a client sends becomes
a label, except where a Telemetry document asks for it.
"""

from __future__ import annotations

import threading
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
from gateway.telemetry.labels import destination_labels, principal_labels, source_labels
from gateway.telemetry.overrides import NO_OVERRIDES
from gateway.telemetry.tally import Cells, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.config.settings import GatewaySettingsSpec
    from gateway.exchange.exchange import Exchange
    from gateway.routing.route import Route
    from gateway.telemetry.overrides import Overrides

MOST_TALLIES = 5_000
"""Combinations whose labels are remembered; beyond, they are resolved anew."""
MOST_FORMER = 4
"""Former sets of them that wait for a reader to add them up."""
_GRPC = b"application/grpc"
SWITCHED = 101
_pairs = chain.from_iterable


class Counters:
    """All series of this process that requests move."""

    def __init__(self, *, most_series: int = MOST_SERIES, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._tallies: dict[object, Tally] = {}
        self._former: list[list[Tally]] = []
        self._settling = threading.Lock()
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
        self._forget()

    def record(self, exchange: Exchange, ended_at: float) -> None:
        """Counts one finished exchange."""
        request = exchange.request
        flags = exchange.flags
        key: object = (exchange.route, exchange.destination, exchange.endpoint, exchange.status, flags)
        kind = request.header_map.get(b"content-type")
        if self._columns is not None or (kind is not None and kind[:16] == _GRPC):
            key = self._finer(exchange, key)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tally(exchange, key)
        milliseconds = (ended_at - exchange.started_at) * 1000.0
        tally.milliseconds += milliseconds
        tally.durations[bisect_left(BOUNDS, milliseconds)] += 1
        size = exchange.bytes_received + (exchange.request_head or len(b"".join(_pairs(request.headers))))
        tally.received_bytes += size
        tally.received[bisect_left(BOUNDS, size)] += 1
        size = exchange.bytes_sent + exchange.response_head
        if not exchange.response_head and (headers := exchange.response_headers) is not None:
            size += len(b"".join(_pairs(headers)))
        tally.sent_bytes += size
        tally.sent[bisect_left(BOUNDS, size)] += 1
        service = exchange.service_time
        if service >= 0.0:
            tally.seconds += service
            tally.services[bisect_left(SECONDS, service)] += 1
            if not flags and not exchange.earlier and not exchange.mirrors:
                tally.plain += 1
                return
        self.events.record(exchange)

    def exemplify(self, exchange: Exchange, ended_at: float, trace_id: str) -> None:
        """Ties the bucket of the duration to a trace; for traced requests, after `record`."""
        key = (exchange.route, exchange.destination, exchange.endpoint, exchange.status, exchange.flags)
        tally = self._tallies.get(self._finer(exchange, key))
        if tally is not None:
            milliseconds = (ended_at - exchange.started_at) * 1000.0
            place, at, cells = bisect_left(BOUNDS, milliseconds), self._wall(), tally.cells
            for cell, value in (
                (cells.durations, milliseconds),
                (cells.route_seconds, milliseconds / 1000.0),
            ):
                exemplars = cell.exemplars or {}
                exemplars[place] = (trace_id, value, at)
                cell.exemplars = exemplars

    def read(self) -> Iterator[Family]:
        """Every family; may be called in a thread."""
        self._settle()
        for cells in self._all:
            yield cells.read()
        yield from self.events.read()
        beyond = self._requests.overflowed
        yield Family(catalog.SERIES, {(): self.series})
        yield Family(catalog.SERIES_OVERFLOW, {(): 0 if beyond is None else beyond.value})

    def exposition(self) -> bytes:
        """These families alone in Prometheus' text format; called in a thread."""
        return exposition(self.read())

    def _settle(self) -> None:
        """Adds up what was counted since the last time."""
        with self._settling:
            while self._former:
                for tally in self._former.pop():
                    tally.settle()
            for tally in list(self._tallies.values()):
                tally.settle()

    def _forget(self) -> None:
        """Begins with no tallies; those there are wait to be read."""
        if self._tallies:
            self._former.append(list(self._tallies.values()))
            self._tallies = {}
        if len(self._former) > MOST_FORMER:
            self._settle()  # Nobody reads them.

    def _finer(self, exchange: Exchange, key: object) -> object:
        """`key` with what else tells combinations apart: gRPC's status, and tags of Telemetry documents."""
        if (exchange.request.header_map.get(b"content-type") or b"").startswith(_GRPC):
            key = (key, _grpc_status(exchange))
        return key if self._columns is None else (key, self._columns(exchange))

    def _tally(self, exchange: Exchange, key: object) -> Tally:
        """Resolves the labels of a combination that is new."""
        if len(self._tallies) >= MOST_TALLIES:
            self._forget()
        destination, endpoint, route = exchange.destination, exchange.endpoint, exchange.route
        grpc = (exchange.request.header(b"content-type") or b"").startswith(_GRPC)
        labels = {
            **self._source,
            **destination_labels(destination, endpoint),
            **principal_labels(endpoint),
            "request_protocol": "grpc" if grpc else "http",
            "response_code": str(exchange.status),
            "grpc_response_status": _grpc_status(exchange) if grpc else "",
            "response_flags": ",".join(exchange.flags) or "-",
            "connection_security_policy": catalog.UNKNOWN,
        }
        columns = () if self._columns is None else self._columns(exchange)
        cells = Cells()
        apply = self._overrides.apply
        # A metric that is disabled is counted where nobody looks.
        changed = apply(catalog.REQUESTS, labels, columns)
        cells.requests = Count() if changed is None else self._requests.of(changed)
        cells.durations, cells.received, cells.sent = (
            Histogram(len(BOUNDS)) if changed is None else series.of(changed)
            for series in (self._durations, self._received, self._sent)
            for changed in [apply(series.metric, labels, columns)]
        )
        names = ("", "") if route is None else (route.virtual_service, route_label(route))
        outcome = f"{exchange.status // 100}xx" if exchange.status else "0"
        cells.route = self._routes.at(*names, outcome, labels["response_flags"])
        # How long a WebSocket was open says nothing of how fast a route is.
        cells.route_seconds = (
            Histogram(len(BOUNDS)) if exchange.status == SWITCHED else self._route_seconds.at(*names)
        )
        cluster = "" if destination is None else destination.cluster_name
        cells.upstream = self._upstream.at(cluster) if cluster else Histogram(len(SECONDS))
        cells.attempts = Count() if endpoint is None else self.events.attempt(cluster, endpoint, outcome)
        tally = self._tallies[key] = Tally(cells)
        return tally


def route_label(route: Route) -> str:
    """The route's name, or where its rule stands."""
    return route.name or f"http[{route.source.rule}]"


def _grpc_status(exchange: Exchange) -> str:
    """`grpc-status` of an answer that has only headers; with trailers of their own it is not known."""
    for name, value in exchange.response_headers or ():
        if name == b"grpc-status" and value.isdigit() and len(value) <= 2:
            return value.decode("ascii")
    return ""
