"""Secrets planted wherever they may stand, in a real `gateway run`; then everything anybody can read is searched.

Each secret is a word of its own, so that what leaks says where it was planted.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import time
from typing import TYPE_CHECKING

from support.backend import RecordingBackend
from support.certificates import SLEEP, Certs, authority, leaf
from support.otlp import HttpReceiver
from support.process import free_port, gateway
from support.tokens import b64, jwk, jwks, raw

from gateway.tls.mint import Pair

if TYPE_CHECKING:
    from pathlib import Path

    from support.process import GatewayServer

OCT = b"Zq7OctKey-" + b"k" * 40
BASIC = base64.b64encode(b"Zq7user:Zq7BasicPassword").decode()
PLANTED = {
    "bearer": "Zq7BearerOpaque123",
    "basic": BASIC,
    "cookie": "Zq7CookieValue",
    "set-cookie": "Zq7SetCookieValue",
    "api key": "Zq7ApiKey",
    "proxy": "Zq7ProxyPassword",
    "query token": "Zq7QueryToken",
    "query key": "Zq7QueryKey",
    "referer token": "Zq7RefererToken",
    "referer password": "Zq7RefererPassword",
    "path token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJacTdQYXRoIn0.Zq7PathSignature",
    "matched header": "Zq7MatchedHeader",
    "matched cookie": "Zq7MatchedCookie",
    "policy header": "Zq7PolicyHeader",
    "backend credential": "Zq7BackendCredential",
    "password of a URL": "Zq7UrlPassword",
    "secret key": b64(OCT),
    "malformed head": "Zq7Malformed",
    "claim": "Zq7Claim",
    "location": "Zq7LocationToken",
}
CONFIG = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec:
  accessLog: {path: %(log)s}
  rateLimits: [{name: keyed, key: ["header:authorization"], requests: 10000}]
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: traces}
spec: {tracing: [{randomSamplingPercentage: 100}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: %(port)d, name: https, protocol: HTTPS}, bind: 127.0.0.1, hosts: ["*"],
     tls: {mode: OPTIONAL_MUTUAL, credentialName: edge}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 127.0.0.1, ports: {http: %(first)d}, labels: {v: one}}
  - {address: 127.0.0.1, ports: {http: %(second)d}, labels: {v: two}}
  - {address: 127.0.0.1, ports: {http: %(dead)d}, labels: {v: dead}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec: {host: shop, subsets: [{name: one, labels: {v: one}}, {name: two, labels: {v: two}}, {name: dead, labels: {v: dead}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  gateways: [edge]
  http:
  - name: keyed
    match: [{headers: {x-api-key: {exact: Zq7MatchedHeader}}}, {headers: {cookie: {prefix: Zq7MatchedCookie}}}]
    directResponse: {status: 204}
  - match: [{uri: {prefix: /dead}}]
    route: [{destination: {host: shop, subset: dead}}]
  - route: [{destination: {host: shop, subset: one}, headers: {request: {set: {x-backend-token: Zq7BackendCredential}}}}]
    mirror: {host: shop, subset: two}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec:
  jwtRules:
  - {issuer: https://a, jwks: '%(jwks)s', forwardOriginalToken: true}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no, annotations: {runbook: "https://Zq7user:Zq7UrlPassword@wiki.test/no"}}
spec:
  action: DENY
  rules:
  - {when: [{key: "request.headers[x-auth-token]", values: [Zq7PolicyHeader]}]}
  - {to: [{operation: {paths: [/denied]}}]}
"""
PATHS = [
    "/", "/help", "/status", "/config_dump", "/clusters?format=json", "/clusters", "/metrics", "/stats/prometheus",
    "/requests", "/requests?limit=500", "/stats.json", "/logging", "/console/api/overview", "/console/api/graph",
    "/console/api/routes", "/console/api/clusters", "/console/api/rejected", "/console/api/identities",
    "/console/api/traces", "/console/api/generations", "/console/api/documents", "/console/api/diff?old=1&new=1",
]  # fmt: skip
ANSWER = (
    b"HTTP/1.1 302 Found\r\nSet-Cookie: id=Zq7SetCookieValue; HttpOnly\r\n"
    b"Location: https://x.test/cb?access_token=Zq7LocationToken\r\nContent-Length: 0\r\n\r\n"
)


def head(path: str, *more: str, host: str = "shop", end: str = "\r\n") -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *more]
    return ("\r\n".join(lines) + "\r\n" + end).encode()


def asked() -> list[bytes]:
    """Requests of every fate: relayed, denied, unknown, without a backend, refused, malformed."""
    claims = {"iss": "https://a", "sub": "alice", "exp": int(time.time()) + 600, "password": "Zq7Claim"}
    good = raw({"alg": "HS256", "kid": "k"}, claims, OCT, "HS256")
    common = (
        "Cookie: sid=Zq7CookieValue",
        f"Proxy-Authorization: Basic {PLANTED['proxy']}",
        f"X-Api-Key: {PLANTED['api key']}",
        "X-Auth-Token: Zq7ApiKey",
        "Referer: https://u:Zq7RefererPassword@a.test/?access_token=Zq7RefererToken&q=1",
    )
    target = f"/x/{PLANTED['path token']}?access_token=Zq7QueryToken&api_key=Zq7QueryKey&q=1"
    return [
        head(target, "Authorization: Bearer Zq7BearerOpaque123", *common),
        head(target.replace("access_token", "token"), f"Authorization: Basic {BASIC}", *common),
        head("/ok", f"Authorization: Bearer {good}", *common),
        head("/ok", f"Authorization: Bearer {good}tampered", *common),
        head("/denied?key=Zq7QueryKey", f"Authorization: Basic {BASIC}", *common),
        head("/ok", "X-Auth-Token: Zq7PolicyHeader"),
        head("/dead?password=Zq7QueryKey", f"Authorization: Basic {BASIC}", *common),
        head("/none?token=Zq7QueryToken", f"Authorization: Basic {BASIC}", *common, host="nobody"),
        head("/keyed", "X-Api-Key: Zq7MatchedHeader"),
        head("/keyed", "Cookie: Zq7MatchedCookie=1"),
        head("/ok", "Authorization: Bearer Zq7BearerOpaque123", "Authorization: Bearer Zq7BearerOpaque123"),
        head("/ok?token=Zq7QueryToken", "Authorization: Bearer Zq7Malformed", "bad header", *common),
        head("/ok?token=Zq7QueryToken", "Authorization: Bearer Zq7Malformed", "X_A: 1"),
        head("/..%2f?token=Zq7QueryToken", "Authorization: Bearer Zq7Malformed"),
    ]


async def play(port: int, certs: Certs) -> list[bytes]:
    context = certs.client(leaf(principal=SLEEP), name="sleep")
    context.check_hostname = False
    answers = []
    for request in asked():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="shop")
        writer.write(request)
        answers.append(await reader.read())
        writer.transport.abort()
    return answers


def read(process: GatewayServer, path: str) -> str:
    assert process.admin_port is not None
    connection = http.client.HTTPConnection("127.0.0.1", process.admin_port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, (path, text)
    return text


def leaks(where: str, text: str) -> list[str]:
    """What was planted and shows in `text`, as it is or in base64 or escaped."""
    secrets = {**PLANTED, "any": "Zq7"} if where != "mirror" else PLANTED
    found = [name for name, secret in secrets.items() if secret in text]
    for name, secret in PLANTED.items():
        if base64.b64encode(secret.encode()).decode().rstrip("=") in text:
            found.append(f"{name} in base64")
    return [
        f"{where}: {name}: {text[max(0, text.find(secrets.get(name, '')) - 80) :][:200]}" for name in found
    ]


def test_no_secret_shows_anywhere(tmp_path: Path) -> None:
    """Logs, traces, metrics, every page and interface of the admin listener, mirrors, replies of our own."""
    certs = Certs(tmp_path / "certs")
    edge: Pair = leaf(dns_names=("shop",))
    certs.put("edge", edge, authority())
    key_lines = (tmp_path / "certs" / "edge" / "tls.key").read_text().splitlines()[1:-1]
    port, log, routes = free_port(), tmp_path / "access.log", tmp_path / "routes.yaml"
    first, second = RecordingBackend(ANSWER), RecordingBackend(ANSWER)
    places: dict[str, str] = {}

    async def main(traces: HttpReceiver) -> list[bytes]:
        async with first, second:
            keys = jwks(jwk(OCT, kid="k"))
            text = CONFIG % {
                "log": log, "port": port, "first": first.port, "second": second.port, "dead": free_port(), "jwks": keys,
            }  # fmt: skip
            await asyncio.to_thread(routes.write_text, text)
            environment = {**traces.environment, "OTEL_BSP_SCHEDULE_DELAY": "50"}
            process = await asyncio.to_thread(
                gateway,
                routes,
                port=None,
                admin="127.0.0.1:0",
                env=environment,
                arguments=["--log-level", "debug"],
            )
            try:
                answers = await play(port, certs)
                for path in PATHS:
                    places[path] = await asyncio.to_thread(read, process, path)
                for item in json.loads(places["/requests?limit=500"])["requests"]:
                    path = f"/requests/{item['id']}"
                    places[path] = await asyncio.to_thread(read, process, path)
                await asyncio.to_thread(traces.wait_for, 3)
            finally:
                await asyncio.to_thread(process.stop)
            places["what the process says"] = process.output
            return answers

    with HttpReceiver() as traces:
        answers = asyncio.run(main(traces))
    places["access log"] = log.read_text()
    places["traces"] = "\n".join(f"{span!r} {span.events} {span.resource}" for span in traces.spans)
    mirrored = b"".join(link.received for link in second.links)
    statuses = [int(answer.split(b" ")[1]) for answer in answers]
    assert statuses == [401, 302, 302, 401, 403, 403, 503, 404, 204, 204, 400, 400, 400, 400]
    for number, answer in enumerate(answers):
        if statuses[number] != 302:
            places[f"answer {number} ({statuses[number]})"] = answer.decode("latin-1")
    found = [leak for where, text in places.items() for leak in leaks(where, text)]
    assert found == [], "\n".join(found)
    assert not [where for where, text in places.items() for line in key_lines if line in text]
    assert len(places["access log"].splitlines()) >= 10
    assert len(traces.spans) >= 10
    # A copy has no credentials in headers and queries; parameters that only sound like one are kept, and so is
    # the path, for it would be another request.
    assert mirrored.count(b"GET ") == 2
    lines = [line for line in mirrored.decode("latin-1").split("\r\n") if not line.startswith("GET ")]
    assert "Zq7QueryToken" not in mirrored.decode("latin-1")
    assert "Zq7QueryKey" not in mirrored.decode("latin-1")
    assert leaks("mirror", "\n".join(lines)) == []
