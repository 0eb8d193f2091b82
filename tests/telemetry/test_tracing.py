"""Traces of sampled requests, in a real receiver; context that goes on, sampled or not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.otlp import GrpcReceiver, HttpReceiver, Receiver
from support.stage import Backend, Call, answering, route, service, stage

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVER, CLIENT = 2, 3


def telemetry(tracing: str) -> str:
    return f"""
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: traces}}
spec: {{tracing: [{tracing}]}}
---"""


ALWAYS, NEVER = telemetry("{randomSamplingPercentage: 100}"), telemetry("{randomSamplingPercentage: 0}")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_PROPAGATORS", "OTEL_SERVICE_NAME", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


def use(monkeypatch: pytest.MonkeyPatch, receiver: Receiver, **more: str) -> None:
    for name, value in {**receiver.environment, **more}.items():
        monkeypatch.setenv(name, value)


def run(folder: Path, config: str, *requests: str, handler=answering, http=None) -> Backend:
    """Sends each request (its header lines) one after the other; gives the backend, with what it saw."""
    backend = Backend(handler)

    async def main() -> None:
        async with backend.running():
            text = service("reviews", backend.port) + route("reviews", ROUTE) + config
            named = {} if http is None else {"http": http}
            async with stage(folder, text, **named) as gateway:
                for headers in requests:
                    await gateway.get(headers=headers)

    asyncio.run(main())
    return backend


ROUTE = "\n  - {name: all, route: [{destination: {host: reviews}}]}"


def headers_of(backend: Backend) -> dict[str, str]:
    lines = backend.calls[-1].seen.decode().split("\r\n\r\n")[-2].split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


# -- spans -------------------------------------------------------------------------------------


@pytest.mark.parametrize("receiver", [HttpReceiver, GrpcReceiver])
def test_a_sampled_request_is_a_server_span_with_a_client_span(
    tmp_path: Path, monkeypatch, receiver: type[Receiver]
) -> None:
    """Both in the caller's trace; the upstream is told that the client span is its parent."""
    with receiver() as traces:
        use(monkeypatch, traces, OTEL_SERVICE_NAME="edge")
        backend = run(tmp_path, NEVER, f"traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=b\r\n")
        server, client = traces.wait_for(2)
    headers = headers_of(backend)

    assert (server.kind, client.kind) == (SERVER, CLIENT)
    assert server.trace_id == client.trace_id == TRACE
    assert (server.parent_id, client.parent_id) == (SPAN, server.span_id)
    assert headers["traceparent"] == f"00-{TRACE}-{client.span_id}-01"
    assert headers["tracestate"] == "a=b"
    assert server.name == client.name == "reviews.default.svc.cluster.local:80/*"
    assert server.start <= client.start <= client.end <= server.end
    assert server.resource["service.name"] == "edge"


def test_spans_say_what_happened(tmp_path: Path, monkeypatch) -> None:
    """Envoy's tags, the route, the endpoint, the attempt."""
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        backend = run(tmp_path, ALWAYS, "User-Agent: curl\r\n")
        server, client = traces.wait_for(2)

    assert server.tags["http.status_code"] == client.tags["http.status_code"] == 200
    assert server.tags["response_flags"] == "-"
    assert server.tags["user_agent"] == "curl"
    assert server.tags["gateway.route"] == "all"
    assert server.tags["gateway.attempts"] == 1
    assert server.tags["upstream_cluster"] == "outbound|80||reviews.default.svc.cluster.local"
    assert server.tags["http.method"] == "GET"
    assert server.tags["istio.canonical_service"] == "asgi-gateway"
    assert client.tags["upstream_address"] == f"127.0.0.1:{backend.port}"
    assert (client.tags["gateway.attempt"], client.tags["gateway.retry"]) == (1, False)
    assert client.events == ["connected", "response head"]
    assert not server.failed
    assert server.resource["service.name"] == "asgi-gateway"


def test_a_failed_attempt_is_an_error_with_its_flag(tmp_path: Path, monkeypatch) -> None:
    """The client span names the flag and the reason; the server span the status that was sent."""

    async def hang_up(call: Call) -> None:
        await call.head()

    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        run(tmp_path, ALWAYS, "", handler=hang_up)
        server, client = traces.wait_for(2)

    assert server.failed
    assert client.failed
    assert (server.tags["http.status_code"], server.tags["response_flags"]) == (503, "UC")
    assert (client.tags["response_flags"], "http.status_code" in client.tags) == ("UC", False)
    assert client.tags["gateway.details"].startswith("upstream_reset_before_response_started")


def test_a_request_no_route_took_has_only_a_server_span(tmp_path: Path, monkeypatch) -> None:
    """It is called ingress."""

    async def main() -> None:
        async with stage(tmp_path, ALWAYS) as gateway:
            await gateway.get(host="nobody")

    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        asyncio.run(main())
        (server,) = traces.wait_for(1)

    assert (server.name, server.kind, server.tags["http.status_code"]) == ("ingress", SERVER, 404)
    assert server.tags["response_flags"] == "NR"


def test_custom_tags_are_on_every_span(tmp_path: Path, monkeypatch) -> None:
    """Literal, environment, header, format; without a value there is no tag."""
    tags = """{randomSamplingPercentage: 100, enableIstioTags: false, customTags: {
      fixed: {literal: {value: x}}, place: {environment: {name: PLACE}},
      gone: {environment: {name: NO_SUCH_PLACE}}, none: {header: {name: x-none}},
      who: {header: {name: End-User}}, other: {header: {name: x-none, defaultValue: y}},
      form: {formatter: {value: "%REQ(:METHOD)% %RESPONSE_CODE%"}}}}"""
    with HttpReceiver() as traces:
        use(monkeypatch, traces, PLACE="here")
        run(tmp_path, telemetry(tags), "End-User: jason\r\n")
        spans = traces.wait_for(2)

    for span in spans:
        assert span.tags["fixed"] == "x"
        assert (span.tags["place"], span.tags["who"], span.tags["other"]) == ("here", "jason", "y")
        assert span.tags["form"] == "GET 200"
        assert not {"gone", "none", "istio.namespace"} & set(span.tags)


def test_requests_beside_each_other_keep_their_traces_apart(tmp_path: Path, monkeypatch) -> None:
    """Twenty at once, each in its own trace."""
    backend = Backend(answering)

    async def main() -> None:
        async with backend.running():
            text = service("reviews", backend.port) + route("reviews", ROUTE) + NEVER
            async with stage(tmp_path, text) as gateway:
                await asyncio.gather(
                    *(
                        gateway.get(headers=f"traceparent: 00-{number:032x}-{number:016x}-01\r\n")
                        for number in range(1, 21)
                    )
                )

    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        asyncio.run(main())
        spans = traces.wait_for(40)
    servers = {span.trace_id: span for span in spans if span.kind == SERVER}

    assert {int(trace, 16) for trace in servers} == set(range(1, 21))
    for span in spans:
        if span.kind == SERVER:
            assert int(span.parent_id, 16) == int(span.trace_id, 16)
        else:
            assert span.parent_id == servers[span.trace_id].span_id


def test_sampled_and_unsampled_requests_share_connections_and_nothing_else(
    tmp_path: Path, monkeypatch
) -> None:
    """Both connections are used again and again; only what was sampled has spans, all of them roots."""
    backend = Backend(answering)

    async def main() -> None:
        async with backend.running():
            text = service("reviews", backend.port) + route("reviews", ROUTE) + NEVER
            async with stage(tmp_path, text) as gateway:
                reader, writer = await gateway.connect()
                for number in range(1, 11):
                    flag = number % 2
                    head = f"GET / HTTP/1.1\r\nHost: reviews\r\ntraceparent: 00-{number:032x}-{SPAN}-0{flag}\r\n\r\n"
                    writer.write(head.encode())
                    assert b"200 OK" in await reader.readuntil(b"hello")
                writer.close()

    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        asyncio.run(main())
        spans = traces.wait_for(10)

    assert len(backend.calls) == 1
    assert sorted(int(span.trace_id, 16) for span in spans) == [n for n in (1, 3, 5, 7, 9) for _ in "ab"]
    assert {span.parent_id for span in spans if span.kind == SERVER} == {SPAN}


def test_a_stock_server_is_traced_as_well(tmp_path: Path, monkeypatch) -> None:
    """Behind uvicorn's own protocol class."""
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        run(tmp_path, ALWAYS, "", http="h11")
        server, client = traces.wait_for(2)

    assert client.parent_id == server.span_id


# -- context -----------------------------------------------------------------------------------


def test_an_unsampled_request_makes_no_span_and_passes_its_context_on(tmp_path: Path, monkeypatch) -> None:
    """The caller's own header when there is one; a fresh context that says no when there is none."""
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        backend = run(tmp_path, NEVER, f"traceparent: 00-{TRACE}-{SPAN}-00\r\n")
        assert headers_of(backend)["traceparent"] == f"00-{TRACE}-{SPAN}-00"
        fresh = headers_of(run(tmp_path, NEVER, ""))["traceparent"]
        assert traces.spans == []

    assert fresh.startswith("00-")
    assert fresh.endswith("-00")


def test_b3_is_read_and_written(tmp_path: Path, monkeypatch) -> None:
    """In the form it came in, beside W3C."""
    many = f"X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Sampled: 1\r\n"
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        backend = run(tmp_path, NEVER, many, f"b3: {TRACE[16:]}-{SPAN}-1\r\n")
        spans = traces.wait_for(4)
    first, second = (span for span in spans if span.kind == SERVER)
    seen = headers_of(backend)

    assert (first.trace_id, first.parent_id) == (TRACE, SPAN)
    assert (second.trace_id, second.parent_id) == ("0" * 16 + TRACE[16:], SPAN)
    assert seen["b3"].startswith("0" * 16 + TRACE[16:])
    assert seen["traceparent"].startswith(f"00-{'0' * 16}{TRACE[16:]}-")


def test_b3_multi_goes_on_in_several_headers(tmp_path: Path, monkeypatch) -> None:
    """Span, parent and decision are ours."""
    many = f"X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Sampled: 1\r\n"
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        backend = run(tmp_path, NEVER, many)
        server, client = traces.wait_for(2)
    seen = headers_of(backend)

    assert (seen["x-b3-traceid"], seen["x-b3-spanid"]) == (TRACE, client.span_id)
    assert (seen["x-b3-parentspanid"], seen["x-b3-sampled"]) == (server.span_id, "1")


def test_a_broken_context_begins_a_new_trace(tmp_path: Path, monkeypatch) -> None:
    """Nothing of it goes on: not the ids, not the state, not the baggage."""
    broken = "traceparent: 00-x\r\ntracestate: a=b\r\nbaggage: k=v\r\n"
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        seen = headers_of(run(tmp_path, ALWAYS, broken))
        server, _ = traces.wait_for(2)

    assert server.parent_id == ""
    assert seen["traceparent"].split("-")[1] == server.trace_id
    assert not {"tracestate", "baggage"} & set(seen)


def test_reporting_can_be_switched_off_alone(tmp_path: Path, monkeypatch) -> None:
    """Upstreams still learn that the request is sampled."""
    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        off = telemetry("{randomSamplingPercentage: 100, disableSpanReporting: true}")
        seen = headers_of(run(tmp_path, off, f"traceparent: 00-{TRACE}-{SPAN}-01\r\n"))
        assert traces.spans == []

    assert seen["traceparent"] == f"00-{TRACE}-{SPAN}-01"


def test_without_an_exporter_headers_are_left_alone(tmp_path: Path, monkeypatch) -> None:
    """No endpoint, no context of ours."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)

    assert "traceparent" not in headers_of(run(tmp_path, ALWAYS, ""))


def test_a_collector_that_is_away_costs_only_its_spans(tmp_path: Path, monkeypatch) -> None:
    """Requests are answered as ever."""
    with HttpReceiver() as traces:
        use(monkeypatch, traces, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    backend = run(tmp_path, ALWAYS, "", "")

    assert len(backend.calls) >= 1


def test_the_duration_of_a_traced_request_leads_to_its_trace(tmp_path: Path, monkeypatch) -> None:
    """An exemplar in OpenMetrics, and how many were traced by whose decision."""
    backend = Backend(answering)
    text = b""

    async def main() -> bytes:
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", ROUTE) + NEVER
            async with stage(tmp_path, config) as gateway:
                await gateway.get(headers=f"traceparent: 00-{TRACE}-{SPAN}-01\r\n")
                return await asyncio.to_thread(gateway.gateway.telemetry.exposition, openmetrics=True)

    with HttpReceiver() as traces:
        use(monkeypatch, traces)
        text = asyncio.run(main())

    assert f'# {{trace_id="{TRACE}"}}'.encode() in text
    assert b'gateway_traced_requests_total{decision="caller"} 1.0' in text
