"""The founding document's mutual TLS and authorization, unchanged, in a real `gateway run`."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from support.backend import RecordingBackend, echo
from support.certificates import SLEEP, Certs, authority, leaf
from support.process import free_port, gateway

if TYPE_CHECKING:
    from support.process import GatewayServer

SEED = Path(__file__).parents[1] / "config" / "seed"
ROUTES = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec: {accessLog: {path: %(log)s}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: %(optional)d, name: https, protocol: HTTPS}, bind: 127.0.0.1, hosts: [httpbin],
     tls: {mode: OPTIONAL_MUTUAL, credentialName: edge}}
  - {port: {number: %(mutual)d, name: mutual, protocol: HTTPS}, bind: 127.0.0.1, hosts: [httpbin],
     tls: {mode: MUTUAL, credentialName: edge}}
  - {port: {number: %(plain)d, name: http, protocol: HTTP}, bind: 127.0.0.1, hosts: [httpbin]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  ports: [{number: 8000, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(backend)d}, labels: {app: httpbin}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: httpbin}
spec:
  hosts: [httpbin]
  gateways: [edge]
  http: [{route: [{destination: {host: httpbin}}]}]
---
"""


async def ask(port: int, context: ssl.SSLContext | None, method: str = "GET", path: str = "/get") -> bytes:
    """The raw answer; empty when there is no connection for us."""
    name = "httpbin" if context else None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        head = f"{method} {path} HTTP/1.1\r\nHost: httpbin\r\nConnection: close\r\n"
        writer.write((head + "X-Forwarded-Client-Cert: By=x;URI=spiffe://" + SLEEP + "\r\n\r\n").encode())
        try:
            return await reader.read()
        finally:
            writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return b""


def shown(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def test_the_security_blocks_of_the_founding_document(tmp_path: Path) -> None:
    """Plain text or no certificate: refused. `sleep` may GET and not POST; anybody else may nothing. The log
    names policy and rule, the client does not learn them.
    """
    certs = Certs(tmp_path / "certs")
    certs.put("edge", leaf(dns_names=("httpbin",)), authority())
    ports = {name: free_port() for name in ("optional", "mutual", "plain")}
    log = tmp_path / "access.log"
    sleep = certs.client(leaf(principal=SLEEP), name="sleep")
    other = certs.client(leaf(principal=SLEEP.replace("sleep", "other")), name="other")
    foreign = certs.client(leaf(principal=SLEEP.replace("cluster.local", "evil.local")), name="foreign")
    unsigned = certs.client(leaf(authority("stranger"), principal=SLEEP), name="stranger")
    nobody = certs.client()

    async def main(backend: RecordingBackend) -> list[bytes]:
        async with backend:
            text = ROUTES % {**ports, "backend": backend.port, "log": log}
            text += (SEED / "mtls.yaml").read_text() + "\n---\n" + (SEED / "authorization.yaml").read_text()
            routes = tmp_path / "routes.yaml"
            await asyncio.to_thread(routes.write_text, text)
            process: GatewayServer = await asyncio.to_thread(gateway, routes, port=None)
            try:
                return [
                    await ask(ports["plain"], None),
                    await ask(ports["optional"], nobody),
                    await ask(ports["optional"], sleep),
                    await ask(ports["optional"], sleep, "POST"),
                    await ask(ports["optional"], sleep, "HEAD"),
                    await ask(ports["optional"], other),
                    await ask(ports["optional"], foreign),
                    await ask(ports["optional"], unsigned),
                    await ask(ports["mutual"], nobody),
                    await ask(ports["mutual"], None),
                    await ask(ports["mutual"], sleep),
                ]
            finally:
                await asyncio.to_thread(process.hurry)

    backend = RecordingBackend(echo())
    answers = asyncio.run(main(backend))
    refused = (403, b"RBAC: access denied")
    for number in (0, 1, 3, 5, 6):
        assert shown(answers[number]) == refused, number
    assert shown(answers[4]) == (403, b"")
    assert answers[7] == answers[8] == b""
    assert shown(answers[9])[0] == 400
    assert shown(answers[2])[0] == shown(answers[10])[0] == 200
    told = b"".join(answers[number] for number in (0, 1, 3, 4, 5, 6))
    assert not re.search(rb"(?i)allow|policy|rule|default|sleep|strict", told)
    received = b"".join(link.received for link in backend.links)
    assert received.count(b"GET /get HTTP/1.1\r\n") == received.count(b" HTTP/1.1\r\n") == 2
    assert received.count(b"x-forwarded-client-cert: ") == 2
    assert received.count(b"URI=spiffe://" + SLEEP.encode()) == 2
    details = [json.loads(line)["response_code_details"] for line in log.read_text().splitlines()]
    strict = "peer_authentication_strict_matched_policy[ns[default]-policy[default]]"
    allow = "rbac_access_denied_matched_policy[none]_of[ns[default]-policy[allow-read]-rule[0]]"
    assert [item for item in details if item != "via_upstream"] == [
        strict,
        strict,
        allow,
        allow,
        allow,
        allow,
    ]
