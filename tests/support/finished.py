"""Finished exchanges made of the real classes: configuration, plan, clusters, snapshot, route."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from gateway.config import load
from gateway.exchange.exchange import Exchange
from gateway.http.place import Place
from gateway.http.request import Request
from gateway.routing import compile_snapshot
from gateway.upstream import Registry, plan
from gateway.upstream.connection import Connection
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.http.flags import Flag
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Cluster

REVIEWS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.default.svc.cluster.local]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {address: 10.0.0.17, labels: {app: reviews, version: v1}}
  - {address: 10.0.0.18, labels: {app: reviews, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [shop.example.com]
  http:
  - name: all
    route: [{destination: {host: reviews.default.svc.cluster.local}}]
---
"""
BROWSER = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36"
HEADERS = (
    (b"user-agent", BROWSER),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"cookie", b"session=abcdef0123456789"),
    (b"end-user", b"jason"),
    (b"x-forwarded-for", b"192.0.2.44"),
    (b"x-forwarded-proto", b"http"),
    (b"x-request-id", b"a1b2c3d4-aaaa-4bbb-8ccc-1234567890ab"),
    (b"x-envoy-attempt-count", b"1"),
)
ANSWER = (
    (b"content-type", b"application/json"),
    (b"content-length", b"150"),
    (b"date", b"Mon, 23 Nov 2026 12:00:00 GMT"),
    (b"x-envoy-upstream-service-time", b"3"),
    (b"server", b"asgi-gateway"),
)


def snapshot_of(text: str = REVIEWS, *, generation: int = 1) -> Snapshot:
    """A generation of this configuration whose clusters are in use."""
    loaded = load([], texts={"routes.yaml": text})
    assert loaded.config is not None, [str(finding) for finding in loaded.findings]

    async def compile_it() -> Snapshot:
        planned = plan(loaded.config)
        registry = Registry(rng=random.Random(1))
        prepared = registry.prepare(planned)
        registry.commit(prepared)
        snapshot = compile_snapshot(loaded.config, planned, prepared.clusters, generation=generation)
        if registry._sweeper is not None:
            registry._sweeper.cancel()
        return snapshot

    return asyncio.run(compile_it())


def finished(
    snapshot: Snapshot,
    *,
    status: int = 200,
    flags: tuple[Flag, ...] = (),
    path: bytes = b"/productpage/reviews/17",
    host: str = "shop.example.com",
    headers: Sequence[tuple[bytes, bytes]] = HEADERS,
    answer: Sequence[tuple[bytes, bytes]] | None = ANSWER,
    method: str = "GET",
    seconds: float = 0.0042,
    endpoint: int = 0,
    routed: bool = True,
    details: str = "via_upstream",
    answered: bool = False,
) -> tuple[Exchange, float]:
    """An exchange and its end on the monotonic clock; it began at 100."""
    request = Request(
        method, "http", host.encode(), host, path, b"lang=en", list(headers), 8080, "192.0.2.44", "192.0.2.44"
    )
    exchange = Exchange(snapshot, 100.0, Place(("192.0.2.44", 51234), ("10.0.0.1", 8080)))
    exchange.request, exchange.request_id = request, "a1b2c3d4-aaaa-4bbb-8ccc-1234567890ab"
    exchange.ended_at = 100.0 + seconds
    if routed:
        route = exchange.route = snapshot.listener(8080).match(request)
        assert route is not None
        destination = exchange.destination = route.choose(0)
        cluster: Cluster | None = destination.cluster
        assert cluster is not None
        exchange.endpoint = cluster.endpoints[endpoint]
        exchange.connection = Connection(exchange.endpoint, cluster.config)
        exchange.connection.local_address = "10.0.0.1:43210"
    exchange.status, exchange.flags, exchange.details = status, flags, details
    exchange.waiting_since = exchange.attempt_at = 100.0
    if routed and flags and not answered:
        exchange.failure = UpstreamError(flags[0], "connection failure")
    elif routed:
        exchange.service_time = seconds / 2
        exchange.upstream_status = status
    exchange.bytes_sent = 150
    exchange.response_headers = None if answer is None else list(answer)
    return exchange, 100.0 + seconds
