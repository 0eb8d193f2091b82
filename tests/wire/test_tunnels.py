"""Upgrades to WebSocket through a whole gateway, as bytes: what is asked, what is answered, what passes then."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest
from support.raw import Raw
from support.scripted import forwards, reply, scripted
from support.stage import Backend, Call, route, service, stage
from support.tokens import jwk, jwks, private_key
from support.tokens import raw as token
from support.tunnels import (
    ACCEPT,
    AGREED,
    FIELDS,
    KEY,
    OFFER,
    SWITCHED,
    agreeing,
    agreeing_then,
    handshake,
    idle,
    lines,
    to,
    tunnel,
)
from support.waiting import until

DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret"]}}]}]
---"""
EVERY_BYTE = bytes(range(256))


def test_the_handshake_passes_and_then_every_byte(tmp_path: Path) -> None:
    """The backend is asked with the upgrade headers; the answer keeps the backend's; bytes are not looked at."""

    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake(b"/chat?room=1", fields=FIELDS + b"Origin: http://a.test\r\n"))
                answer = await raw.response()
                assert (answer.status, answer.reason) == (101, "Switching Protocols")
                assert answer.header("upgrade") == "websocket"
                assert answer.header("connection") == "Upgrade"
                assert answer.header("sec-websocket-accept") == ACCEPT.decode()
                assert answer.header("server") == "asgi-gateway"
                assert answer.header("content-length") is answer.header("transfer-encoding") is None
                await raw.send(EVERY_BYTE, EVERY_BYTE[::-1])
                assert await raw.read(512) == EVERY_BYTE + EVERY_BYTE[::-1]
            await idle(gateway)
            (call,) = backend.calls
            head, _, rest = call.seen.partition(b"\r\n\r\n")
            asked = head.lower().split(b"\r\n")
            assert asked[0] == b"get /chat?room=1 http/1.1"
            for line in (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"):
                assert asked.count(line) == 1
            assert b"Sec-WebSocket-Key: " + KEY in head or b"sec-websocket-key: " + KEY in head
            assert b"x-forwarded-for: 127.0.0.1" in asked
            assert b"content-length" not in head
            assert rest == b""

    asyncio.run(main())


def test_one_line_is_logged_at_the_end(tmp_path: Path) -> None:
    """With 101, the bytes both ways, and who left."""

    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                await raw.send(b"12345")
                assert await raw.read(5) == b"12345"
                assert gateway.log.read_text() == ""
            await idle(gateway)
            (line,) = lines(gateway)
            assert (line["response_code"], line["bytes_received"], line["bytes_sent"]) == (101, 5, 5)
            assert line["response_flags"] == "DC"
            told = gateway.gateway.telemetry.exposition()
            assert b'response_code_class="1xx"' in told
            assert b"gateway_route_duration_seconds_count" not in told
            assert line["upstream_cluster"] == "outbound|80||reviews.default.svc.cluster.local"

    asyncio.run(main())


def test_a_backend_that_closes_ends_it_without_a_flag(tmp_path: Path) -> None:
    async def main() -> None:
        async def bye(call: Call) -> None:
            await call.send(b"bye")

        backend = Backend(agreeing_then(bye))
        async with backend.running(), stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                assert await raw.closed() == b"bye"
            await idle(gateway)
            (line,) = lines(gateway)
            assert (line["response_flags"], line["bytes_sent"]) == ("-", 3)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"plain"), (400, b"no"), (302, b""), (403, b"denied"), (426, b"")]
)
def test_w02_any_other_answer_is_relayed_and_opens_nothing(tmp_path: Path, status: int, body: bytes) -> None:
    """What the client sends behind its handshake is a request like any other, never the backend's to read."""

    async def main() -> None:
        backend = scripted(reply(status, body), reply(200, b"next"))
        async with backend.running(), stage(tmp_path, to(backend.port) + DENY) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake() + b"GET /secret HTTP/1.1\r\nHost: reviews\r\n\r\n")
                answer = await raw.response()
                assert (answer.status, answer.body) == (status, body)
                denied = await raw.response()
                assert (denied.status, denied.body) == (403, b"RBAC: access denied")
                await raw.send(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                assert (await raw.response()).body == b"next"
            assert [asked.target for asked in backend.asked] == ["/", "/"]
            assert len(backend.calls) == 1  # its connection was fit for another request

    asyncio.run(main())


def test_w03_bytes_before_101_wait_for_it(tmp_path: Path) -> None:
    """The backend sees none of them before it has agreed, and all of them afterwards."""

    async def main() -> None:
        agree = asyncio.Event()

        async def slow(call: Call) -> None:
            await call.head()
            early = asyncio.create_task(call.reader.read(1))
            await agree.wait()
            assert not early.done()
            await call.send(SWITCHED + b"hello")
            assert await early + await call.reader.readexactly(4) == b"early"
            await call.send(b"right")

        async with Backend(slow).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake() + b"ear", b"ly")
                await until(lambda: bool(backend.calls and backend.calls[0].seen))
                await asyncio.sleep(0.05)  # what must not come has had its chance
                agree.set()
                assert (await raw.response()).status == 101
                assert await raw.read(10) == b"helloright"
            await idle(gateway)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("offer", "fields"),
    [
        (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", FIELDS),
        (b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", FIELDS),
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n", FIELDS),
        (b"Connection: keep-alive\r\nUpgrade: websocket\r\n", FIELDS),
        (b"Connection: Upgrade\r\n", FIELDS),
        (OFFER, FIELDS + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ],
    ids=["h2c", "two", "twice", "not in Connection", "no Upgrade", "broken framing"],
)
def test_other_offers_are_no_handshake(tmp_path: Path, offer: bytes, fields: bytes) -> None:
    """As before: a plain request, or a refusal; the backend is not asked for another protocol."""

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running(), stage(tmp_path, to(backend.port)) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake(offer=offer, fields=fields))
                assert (await raw.response()).status in {200, 400}
            assert all(b"upgrade" not in asked.head.lower() for asked in backend.asked)

    asyncio.run(main())


def test_a_request_with_a_body_is_no_handshake(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running(), stage(tmp_path, to(backend.port)) as gateway:
            for method, length in ((b"POST", b""), (b"GET", b"Content-Length: 2\r\n")):
                async with Raw(gateway.port) as raw:
                    head = handshake(fields=FIELDS + length).replace(b"GET", method, 1)
                    await raw.send(head + b"hi" * bool(length))
                    assert (await raw.response()).status == 200
            assert all(b"upgrade" not in asked.head.lower() for asked in backend.asked)

    asyncio.run(main())


def test_u10_every_connection_header_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            offer = b"Connection: keep-alive\r\nConnection: x, UPGRADE\r\nUpgrade: WebSocket\r\n"
            async with tunnel(gateway, handshake(offer=offer)) as raw:
                await raw.send(b"hi")
                assert await raw.read(2) == b"hi"

    asyncio.run(main())


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        FIELDS + b"Sec-WebSocket-Key: " + KEY + b"\r\n",
        FIELDS + b"Sec-WebSocket-Version: 13\r\n",
        FIELDS.replace(b"13", b"8"),
        FIELDS.replace(b"13", b"13, 8"),
        FIELDS.replace(KEY, b"short"),
        FIELDS.replace(KEY, KEY[:-2] + b"!="),
    ],
    ids=["none", "two keys", "two versions", "version 8", "a list", "short key", "no base64"],
)
def test_w07_a_handshake_that_could_be_read_in_two_ways_is_400(tmp_path: Path, fields: bytes) -> None:
    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake(fields=fields) + b"\x81\x00")
                answer = await raw.response()
                assert (answer.status, answer.header("connection")) == (400, "close")
            assert backend.calls == []
            (line,) = lines(gateway)
            assert line["response_code_details"] in {"websocket_key", "websocket_version"}

    asyncio.run(main())


@pytest.mark.parametrize(
    "verdict",
    [
        AGREED.replace(b"websocket", b"h2c") + b"\r\n",
        AGREED.replace(b"Upgrade: websocket\r\n", b"") + b"\r\n",
        AGREED + b"Upgrade: h2c\r\n\r\n",
        AGREED + b"Bad Name: x\r\n\r\n",
        AGREED + b"X: " + b"y" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 101\r\n\n",
        b"HTTP/1.1 10",
    ],
    ids=["h2c", "nothing", "two", "grammar", "too long", "line feed", "cut off"],
)
def test_a_101_for_something_else_is_502(tmp_path: Path, verdict: bytes) -> None:
    async def wrong(call: Call) -> None:
        await call.head()
        await call.send(verdict)

    async def main() -> None:
        async with Backend(wrong).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with Raw(gateway.port) as raw:
                await raw.send(handshake())
                assert (await raw.response()).status == 502
            await idle(gateway)

    asyncio.run(main())


def test_an_unasked_101_is_502(tmp_path: Path) -> None:
    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            assert (await gateway.get()).startswith(b"HTTP/1.1 502 ")

    asyncio.run(main())


def test_a_101_in_pieces_is_understood(tmp_path: Path) -> None:
    async def dripping(call: Call) -> None:
        await call.head()
        for byte in SWITCHED + b"tail":
            await call.send(bytes((byte,)))
            await asyncio.sleep(0)
        await call.reader.read()

    async def main() -> None:
        async with (
            Backend(dripping).running() as backend,
            stage(tmp_path, to(backend.port)) as gateway,
            tunnel(gateway) as raw,
        ):
            assert await raw.read(4) == b"tail"

    asyncio.run(main())


def test_policies_judge_the_handshake(tmp_path: Path) -> None:
    """Refused: the backend hears nothing of it, and the connection goes on as HTTP."""

    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port) + DENY) as gateway,
        ):
            async with Raw(gateway.port) as raw:
                await raw.send(handshake(b"/x/../secret"))
                answer = await raw.response()
                assert (answer.status, answer.body) == (403, b"RBAC: access denied")
                await raw.send(handshake())
                assert (await raw.response()).status == 101
            assert len(backend.calls) == 1

    asyncio.run(main())


def test_w01_a_policy_can_name_the_origins(tmp_path: Path) -> None:
    """Cross-site WebSockets: browsers send cookies along, and CORS does not hold them back; a policy does."""
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: own-pages}
spec:
  action: DENY
  rules:
  - when:
    - {key: "request.headers[upgrade]", values: [websocket]}
    - {key: "request.headers[origin]", notValues: ["https://shop.test"]}
---"""

    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port) + policy) as gateway,
        ):
            for origin, status in ((b"https://evil.test", 403), (b"https://shop.test", 101)):
                async with Raw(gateway.port) as raw:
                    await raw.send(handshake(fields=FIELDS + b"Origin: " + origin + b"\r\n"))
                    assert (await raw.response()).status == status

    asyncio.run(main())


def test_routes_see_the_offer_rewrite_and_change_headers(tmp_path: Path) -> None:
    """`match.headers.upgrade` as with Istio; response operations are for the 101, too."""
    rules = """
  - match: [{headers: {upgrade: {exact: websocket}}, uri: {prefix: /ws/}}]
    rewrite: {uri: /}
    route: [{destination: {host: reviews}, headers: {request: {set: {x-seen: "yes"}}, response: {set: {x-by: edge}}}}]
  - directResponse: {status: 200, body: {string: page}}"""

    async def main() -> None:
        config_of = service, route
        async with Backend(agreeing).running() as backend:
            config = config_of[0]("reviews", backend.port) + config_of[1]("reviews", rules)
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get("/ws/a")).endswith(b"page")
                async with Raw(gateway.port) as raw:
                    await raw.send(handshake(b"/ws/a"))
                    answer = await raw.response()
                    assert (answer.status, answer.header("x-by")) == (101, "edge")
                assert backend.calls[0].seen.startswith(b"GET /a HTTP/1.1\r\n")
                assert b"\r\nx-seen: yes\r\n" in backend.calls[0].seen

    asyncio.run(main())


def test_only_the_handshake_is_repeated(tmp_path: Path) -> None:
    """An endpoint that refuses connections costs a retry and nothing more."""

    async def main() -> None:
        dead = socket.socket()
        dead.bind(("127.0.0.1", 0))  # bound, not listening: refused
        async with Backend(agreeing).running() as backend:
            config = service("reviews", dead.getsockname()[1], backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                for _ in range(5):  # The reserve of the retry budget.
                    async with tunnel(gateway) as raw:
                        await raw.send(b"hi")
                        assert await raw.read(2) == b"hi"
                await idle(gateway)
                assert len(backend.calls) == 5
        dead.close()

    asyncio.run(main())


def test_a_reload_leaves_tunnels_alone(tmp_path: Path) -> None:
    """Even one that takes route and service away; the tunnel keeps its generation."""

    async def main() -> None:
        async with Backend(agreeing).running() as backend, stage(tmp_path, to(backend.port)) as gateway:
            async with tunnel(gateway) as raw:
                gone = route("other", "\n  - directResponse: {status: 204}")
                settings = gateway.config.read_text().split("---", 1)[0]
                gateway.config.write_text(settings + "---" + gone)
                result = await gateway.gateway.control.reload()
                assert result.generation == 2  # whoever was first, this reload or the watcher
                assert b" 404 " in await gateway.get()
                await raw.send(b"still here")
                assert await raw.read(10) == b"still here"
            await idle(gateway)

    asyncio.run(main())


def test_a_token_is_verified_in_the_handshake(tmp_path: Path) -> None:
    """And not again: what comes after the 101 is not looked at."""
    key = private_key()
    keys = jwks(jwk(key)).replace("'", "''")
    policy = f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec: {{jwtRules: [{{issuer: https://a, jwks: '{keys}'}}]}}
---"""

    def bearer(ends: float) -> bytes:
        made = token({"alg": "RS256", "kid": "k1"}, {"iss": "https://a", "exp": int(ends)}, key, "RS256")
        return handshake(fields=FIELDS + b"Authorization: Bearer " + made.encode() + b"\r\n")

    async def main() -> None:
        async with (
            Backend(agreeing).running() as backend,
            stage(tmp_path, to(backend.port) + policy) as gateway,
        ):
            async with Raw(gateway.port) as raw:
                await raw.send(bearer(time.time() - 3600))
                assert (await raw.response()).status == 401
            async with tunnel(gateway, bearer(time.time() + 3600)) as raw:
                await raw.send(b"hi")
                assert await raw.read(2) == b"hi"
            assert len(backend.calls) == 1

    asyncio.run(main())
