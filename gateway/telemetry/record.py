"""The end of every exchange: counted, logged, traced, exactly once (step 11).

Lifetime: process.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from gateway.telemetry import catalog
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.counters import Counters
from gateway.telemetry.families import Family, exposition
from gateway.telemetry.gauges import (
    certificate_families,
    cluster_families,
    edge_families,
    handshake_families,
    policy_families,
    security_families,
)
from gateway.telemetry.overrides import compile_overrides
from gateway.telemetry.runtime import Runtime
from gateway.telemetry.scope import TraceChoice, applicable, log_choice, trace_choice
from gateway.telemetry.shared import Shared
from gateway.telemetry.tracing.export import Export
from gateway.telemetry.tracing.tracing import Tracing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from gateway.config.settings import GatewaySettingsSpec
    from gateway.exchange.exchange import Exchange
    from gateway.exchange.mirror import Copied
    from gateway.http.headers import Headers
    from gateway.routing.snapshot import Snapshot
    from gateway.security.counts import PolicyCounts
    from gateway.security.state import SecurityState
    from gateway.telemetry.tracing.tracing import Serve
    from gateway.tls.expiry import Held
    from gateway.tls.handshakes import Handshakes
    from gateway.upstream import Cluster


class Telemetry:
    """Everything that learns of finished exchanges."""

    def __init__(self, *, wall_clock: Callable[[], float] = time.time) -> None:
        self.counters = Counters(wall=wall_clock)
        self.log = AccessLog()
        self.runtime = Runtime()
        self.edge: Callable[[], Any] = lambda: None
        """Gives the `gateway.server.edge.Edge` whose connections are counted."""
        self.tunnels: Callable[[], int] = lambda: 0
        """Gives how many WebSockets are open."""
        self.certificates: Callable[[], Iterable[Held]] | None = None
        """Gives the certificates in use."""
        self.handshakes: Handshakes | None = None
        self.security: SecurityState | None = None
        """Whose keys and rate limits are told of."""
        self.policies: Callable[[], PolicyCounts | None] = lambda: None
        """Gives what authorization policies counted."""
        self.control: Callable[[], Iterable[Family]] = tuple
        """Gives the numbers of the control path."""
        self.gently: Callable[[], AbstractContextManager[None]] = nullcontext
        """Surrounds what a thread of ours does: `gateway.control.pauses.considerate`."""
        self._observers: tuple[Callable[[Exchange, float], None], ...] = ()
        self._copy_observers: tuple[Callable[[Copied], None], ...] = ()
        self._shared: Shared | None = None
        self._tracing: Tracing | None = None
        self._traces = TraceChoice()
        self._clusters: Mapping[str, Cluster] = {}
        self._wall_clock = wall_clock
        self._later: Callable[..., asyncio.TimerHandle] | None = None
        self._logs = False

    def observe(
        self, observer: Callable[[Exchange, float], None], copies: Callable[[Copied], None] | None = None
    ) -> None:
        """`observer` is called with every finished exchange and its end's monotonic time, `copies` with what
        became of every copy for a mirror.
        """
        self._observers = (*self._observers, observer)
        if copies is not None:
            self._copy_observers = (*self._copy_observers, copies)

    def start(self, snapshot: Snapshot, loop: asyncio.AbstractEventLoop) -> None:
        """Begins with the first generation."""
        self._later = loop.call_later
        self.runtime.lag.start(loop)
        self.follow(snapshot)
        if self._shared is None and (shared := Shared.from_environment()) is not None:
            shared.start(self._own, self.gently)
            self._shared = shared

    def share(self, folder: Path) -> None:
        """Shares numbers with other workers through `folder`, unless GATEWAY_RUNTIME names one already."""
        if self._shared is None:
            self._shared = Shared(folder)
            self._shared.start(self._own, self.gently)

    def around(self, serve: Serve, settings: GatewaySettingsSpec) -> Serve:
        """`serve`, with traces of sampled requests when the `OTEL_*` environment names an exporter."""
        export = Export.from_environment(settings.server_name or "asgi-gateway")
        if export is None:
            return serve
        self._tracing = Tracing(export, serve)
        self._tracing.follow(self._traces, settings)
        return self._tracing.serve

    def follow(self, snapshot: Snapshot) -> None:
        """Follows a generation: labels, overrides, access log, sampling."""
        self._clusters = snapshot.clusters
        documents = applicable(snapshot.config)
        settings = snapshot.config.settings.spec
        self.counters.follow(settings, compile_overrides(documents))
        self._logs = self.log.follow(settings.access_log, log_choice(documents))
        self._traces = trace_choice(documents)
        if self._tracing is not None:
            self._tracing.follow(self._traces, settings)

    def record(self, exchange: Exchange) -> None:
        """Counts, traces and logs `exchange`."""
        ended_at = exchange.ended_at
        self.counters.record(exchange, ended_at)
        if self._tracing is not None and (trace_id := self._tracing.record(exchange)):
            self.counters.exemplify(exchange, ended_at, trace_id)
        if self._logs and self._later is not None:
            self.log.record(exchange, ended_at, self._wall_clock(), self._later)
        for observer in self._observers:
            observer(exchange, ended_at)

    def copied(self, copied: Copied) -> None:
        """Counts a copy that is over."""
        self.counters.events.copied(copied)
        for observer in self._copy_observers:
            observer(copied)

    def context(self, exchange: Exchange, headers: Headers, attempt: int) -> Headers:
        """`headers` with the trace context of a repeated attempt; untraced requests keep theirs."""
        return headers if self._tracing is None else self._tracing.headers(exchange, headers, attempt)

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
        yield Family(catalog.TUNNELS, {(): self.tunnels()})
        yield from certificate_families(self.certificates)
        yield from handshake_families(self.handshakes)
        yield from security_families(self.security)
        yield from policy_families(self.policies())
        yield Family(catalog.LOG_LINES, {(): self.log.written})
        yield Family(catalog.LOG_DROPPED, {(): self.log.dropped})
        if self._tracing is not None:
            yield self._tracing.decisions.read()
        yield from self.control()
        yield from self.runtime.read()

    def close(self) -> None:
        """Writes what is still in memory."""
        self.runtime.lag.stop()
        self.log.close()
        self._logs = False
        if self._shared is not None:
            self._shared.stop()
            self._shared = None
        if self._tracing is not None:
            self._tracing.close()
            self._tracing = None
