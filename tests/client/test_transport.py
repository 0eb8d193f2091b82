"""Calls of a program through `gateway.Transport`: what backends receive, and what httpx gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.backend import RecordingBackend, dead_port
from support.calling import client, told
from support.certificates import Certs, authority, leaf
from support.fronted import written
from support.stage import Backend, Call, answering, route, service

import gateway
from gateway.config import ConfigError

TO_REVIEWS = """
  - name: rewritten
    match: [{uri: {prefix: /a/}}]
    rewrite: {uri: /b/}
    headers: {request: {set: {x-stage: test}}}
    route: [{destination: {host: reviews}}]"""


def test_a_route_decides_where_a_call_goes(tmp_path: Path) -> None:
    """And what is sent: nothing of strangers, which a call of one's own does not come from."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            path = written(tmp_path, service("reviews", backend.port) + route("reviews", TO_REVIEWS))
            async with client(path) as http:
                response = await http.get("http://reviews/a/1?q=%41", headers={"x-request-id": "mine"})
            assert (response.status_code, response.text) == (200, "hello")
            assert backend.calls[0].seen == (
                b"GET /b/1?q=%41 HTTP/1.1\r\nhost: reviews\r\naccept: */*\r\naccept-encoding: gzip, deflate\r\n"
                b"user-agent: python-httpx/0.28.1\r\nx-request-id: mine\r\nx-envoy-attempt-count: 1\r\n"
                b"x-stage: test\r\nx-envoy-original-path: /a/1?q=%41\r\n\r\n"
            )
            assert (told(response).route, told(response).flags, told(response).attempts) == (
                "rewritten",
                (),
                1,
            )
            assert told(response).cluster == "outbound|80||reviews.default.svc.cluster.local"
            assert told(response).endpoint == f"127.0.0.1:{backend.port}"
            assert not told(response).by_gateway

    asyncio.run(main())
    assert (tmp_path / "access.log").read_text() == ""


@pytest.mark.parametrize("host", ["ratings", "ratings.default", "ratings.default.svc.cluster.local"])
def test_a_service_without_a_route_is_called_by_any_of_its_names(tmp_path: Path, host: str) -> None:
    async def main() -> None:
        async with Backend(answering).running() as backend:
            async with client(written(tmp_path, service("ratings", backend.port))) as http:
                response = await http.get(f"http://{host}/x%2Fy//z")
            assert (response.text, told(response).route) == ("hello", "default")
            assert backend.calls[0].seen.startswith(b"GET /x%2Fy//z HTTP/1.1\r\n")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "status", "details"),
    [
        ("http://nobody/", 502, "BlackHoleCluster"),
        ("http://reviews:81/a/", 200, "via_upstream"),
        ("http://ratings:81/", 502, "BlackHoleCluster"),
        ("http://reviews/z", 404, "route_not_found"),
        ("https://ratings:80/", 502, "https_to_plain_text"),
        ("http://missing/", 503, "cluster_not_found"),
    ],
)
def test_what_the_gateway_answers_itself_is_a_response(
    tmp_path: Path, url: str, status: int, details: str
) -> None:
    """Unknown hosts are Istio's black hole; an https URL is never sent in plain text."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            config = service("reviews", backend.port) + service("ratings", backend.port)
            config += route("reviews", TO_REVIEWS) + route(
                "missing", "\n  - route: [{destination: {host: no}}]"
            )
            async with client(written(tmp_path, config)) as http:
                response = await http.get(url)
            assert (response.status_code, told(response).details) == (status, details)
            assert told(response).by_gateway is (status != 200)

    asyncio.run(main())


def test_unknown_hosts_can_be_passed_through(tmp_path: Path) -> None:
    """By httpx, or by a transport of one's own."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            async with client(written(tmp_path, ""), passthrough=True) as http:
                response = await http.get(f"http://127.0.0.1:{backend.port}/")
            assert (response.text, "gateway" in response.extensions) == ("hello", False)

        own = httpx.MockTransport(lambda request: httpx.Response(418, text=request.url.host))
        async with client(written(tmp_path, ""), passthrough=own) as http:
            assert (await http.get("http://elsewhere/")).text == "elsewhere"

    asyncio.run(main())


def test_failures_are_repeated_by_the_routes_policy(tmp_path: Path) -> None:
    async def main() -> None:
        answers = [
            b"HTTP/1.1 503 -\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ]

        async def second_time(call: Call) -> None:
            while True:
                await call.head()
                await call.body(4)
                await call.send(answers.pop(0))

        async with Backend(second_time).running() as backend:
            config = service("reviews", backend.port) + route(
                "reviews",
                '\n  - route: [{destination: {host: reviews}}]\n    retries: {attempts: 2, retryOn: "5xx"}',
            )
            async with client(written(tmp_path, config)) as http:
                response = await http.post("http://reviews/", content=b"body")
            assert (response.text, told(response).attempts) == ("ok", 2)

    asyncio.run(main())


def test_no_connection_is_503_with_the_flag(tmp_path: Path) -> None:
    async def main() -> None:
        async with Backend(answering).running() as backend:
            port = backend.port
        config = service("reviews", port) + route(
            "reviews", "\n  - route: [{destination: {host: reviews}}]\n    retries: {attempts: 0}"
        )
        async with client(written(tmp_path, config)) as http:
            response = await http.get("http://reviews/")
        assert (response.status_code, told(response).flags) == (503, ("UF",))

    asyncio.run(main())


def test_a_routes_timeout_is_504(tmp_path: Path) -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            config = service("reviews", backend.port) + route(
                "reviews", "\n  - route: [{destination: {host: reviews}}]\n    timeout: 0.05s"
            )
            async with client(written(tmp_path, config)) as http:
                response = await http.get("http://reviews/")
            assert (response.status_code, told(response).flags) == (504, ("UT",))

    asyncio.run(main())


def test_nothing_can_be_smuggled_into_a_head(tmp_path: Path) -> None:
    """httpx leaves that to its transport."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            async with client(written(tmp_path, service("reviews", backend.port))) as http:
                for extra in (
                    {"headers": [(b"x-a", b"1\r\nx-b: 2")]},
                    {"headers": [(b"x a", b"1")]},
                    {"extensions": {"target": b"/ HTTP/1.1\r\nx: y"}},
                ):
                    with pytest.raises(httpx.LocalProtocolError):
                        await http.get("http://reviews/", **extra)  # type: ignore[arg-type]
                with pytest.raises(httpx.LocalProtocolError):
                    await http.request("GET /x HTTP/1.1\r\nx:", "http://reviews/")
            assert backend.calls == []

    asyncio.run(main())


def test_the_trace_of_a_request_goes_on_in_calls_made_for_it(tmp_path: Path) -> None:
    """Request id and traceparent of what is being served, unless the program says otherwise."""
    from support.fronted import TO_APP, served

    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    async def main() -> None:
        async with Backend(answering).running() as backend:
            path = written(
                tmp_path,
                service("ratings", backend.port)
                + TO_APP % "\n  - match: [{uri: {prefix: /}}]\n    route: [{destination: {host: app.local}}]",
            )
            calls = httpx.AsyncClient(transport=gateway.Transport(path))

            async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
                assert scope["type"] == "http"
                await calls.get("http://ratings/")
                ids.append(scope["state"]["gateway"].request_id)
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body"})

            ids: list[str] = []
            async with calls, served(gateway.Gateway(app, config=path)) as http:
                await http.get("/", headers={"traceparent": trace})
            seen = backend.calls[0].seen
            assert b"x-request-id: " + ids[0].encode() in seen
            assert b"traceparent: " + trace[:35].encode() in seen

    asyncio.run(main())


def test_metrics_count_the_calls(tmp_path: Path) -> None:
    async def main() -> None:
        async with Backend(answering).running() as backend:
            transport = gateway.Transport(written(tmp_path, service("reviews", backend.port)))
            async with httpx.AsyncClient(transport=transport) as http:
                await http.get("http://reviews/")
                page = transport.metrics().decode()
            (line,) = [item for item in page.splitlines() if item.startswith("istio_requests_total{")]
            assert 'destination_service="reviews.default.svc.cluster.local"' in line
            assert 'response_code="200"' in line
            assert line.endswith(" 1.0")

    asyncio.run(main())


def test_a_reload_moves_calls(tmp_path: Path) -> None:
    async def main() -> None:
        async with Backend(answering).running() as first, Backend(answering).running() as second:
            path = written(tmp_path, service("reviews", first.port))
            transport = gateway.Transport(path)
            async with httpx.AsyncClient(transport=transport) as http:
                await http.get("http://reviews/")
                written(tmp_path, service("reviews", second.port))
                await transport.control.reload()
                await http.get("http://reviews/")
            assert (len(first.calls), len(second.calls)) == (1, 1)

    asyncio.run(main())


def test_closing_ends_calls_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with RecordingBackend() as backend:
            transport = gateway.Transport(written(tmp_path, service("reviews", backend.port)))
            async with httpx.AsyncClient(transport=transport) as http:
                asking = asyncio.create_task(http.get("http://reviews/"))
                await (await backend.link()).receive(b"\r\n\r\n")
            with pytest.raises(httpx.RemoteProtocolError):
                await asking
            with pytest.raises(RuntimeError, match="closed"):
                await transport.handle_async_request(httpx.Request("GET", "http://reviews/"))

    asyncio.run(main())


def test_a_bad_configuration_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("kind: VirtualService\n")
    with pytest.raises(ConfigError, match=r"routes.yaml:1"):
        gateway.Transport(path)


def test_it_is_for_one_event_loop(tmp_path: Path) -> None:
    transport = gateway.Transport(written(tmp_path, ""))

    async def call() -> int:
        return (await transport.handle_async_request(httpx.Request("GET", "http://x/"))).status_code

    async def main() -> None:
        assert await call() == 502
        with pytest.raises(RuntimeError, match="event loop"):
            await asyncio.to_thread(asyncio.run, call())
        await transport.aclose()

    asyncio.run(main())


def test_the_blocking_client_is_refused(tmp_path: Path) -> None:
    transport: Any = gateway.Transport(written(tmp_path, ""))
    http = httpx.Client(transport=transport)
    with pytest.raises(TypeError, match=r"httpx\.AsyncClient"):
        http.get("http://reviews/")
    http.close()
    with pytest.raises(TypeError, match=r"httpx\.AsyncClient"), httpx.Client(transport=transport):
        pass


def test_policies_of_callees_are_not_the_callers(tmp_path: Path) -> None:
    """Who may come in is decided where it comes in; a listener's certificates are not even read."""
    documents = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody}
spec: {}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: ["*"]
    tls: {mode: SIMPLE, credentialName: not-here}
---"""

    async def main() -> None:
        async with (
            Backend(answering).running() as backend,
            client(written(tmp_path, service("reviews", backend.port) + documents)) as http,
        ):
            assert (await http.get("http://reviews/")).text == "hello"

    asyncio.run(main())


@asynccontextmanager
async def secure_backend(folder: Path) -> AsyncIterator[int]:
    """Answers over TLS as secure.test."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    context = Certs(folder).server(leaf(authority(), dns_names=("secure.test",)))
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def secure_service(port: int) -> str:
    return service("secure.test", port).replace(
        "{number: 80, name: http, protocol: HTTP}", "{number: 443, name: http, protocol: HTTPS}"
    )


def test_a_port_that_speaks_https_is_verified(tmp_path: Path) -> None:
    """Without a DestinationRule as well: a certificate that nobody vouches for is refused."""

    async def main() -> None:
        async with (
            secure_backend(tmp_path) as port,
            client(written(tmp_path, secure_service(port))) as http,
        ):
            response = await http.get("https://secure.test/")
        assert (response.status_code, "UF" in told(response).flags) == (503, True)

    asyncio.run(main())


def test_a_rule_says_whom_to_believe(tmp_path: Path) -> None:
    """TLS origination, for https URLs and for http ones alike."""
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: secure}}
spec:
  host: secure.test
  trafficPolicy: {{tls: {{mode: SIMPLE, caCertificates: {tmp_path / "ca.pem"}}}}}
---"""

    async def main() -> None:
        async with (
            secure_backend(tmp_path) as port,
            client(written(tmp_path, secure_service(port) + rule)) as http,
        ):
            assert (await http.get("https://secure.test/")).text == "secret"
            assert (await http.get("http://secure.test:443/")).text == "secret"

    asyncio.run(main())


@pytest.mark.parametrize(
    "action", ["route: [{destination: {host: reviews}}]", "directResponse: {status: 200}"]
)
def test_a_shared_limit_of_a_route_holds_for_calls(tmp_path: Path, action: str) -> None:
    """Counted in the store; while that is away, by the program itself."""
    limits = f"""
  rateLimitStore: {{redis: {{address: "127.0.0.1:{dead_port()}"}}}}
  rateLimits: [{{name: few, key: [], requests: 2, per: 1h, match: {{routes: [limited]}}}}]
"""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            rule = f"""
  - name: limited
    {action}"""
            path = written(tmp_path, service("reviews", backend.port) + route("reviews", rule), limits)
            async with client(path) as http:
                statuses = [(await http.get("http://reviews/")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]

    asyncio.run(main())
