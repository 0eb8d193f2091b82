"""Certificates and callers: read from files and the last requests, never a key."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from console.minted import certificate

from gateway.admin.console import Sources
from gateway.admin.console.identities import callers, identities
from gateway.control import Control
from gateway.http.peer import Peer


@pytest.fixture
def told(tmp_path: Path):
    later, sooner = certificate(tmp_path, "later.example", 90), certificate(tmp_path, "sooner.example", 2)
    path = tmp_path / "routes.yaml"
    path.write_text(f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: a}}
spec:
  hosts: [a.example]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: a}}
spec:
  host: a.example
  trafficPolicy:
    tls: {{mode: MUTUAL, clientCertificate: {later}, privateKey: {later}, caCertificates: {sooner}}}
""")
    control = Control(path, watch=False)

    async def main():
        control.load_first()
        try:
            await control.start()
            return identities(Sources(control))
        finally:
            await control.stop()

    return asyncio.run(main())


def test_certificates_are_told_with_the_one_that_ends_first(told) -> None:
    """Every one in use, with its credential; no key."""
    sooner, later, *_ = told["certificates"]

    assert (sooner["subject"], later["subject"]) == ("CN=sooner.example", "CN=later.example")
    assert (sooner["role"], later["role"]) == ("vouches for others", "our own")
    assert later["names"] == ["spiffe://cluster.local/ns/default/sa/gateway", "later.example"]
    assert 89 * 86400 < later["not_after"] - told["now"] < 91 * 86400
    assert "PRIVATE" not in str(told)


def test_callers_are_who_was_verified() -> None:
    """By certificate or token; who was turned away is counted, who only claims is not."""

    def exchange(status: int, peer: Peer | None = None, principal: str = ""):
        return SimpleNamespace(
            status=status, request=SimpleNamespace(peer=peer, request_principal=principal)
        ), 0.0

    sleep = Peer(principal="cluster.local/ns/default/sa/sleep", verified=True)
    recorder = SimpleNamespace(
        recent=[
            exchange(200, sleep),
            exchange(403, sleep, "issuer/bob"),
            exchange(200, Peer(principal="cluster.local/ns/default/sa/liar", verified=False)),
            exchange(200),
        ]
    )

    assert callers(recorder) == [
        {
            "kind": "certificate",
            "principal": "cluster.local/ns/default/sa/sleep",
            "requests": 2,
            "refused": 1,
        },
        {"kind": "token", "principal": "issuer/bob", "requests": 1, "refused": 1},
    ]
    assert callers(None) == []
