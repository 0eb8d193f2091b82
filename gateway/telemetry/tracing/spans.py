"""What spans say of a finished exchange: the server span, and one client span for each attempt.

Lifetime: request; custom tags are compiled once a generation.

Names and tags are those Envoy and Istio give theirs, beside the semantic conventions that
OpenTelemetry's middleware adds to the server span.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any

from gateway.exchange.facts import ExchangeFacts
from gateway.http.flags import Flag
from gateway.routing.operators import compile_format

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

    from gateway.config.settings import GatewaySettingsSpec
    from gateway.config.telemetry import CustomTag
    from gateway.exchange.exchange import Attempt, Exchange
    from gateway.telemetry.scope import TraceChoice
    from gateway.telemetry.tracing.export import Export

LONGEST_TAG = 256
"""Characters of a tag (Envoy `max_path_tag_length`)."""
_DRAW = random.Random(random.SystemRandom().getrandbits(64)).getrandbits  # noqa: S311 - ids, not secrets

Tags = dict[str, Any]
Read = "Callable[[Exchange], str | None]"


def new_span_id() -> int:
    """A random span id, never 0."""
    return _DRAW(64) or 1


def new_trace_id() -> int:
    """A random trace id, never 0."""
    return _DRAW(128) or 1


class CustomTags:
    """The tags of Telemetry documents, and Istio's own."""

    def __init__(self, choice: TraceChoice, settings: GatewaySettingsSpec) -> None:
        self._fixed: Tags = {}
        self._reads: list[tuple[str, Callable[[Exchange], str | None]]] = []
        if choice.istio_tags:
            labels = settings.labels
            self._fixed["istio.namespace"] = settings.namespace
            self._fixed["istio.canonical_service"] = labels.get(
                "service.istio.io/canonical-name", labels.get("app", settings.server_name)
            )
            self._fixed["istio.canonical_revision"] = labels.get(
                "service.istio.io/canonical-revision", labels.get("version", "latest")
            )
        for name, tag in choice.tags:
            self._add(name, tag)

    def _add(self, name: str, tag: CustomTag) -> None:
        if tag.literal is not None:
            self._fixed[name] = tag.literal.value
        elif tag.environment is not None:
            value = os.environ.get(tag.environment.name, tag.environment.default_value)
            if value:
                self._fixed[name] = value
        elif tag.header is not None:
            self._reads.append((name, _header(tag.header.name, tag.header.default_value)))
        elif tag.formatter is not None:
            made = compile_format(tag.formatter.value)
            if isinstance(made, bytes):
                self._fixed[name] = made.decode("utf-8", "replace")
            else:
                self._reads.append((name, lambda exchange: made(ExchangeFacts(exchange)).decode("latin-1")))

    def of(self, exchange: Exchange) -> Tags:
        """Every tag that has a value."""
        tags = dict(self._fixed)
        for name, read in self._reads:
            value = read(exchange)
            if value:
                tags[name] = value[:LONGEST_TAG]
        return tags


def _header(name: str, otherwise: str | None) -> Callable[[Exchange], str | None]:
    key = name.lower().encode()

    def read(exchange: Exchange) -> str | None:
        value = exchange.request.header(key)
        return otherwise if value is None else value.decode("latin-1")

    return read


class Trace:
    """The trace of one request: ids that go upstream before there are spans to have them."""

    __slots__ = ("_ids", "finished", "incoming_span", "span", "styles", "trace_id")

    def __init__(self, span: Span, styles: frozenset[str]) -> None:
        self.span = span
        """The server span."""
        self.trace_id = span.get_span_context().trace_id
        self.styles = styles
        """How the context is written for upstreams, beside W3C."""
        self.finished: Exchange | None = None
        self._ids: dict[int, int] = {}

    def span_id(self, attempt: int) -> int:
        """The id of the client span of an attempt; the first is 1."""
        return self._ids.setdefault(attempt, new_span_id())

    def ids(self, attempts: int) -> list[int]:
        """The ids of the client spans of that many attempts.

        When only the first attempt's went upstream, every upstream says it is its child: then it is the last
        attempt's, the one that was answered.
        """
        if attempts and set(self._ids) == {1}:
            return [*(new_span_id() for _ in range(attempts - 1)), self._ids[1]]
        return [self.span_id(number) for number in range(1, attempts + 1)]


class Spans:
    """Makes the spans of finished exchanges under one generation."""

    def __init__(self, export: Export, tags: CustomTags) -> None:
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

        self._export = export
        self._tags = tags
        self._scope = InstrumentationScope("gateway")

    def finish(self, trace: Trace, exchange: Exchange) -> None:
        """Completes the server span, which the middleware ends, and hands over the client spans."""
        trace.finished = exchange
        custom = self._tags.of(exchange)
        span = trace.span
        span.update_name(_name(exchange))
        span.set_attributes({**_tags(exchange), **_whole(exchange), **custom})
        if exchange.status >= 500 or exchange.status == 0:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

            span.set_status(Status(StatusCode.ERROR, exchange.details))
        attempts = exchange.attempts
        epoch = time.time_ns() - int(time.monotonic() * 1e9)
        for number, span_id in enumerate(trace.ids(len(attempts)), 1):
            made = self._client_span(trace, exchange, attempts[number - 1], number, span_id, epoch, custom)
            self._export.hand_over(made)

    def _client_span(  # noqa: PLR0913, PLR0917 - the parts of a span
        self,
        trace: Trace,
        exchange: Exchange,
        attempt: Attempt,
        number: int,
        span_id: int,
        epoch: int,
        custom: Tags,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415
        from opentelemetry.trace import (  # noqa: PLC0415
            SpanContext,
            SpanKind,
            Status,
            StatusCode,
            TraceFlags,
        )

        def at(moment: float) -> int:
            return epoch + int(moment * 1e9)

        server = trace.span.get_span_context()
        failed = attempt.flag is not None or attempt.status >= 500
        times = (("connected", attempt.connected_at), ("response head", attempt.headers_at))
        events = [Event(name, timestamp=at(moment)) for name, moment in times if moment]
        context = SpanContext(
            server.trace_id,
            span_id,
            is_remote=False,
            trace_flags=TraceFlags(1),
            trace_state=server.trace_state,
        )
        return ReadableSpan(
            name=_name(exchange),
            context=context,
            parent=server,
            resource=self._export.resource,
            attributes={**_tags(exchange), **_attempt(attempt, number), **custom},
            events=events,
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR, attempt.details or None) if failed else Status(StatusCode.UNSET),
            start_time=at(attempt.started_at),
            end_time=at(attempt.ended_at),
            instrumentation_scope=self._scope,
        )


def _name(exchange: Exchange) -> str:
    """Istio's decorator: host and port of the destination; `ingress` when there is none."""
    if exchange.destination is None:
        return "ingress"
    _, port, _, host = (*exchange.destination.cluster_name.split("|"), "", "", "")[:4]
    return f"{host}:{port}/*" if host else "ingress"


def _tags(exchange: Exchange) -> Tags:
    """What the spans of an exchange have in common."""
    request = exchange.request
    tags: Tags = {
        "component": "proxy",
        "http.protocol": exchange.protocol,
        "http.method": request.method,
        "guid:x-request-id": exchange.request_id,
    }
    if exchange.destination is not None:
        tags["upstream_cluster"] = tags["upstream_cluster.name"] = exchange.destination.cluster_name
    route = exchange.route
    if route is not None:
        tags["gateway.route"] = route.name or str(route.source)
        tags["gateway.virtual_service"] = route.virtual_service
    return tags


def _whole(exchange: Exchange) -> Tags:
    """What only the server span says."""
    request = exchange.request
    tags: Tags = {
        "http.status_code": exchange.status,
        "response_flags": ",".join(exchange.flags) or "-",
        "gateway.response_code_details": exchange.details,
        "request_size": exchange.bytes_received,
        "response_size": exchange.bytes_sent,
        "peer.address": exchange.downstream_remote_address,
        "user_agent": (request.header(b"user-agent") or b"-")[:LONGEST_TAG].decode("latin-1"),
        "gateway.generation": exchange.snapshot.generation,
        "gateway.attempts": len(exchange.earlier) + (exchange.endpoint is not None),
    }
    if exchange.status >= 500 or exchange.status == 0:
        tags["error"] = True
    if exchange.mirrors:
        tags["gateway.mirrors"] = exchange.mirrors
    if exchange.retries_denied:
        tags["gateway.retries_denied"] = exchange.retries_denied
    if exchange.delayed:
        tags["gateway.fault.delay_seconds"] = exchange.delayed
    if Flag.FAULT_INJECTED in exchange.flags:
        tags["gateway.fault.abort"] = True
    if request.request_principal:
        tags["gateway.request_principal"] = request.request_principal[:LONGEST_TAG]
    if request.peer is not None and request.peer.principal:
        tags["gateway.peer_principal"] = request.peer.principal
    return tags


def _attempt(attempt: Attempt, number: int) -> Tags:
    """What a client span says of its attempt."""
    endpoint = attempt.endpoint
    track = getattr(endpoint, "track", None)
    tags: Tags = {
        "upstream_address": endpoint.address,
        "peer.address": endpoint.address,
        "response_flags": "-" if attempt.flag is None else str(attempt.flag),
        "gateway.attempt": number,
        "gateway.retry": number > 1,
        "gateway.connection_reused": attempt.reused,
        "gateway.connection_stale": attempt.stale,
        "gateway.endpoint_ejected": track is not None and track.ejected_until is not None,
    }
    if attempt.status:
        tags["http.status_code"] = attempt.status
    if attempt.details:
        tags["gateway.details"] = attempt.details
    if attempt.flag is not None or attempt.status >= 500:
        tags["error"] = True
    return tags
