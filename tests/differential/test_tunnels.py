"""Handshakes for WebSockets, and the bytes behind them, at the gateway and at real Envoy on its export."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import envoy
from support.raw import Raw
from support.stage import Backend, Call, route, service
from support.tunnels import AGREED, FIELDS, SWITCHED, handshake

from differential.play import Theatre, theatre

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

DOCUMENTS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: s}
spec: {admin: "off", serverName: edge, accessLog: {encoding: "OFF"}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret"]}}]}]
---"""
RULES = """
  - match: [{uri: {prefix: /timed}}]
    timeout: 300ms
    route: [{destination: {host: reviews}}]
  - match: [{headers: {upgrade: {exact: websocket}}, uri: {prefix: /only}}]
    rewrite: {uri: /rewritten}
    route: [{destination: {host: reviews}, headers: {request: {set: {x-a: b}}, response: {set: {x-c: d}}}}]
  - match: [{uri: {prefix: /only}}]
    directResponse: {status: 204}
  - route: [{destination: {host: reviews}}]"""
ANSWERS = {
    b"/refuse": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
    b"/moved": b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
    b"/h2c": AGREED.replace(b"websocket", b"h2c") + b"\r\n",
}
OWN = frozenset({"date", "connection", "x-request-id", "x-envoy-upstream-service-time"})
"""Of answers, what the table of differences says."""
OWN_ASKED = (b"x-request-id:", b"x-forwarded-for:")


async def play(call: Call) -> None:
    """Answers by the path; otherwise agrees, and sends back what comes."""
    head = await call.head()
    path = head.split(b" ")[1]
    if path.startswith(b"/timed"):
        await call.reader.read()
    elif path in ANSWERS:
        await call.send(ANSWERS[path])
    elif b"\r\nupgrade:" not in head.lower():
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
    else:
        await call.send(SWITCHED)
        while data := await call.reader.read(65536):
            await call.send(data)


class Told(NamedTuple):
    """What became of one."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    echoed: bytes
    asked: tuple[bytes, ...]
    """The lines of the head that the backend got."""


async def tell(port: int, backend: Backend, data: bytes) -> Told:
    """Sends a handshake, and bytes when there is a tunnel."""
    backend.calls.clear()
    async with Raw(port) as raw:
        await raw.send(data)
        answer = await raw.response()
        echoed = b""
        if answer.status == 101 and not data.startswith(b"GET /h2c"):
            late = data.partition(b"\r\n\r\n")[2]
            await raw.send(bytes(range(256)))
            echoed = await raw.read(256 + len(late))
    lines = backend.calls[0].seen.split(b"\r\n") if backend.calls else []
    asked = sorted(line for line in lines if not line.lower().startswith(OWN_ASKED))
    headers = sorted(pair for pair in answer.headers if pair[0] not in OWN)
    return Told(answer.status, tuple(headers), answer.body, echoed, tuple(asked))


async def both(folder: Path, *heads: bytes) -> list[tuple[Told, Told]]:
    """Each of them at both."""

    async def one(stage: Theatre, backend: Backend, head: bytes) -> tuple[Told, Told]:
        return await tell(stage.ours, backend, head), await tell(stage.theirs, backend, head)

    async with Backend(play).running() as backend:
        text = DOCUMENTS + service("reviews", backend.port) + route("reviews", RULES)
        async with theatre(folder, lambda _: text, []) as stage:
            return [await one(stage, backend, head) for head in heads]


def test_handshakes_are_treated_alike(tmp_path: Path) -> None:
    """Accepted, refused by the backend, denied by a policy, matched by the offer, too late; bytes before the 101."""
    told = asyncio.run(
        both(
            tmp_path,
            handshake(b"/chat?a=b"),
            handshake(fields=FIELDS + b"Sec-WebSocket-Protocol: a, b\r\nOrigin: http://a.test\r\n"),
            handshake() + b"early",
            handshake(b"/only"),
            handshake(b"/only", offer=b""),
            handshake(offer=b"Upgrade: websocket\r\n"),
            handshake(b"/refuse"),
            handshake(b"/moved"),
            handshake(b"/secret"),
            handshake(b"/x/../secret"),
            handshake(b"/timed"),
            handshake(host=b"unknown.test"),
        )
    )

    for ours, theirs in told:
        assert ours == theirs
    statuses = [ours.status for ours, _ in told]
    assert statuses == [101, 101, 101, 101, 204, 200, 403, 302, 403, 403, 504, 404]
    assert told[2][0].echoed == b"early" + bytes(range(256))


def test_what_differs_is_what_the_table_says(tmp_path: Path) -> None:
    """The rows about WebSockets of docs/differences.md."""
    told = asyncio.run(
        both(
            tmp_path,
            handshake(fields=b"Sec-WebSocket-Version: 13\r\n"),
            handshake(fields=FIELDS.replace(b"13", b"8")),
            handshake().replace(b"GET", b"POST", 1),
            handshake(fields=FIELDS + b"Content-Length: 2\r\n") + b"hi",
            handshake(offer=b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
            handshake(b"/h2c"),
        )
    )

    assert [(ours.status, theirs.status) for ours, theirs in told] == [
        (400, 101),
        (400, 101),
        (200, 101),
        (200, 101),
        (200, 403),
        (502, 101),
    ]


def test_the_words_of_a_handshake_are_made_plain(tmp_path: Path) -> None:
    offer = b"Connection: keep-alive\r\nConnection: x, UPGRADE\r\nUpgrade: WebSocket\r\n"
    ((ours, theirs),) = asyncio.run(both(tmp_path, handshake(offer=offer)))

    assert ours.echoed == theirs.echoed == bytes(range(256))
    assert b"connection: Upgrade" in ours.asked
    assert b"upgrade: websocket" in ours.asked
    assert b"upgrade: WebSocket" in theirs.asked
