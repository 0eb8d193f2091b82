"""Who was on the other side of mutual TLS, in Istio's labels."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse
from support.certificates import Certs, authority, leaf
from support.stage import Backend, answering, route, service, stage

SECURED, GATEWAY = "cluster.local/ns/shop/sa/reviews", "cluster.local/ns/default/sa/gateway"
ROUTE = "\n  - route: [{destination: {host: reviews}}]"
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, trafficPolicy: {tls: {mode: %s}}}
"""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A backend with TLS; its port."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def requests(exposition: bytes) -> list[dict[str, str]]:
    return [
        sample.labels
        for family in parse(exposition.decode())
        for sample in family.samples
        if sample.name == "istio_requests_total"
    ]


def told(folder: Path, mode: str, context: ssl.SSLContext | None = None) -> dict[str, str]:
    """The labels of one request to a backend that the rule speaks to in this mode."""

    async def main(port: int) -> list[dict[str, str]]:
        config = service("reviews", port) + route("reviews", ROUTE) + RULE % mode
        async with stage(folder, config) as gateway:
            assert b" 200 " in await gateway.get()
            return requests(await asyncio.to_thread(gateway.gateway.telemetry.exposition))

    async def begin() -> list[dict[str, str]]:
        if context is None:
            backend = Backend(answering)
            async with backend.running():
                return await main(backend.port)
        async with listening(context) as port:
            return await main(port)

    (labels,) = asyncio.run(begin())
    return labels


def test_both_sides_of_mutual_tls_are_told(tmp_path: Path) -> None:
    """As Istio's client side tells them; the namespace is the one in the backend's identity."""
    certs = Certs(tmp_path / "certs")
    certs.put("default", leaf(principal=GATEWAY), authority())
    labels = told(tmp_path, "ISTIO_MUTUAL", certs.server(leaf(principal=SECURED), authority()))

    assert labels["source_principal"] == f"spiffe://{GATEWAY}"
    assert labels["destination_principal"] == f"spiffe://{SECURED}"
    assert labels["destination_workload_namespace"] == "shop"
    assert labels["connection_security_policy"] == "unknown"


def test_an_identity_that_nobody_verified_is_none(tmp_path: Path) -> None:
    """Anybody could claim it."""
    certs = Certs(tmp_path / "certs")
    labels = told(tmp_path, "SIMPLE, insecureSkipVerify: true", certs.server(leaf(principal=SECURED)))

    assert labels["source_principal"] == labels["destination_principal"] == "unknown"
    assert labels["destination_workload_namespace"] == "default"


def test_plain_text_has_no_principals(tmp_path: Path) -> None:
    """Unknown, as in Istio."""
    labels = told(tmp_path, "DISABLE")

    assert labels["source_principal"] == labels["destination_principal"] == "unknown"
