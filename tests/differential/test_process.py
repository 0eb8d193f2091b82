"""`gateway run` and `envoy -c`, as a user starts them, on the founding document's canary."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from support import envoy
from support.process import gateway

from differential.backend import RecordingBackend
from differential.difference import compare
from differential.gaps import KNOWN
from differential.play import Ask, Theatre, anywhere
from gateway.config import load
from gateway.export import export_envoy

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

CANARY = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: settings}
spec: {admin: "off", serverName: edge, accessLog: {encoding: JSON, path: %(log)s}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 127.0.0.1, ports: {http: %(one)d}, labels: {version: v1}}
  - {address: 127.0.0.1, ports: {http: %(two)d}, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {user-agent: {regex: ".*Chrome.*"}}}]
    route: [{destination: {host: reviews, subset: v2}, weight: 100}]
    timeout: 10s
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 100}
    - {destination: {host: reviews, subset: v2}, weight: 0}
    timeout: 10s
"""

SAME = (
    "authority", "bytes_received", "bytes_sent", "method", "path", "protocol", "requested_server_name",
    "response_code", "response_code_details", "response_flags", "upstream_cluster", "upstream_host", "user_agent",
    "connection_termination_details", "upstream_transport_failure_reason",
)  # fmt: skip
"""Keys of the access log that must not differ; the others are times, ids, ports and addresses."""


def test_the_canary_is_the_same_to_the_last_byte_and_log_line(tmp_path: Path) -> None:
    """Chrome goes to v2, everybody else to v1; both write the same lines about it."""
    requests = [
        Ask.of(method, target, "reviews", [("User-Agent", agent)] if agent else [], body)
        for agent in ("Mozilla/5.0 Chrome/126.0 Safari", "chrome", "curl/8.0", "Chrome", "")
        for method, target, body in (
            ("GET", "/reviews/7?full=1", b""),
            ("POST", "/reviews?answer=chunked", b"five stars"),
            ("HEAD", "/reviews//7/../8", b""),
            ("GET", "/reviews?answer=missing", b""),
        )
    ]

    async def main() -> None:
        async with RecordingBackend("one") as one, RecordingBackend("two") as two:
            path, theirs = tmp_path / "routes.yaml", tmp_path / "envoy.log.json"
            path.write_text(CANARY % {"one": one.port, "two": two.port, "log": tmp_path / "ours.json"})
            made = (
                export_envoy(load([path]).require()).dumps().replace(str(tmp_path / "ours.json"), str(theirs))
            )
            with (
                await asyncio.to_thread(gateway, path) as ours,
                await asyncio.to_thread(envoy.Envoy, anywhere(json.loads(made)), tmp_path) as real,
            ):
                stage = Theatre(ours.port, real.port, (one, two))
                for ask in requests:
                    mine, other = await stage.ask(ask)
                    expected = "two" if b"Chrome" in ask.data else "one"
                    assert [arrival.backend for arrival in mine.arrivals] == [expected]
                    assert compare(ask, mine, other, KNOWN) == []
                await asyncio.to_thread(real.stop)
                await asyncio.to_thread(ours.stop)

    asyncio.run(main())
    written = [
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("ours.json", "envoy.log.json")
    ]
    assert len(written[0]) == len(written[1]) == len(requests)
    for mine, other in zip(*written, strict=True):
        assert mine.keys() == other.keys()
        assert {key: mine[key] for key in SAME} == {key: other[key] for key in SAME}
