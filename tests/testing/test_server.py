"""The gateway that a test runs, and its backends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.stage import route, service

EXAMPLE = Path(__file__).parents[2] / "examples/testing/routes.yaml"
STRICT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["shop.test"]
    tls: {httpsRedirect: true}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ["shop.test"]
    tls: {mode: OPTIONAL_MUTUAL, credentialName: not-here}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.test]
  gateways: [edge]
  http:
  - route: [{destination: {host: reviews}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---"""


def test_requests_and_backends(gateway_server) -> None:
    """What a backend received, and who answered."""
    gateway = gateway_server(EXAMPLE)
    response = gateway.post(
        "/api/items?q=1", host="reviews", headers={"end-user": "jason"}, content=b"x" * 100_000
    )
    assert response.json()["subsets"] == ["v2"]
    (call,) = gateway.calls
    assert (call.method, call.path, call.target) == ("POST", "/api/items", "/api/items?q=1")
    assert call.headers["end-user"] == "jason"
    assert len(call.body) == 100_000
    assert call.backend is gateway.backend("reviews", "v2")
    assert gateway.backend("reviews", "v1").calls == []
    assert call.backend.address == "192.0.2.2:9080"
    assert call.backend.labels == {"version": "v2"}


def test_backends_answer_in_turn(gateway_server) -> None:
    """The last said comes first, as often as it was said; then what was said before."""
    gateway = gateway_server(EXAMPLE)
    backend = gateway.backend("reviews", "v1")
    backend.answers(201, b"made", headers={"x-kind": "test"})
    assert gateway.get("/api/", host="reviews", headers={"x": "1"}).status_code in {200, 201}

    backend = gateway.backend("reviews", "v2")
    backend.answers(404, "gone", times=1)
    statuses = [gateway.get("/", host="reviews", headers={"end-user": "jason"}).status_code for _ in range(2)]
    assert statuses == [404, 200]


def test_a_dropped_connection_is_repeated_elsewhere_or_told(gateway_server) -> None:
    gateway = gateway_server(EXAMPLE)
    backend = gateway.backend("reviews", "v2")
    backend.drops()
    response = gateway.get("/", host="reviews", headers={"end-user": "jason"})
    assert response.status_code == 503
    assert len(backend.calls) == 3


def test_many_at_once(gateway_server) -> None:
    """A delay of one request delays no other."""
    gateway = gateway_server(EXAMPLE)
    gateway.backend("reviews", "v2").answers(delay=0.2)

    def ask(_: int) -> int:
        return gateway.get("/", host="reviews", headers={"end-user": "jason"}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [200] * 8


def test_ports_and_identities(gateway_server, tmp_path: Path) -> None:
    """Every Gateway port is there in plain text; a principal stands for the certificate."""
    path = tmp_path / "routes.yaml"
    path.write_text(service("reviews", 9) + STRICT)
    gateway = gateway_server(path)
    assert set(gateway.ports) == {80, 443}
    plain = gateway.get("/", host="shop.test", port=80)
    assert (plain.status_code, plain.headers["location"]) == (301, "https://shop.test/")
    stranger = gateway.get("/", host="shop.test", port=443)
    friend = gateway.get("/", host="shop.test", port=443, principal="cluster.local/ns/default/sa/sleep")
    assert (stranger.status_code, friend.status_code) == (403, 200)
    (call,) = gateway.calls
    assert "x-gateway-test-principal" not in call.headers
    assert call.headers["x-forwarded-proto"] == "https"


def test_backends_that_are_not_there_are_named(gateway_server, tmp_path: Path) -> None:
    gateway = gateway_server(EXAMPLE)
    with pytest.raises(LookupError, match="2 endpoints of reviews"):
        gateway.backend("reviews")
    with pytest.raises(LookupError, match="0 endpoints of nobody"):
        gateway.backend("nobody")


def test_it_can_be_closed_twice(gateway_server, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(service("reviews", 9) + route("reviews", "\n  - route: [{destination: {host: reviews}}]"))
    gateway = gateway_server(path)
    assert gateway.get("/", host="reviews").status_code == 200
    gateway.close()
    gateway.close()
