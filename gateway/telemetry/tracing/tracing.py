"""Requests that are traced, and those that are not: decided before anything of OpenTelemetry is entered.

Lifetime: process.

A sampled request runs inside OpenTelemetry's ASGI middleware, in a task of its own: it keeps the current span
in a context variable, and requests that the server steps by hand share a context with their neighbours. The
others only pass context on.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gateway.http.secrets import shown_target
from gateway.telemetry import catalog
from gateway.telemetry.cells import Cells, Count, counts
from gateway.telemetry.tracing.context import (
    NAMES,
    TRACEPARENT,
    Incoming,
    incoming,
    outgoing,
    replaced,
    traceparent,
)
from gateway.telemetry.tracing.sampling import Sampler
from gateway.telemetry.tracing.spans import CustomTags, Spans, Trace, new_span_id, new_trace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, MutableMapping

    from gateway.config.settings import GatewaySettingsSpec
    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.http.headers import Headers
    from gateway.telemetry.scope import TraceChoice
    from gateway.telemetry.tracing.export import Export

    Serve = Callable[[Downstream], Coroutine[Any, Any, None]]

PROPAGATORS = "OTEL_PROPAGATORS"


def _styles() -> frozenset[str]:
    """How context is written beside W3C, whatever a request came with."""
    named = {item.strip().lower() for item in os.environ.get(PROPAGATORS, "").split(",")}
    return frozenset(named & {"b3", "b3multi"})


class Tracing:
    """Decides, passes context on, and makes spans."""

    def __init__(self, export: Export, serve: Serve, *, sampler: Sampler | None = None) -> None:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415 - 0.1 s
        from opentelemetry.metrics import NoOpMeterProvider  # noqa: PLC0415

        self._export = export
        self._inner = serve
        self._sampler = sampler or Sampler()
        self._styles = _styles()
        self._live: dict[bytes, Trace] = {}
        self._spans: Spans | None = None
        self._propagates = True
        self._reports = True
        self.decisions: Cells[Count] = counts(catalog.SPANS)
        self._by_dice = self.decisions.at("dice")
        self._middleware = OpenTelemetryMiddleware(
            self._application,
            default_span_details=lambda _: ("ingress", {}),
            tracer_provider=export.provider,
            meter_provider=NoOpMeterProvider(),
            exclude_spans=["receive", "send"],
        )

    def __repr__(self) -> str:
        return f"<Tracing {self._sampler.share:.1%}, under way {len(self._live)}>"

    def follow(self, choice: TraceChoice, settings: GatewaySettingsSpec) -> None:
        """Follows a generation."""
        self._sampler.follow(choice)
        self._propagates = choice.propagate
        self._reports = not choice.disabled
        self._spans = Spans(self._export, CustomTags(choice, settings))

    # -- at the beginning ----------------------------------------------------------------------

    def serve(self, downstream: Downstream) -> Coroutine[Any, Any, None]:
        """Serves a request: what the server calls instead of the spine."""
        for name, _ in downstream.headers:
            if name in NAMES:
                return self._with_context(downstream)
        if self._sampler.roll():
            self._by_dice.value += 1
            return self._begin(downstream, Incoming(), sampled=True)
        if self._propagates:
            line = (TRACEPARENT, traceparent(new_trace_id(), new_span_id(), sampled=False))
            downstream.headers = [*downstream.headers, line]
        return self._inner(downstream)

    def _with_context(self, downstream: Downstream) -> Coroutine[Any, Any, None]:
        """A request that came with a context, or with something that is to be one."""
        context = incoming(downstream.headers)
        sampled, decision = self._sampler.judge(context.sampled)
        if sampled:
            self.decisions.at(decision).value += 1
        return self._begin(downstream, context, sampled=sampled)

    def _begin(
        self, downstream: Downstream, context: Incoming, *, sampled: bool
    ) -> Coroutine[Any, Any, None]:
        if sampled and self._reports:
            return self._traced(downstream, context)
        keeps = bool(context.trace) and context.sampled == sampled and not context.broken
        if self._propagates and not keeps:
            # The caller's trace goes on; its decision is ours now. Without one, a new trace begins.
            trace, span = context.trace or new_trace_id(), context.span or new_span_id()
            lines = outgoing(trace, span, span, sampled=sampled, styles=self._styles_for(context))
            downstream.headers = replaced(downstream.headers, lines, all_of_it=context.broken)
        return self._inner(downstream)

    def _styles_for(self, context: Incoming) -> frozenset[str]:
        return self._styles | ({context.style} & {"b3", "b3multi"})

    async def _traced(self, downstream: Downstream, context: Incoming) -> None:
        from opentelemetry import context as contexts  # noqa: PLC0415 - imported already

        if downstream.resume is not None:
            await asyncio.sleep(0)  # From here on a task runs us, with a context of its own.
        headers = replaced(downstream.headers, [], all_of_it=context.broken)
        if context.trace:
            # Whatever form it came in; OTEL_PROPAGATORS says which of these the middleware reads.
            headers += outgoing(
                context.trace, context.span, context.span, sampled=True, styles=("b3", "b3multi")
            )
        scope = _scope(downstream, headers, self._styles_for(context))
        # The task began with the context of whatever call received the request: it may hold a span.
        current = contexts.get_current() if downstream.place.stock else contexts.Context()
        token = contexts.attach(current)
        try:
            await self._middleware(scope, _receive, _send)
        finally:
            contexts.detach(token)

    async def _application(self, scope: Any, _receive: Any, send: Any) -> None:
        """What the middleware wraps: the request, with the context of its first attempt on the way up."""
        from opentelemetry.trace import get_current_span  # noqa: PLC0415 - imported already

        downstream, styles = scope["gateway"], scope["gateway.styles"]
        trace = Trace(get_current_span(), styles)
        lines = self._lines(trace, 1)
        key = lines[0][1]
        if self._propagates:
            downstream.headers = replaced(scope["headers"], lines)
        else:
            downstream.headers = [*downstream.headers, (TRACEPARENT, key)]
        self._live[key] = trace
        try:
            await self._inner(downstream)
        finally:
            self._live.pop(key, None)
        exchange = trace.finished
        if exchange is not None and exchange.status:
            headers = exchange.response_headers or []
            await send({"type": "http.response.start", "status": exchange.status, "headers": headers})

    def _lines(self, trace: Trace, attempt: int) -> Headers:
        parent = trace.span.get_span_context().span_id
        return outgoing(trace.trace_id, trace.span_id(attempt), parent, sampled=True, styles=trace.styles)

    def headers(self, exchange: Exchange, headers: Headers, attempt: int) -> Headers:
        """`headers` with the context of an attempt (the first is 1), for the spine to send upstream.

        Without a call the attempts after the first send the first one's.
        """
        trace = self._of(exchange)
        return headers if trace is None else replaced(headers, self._lines(trace, attempt))

    # -- at the end ----------------------------------------------------------------------------

    def _of(self, exchange: Exchange) -> Trace | None:
        """The trace of an exchange: nobody else could have sent a header with its random ids."""
        value = exchange.request.header_map.get(TRACEPARENT)
        return None if value is None else self._live.get(value)

    def record(self, exchange: Exchange) -> str:
        """Makes the spans of a finished exchange; gives its trace id, empty when it is not traced."""
        if not self._live:
            return ""
        trace = self._of(exchange)
        if trace is None or self._spans is None:
            return ""
        self._spans.finish(trace, exchange)
        return f"{trace.trace_id:032x}"

    def flush(self) -> None:
        """Sends what is waiting; called in a thread."""
        self._export.flush()

    def close(self) -> None:
        """Sends what is waiting, and ends."""
        self._export.close()


def _scope(downstream: Downstream, headers: Headers, styles: frozenset[str]) -> dict[str, Any]:
    place = downstream.place
    raw_path, _, query = shown_target(downstream.raw_path, downstream.query).partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": place.protocol.removeprefix("HTTP/"),
        "method": downstream.method,
        "scheme": place.scheme,
        "root_path": "",
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "client": place.client,
        "server": place.server,
        "gateway": downstream,
        "gateway.styles": styles,
    }


async def _receive() -> MutableMapping[str, Any]:
    message = "the middleware reads nothing: the request body goes past it"
    raise AssertionError(message)


async def _send(_message: MutableMapping[str, Any]) -> None:
    """The response has been sent already; the middleware only wants to see it."""
