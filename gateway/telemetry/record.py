"""The end of every exchange: counted, logged, traced, exactly once (step 11).

Lifetime: process.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gateway.telemetry import catalog
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.counters import Counters
from gateway.telemetry.families import Family, exposition
from gateway.telemetry.gauges import certificate_families, cluster_families, edge_families
from gateway.telemetry.overrides import compile_overrides
from gateway.telemetry.runtime import Runtime
from gateway.telemetry.scope import applicable, log_choice
from gateway.telemetry.shared import Shared

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.exchange.exchange import Exchange
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Cluster


class Telemetry:
    """Everything that learns of finished exchanges."""

    def __init__(self, *, wall_clock: Callable[[], float] = time.time) -> None:
        self.counters = Counters(wall=wall_clock)
        self.log = AccessLog()
        self.runtime = Runtime()
        self.edge: Callable[[], Any] = lambda: None
        """Gives the `gateway.server.edge.Edge` whose connections are counted."""
        self.certificates: Callable[[], Iterable[tuple[str, float]]] | None = None
        """Gives name and end (seconds since the epoch) of each certificate in use."""
        self._observers: tuple[Callable[[Exchange, float], None], ...] = ()
        self._shared: Shared | None = None
        self._clusters: Mapping[str, Cluster] = {}
        self._wall_clock = wall_clock
        self._later: Callable[..., asyncio.TimerHandle] | None = None
        self._logs = False

    def observe(self, observer: Callable[[Exchange, float], None]) -> None:
        """`observer` is called with every finished exchange and its end's monotonic time."""
        self._observers = (*self._observers, observer)

    def start(self, snapshot: Snapshot, loop: asyncio.AbstractEventLoop) -> None:
        """Begins with the first generation."""
        self._later = loop.call_later
        self.runtime.lag.start(loop)
        self.follow(snapshot)
        if self._shared is None and (shared := Shared.from_environment()) is not None:
            shared.start(self._own)
            self._shared = shared

    def follow(self, snapshot: Snapshot) -> None:
        """Follows a generation: labels, overrides, access log, sampling."""
        self._clusters = snapshot.clusters
        documents = applicable(snapshot.config)
        settings = snapshot.config.settings.spec
        self.counters.follow(settings, compile_overrides(documents))
        self._logs = self.log.follow(settings.access_log, log_choice(documents))

    def record(self, exchange: Exchange) -> None:
        """Counts and logs `exchange`."""
        ended_at = exchange.ended_at
        self.counters.record(exchange, ended_at)
        if self._logs and self._later is not None:
            self.log.record(exchange, ended_at, self._wall_clock(), self._later)
        for observer in self._observers:
            observer(exchange, ended_at)

    def families(self) -> list[Family]:
        """Every number of this gateway, all its workers together; called in a thread."""
        own = self._own()
        return list(own) if self._shared is None else self._shared.join(own)

    def exposition(self, *, openmetrics: bool = False) -> bytes:
        """Prometheus' text format; takes milliseconds, so it is called in a thread."""
        return exposition(self.families(), openmetrics=openmetrics)

    def _own(self) -> Iterator[Family]:
        yield from self.counters.read()
        yield from cluster_families(self._clusters)
        yield from edge_families(self.edge())
        yield from certificate_families(self.certificates)
        yield Family(catalog.LOG_LINES, {(): self.log.written})
        yield Family(catalog.LOG_DROPPED, {(): self.log.dropped})
        yield from self.runtime.read()

    def close(self) -> None:
        """Writes what is still in memory."""
        self.runtime.lag.stop()
        self.log.close()
        self._logs = False
        if self._shared is not None:
            self._shared.stop()
            self._shared = None
