"""Attacks beyond the listed ones, each through a whole gateway; the names (I01...) are those of docs/security.md."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import pytest
from support.attacks import get
from support.field import END, fields
from support.raw import Raw
from support.stage import Backend, answering, route, service, stage
from support.tokens import jwk, jwks, private_key, raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.field import Field

TO_BACKEND = "\n  - route: [{destination: {host: backend.test}}]"
CONFIG = (
    service("backend.test", 1).replace("http: 1}", "http: %d}")
    + """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test, internal.test]
  http:
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /told}}]
    headers: {request: {set: {x-told: "%REQ(X-CHOSEN)%"}}, response: {set: {x-told: "%REQ(X-CHOSEN)%"}}}
    route: [{destination: {host: backend.test}}]
  - match: [{uri: {prefix: /cors}}, {uri: {prefix: /admin}}]
    corsPolicy: {allowOrigins: [{exact: https://a.test}], allowMethods: [GET]}
    route: [{destination: {host: backend.test}}]
  - match: [{headers: {x-regex: {regex: "(a+)+b"}}}]
    route: [{destination: {host: backend.test}}]
  - match: [{uri: {prefix: /api}}]
    rewrite: {uri: /}
    route: [{destination: {host: backend.test}}]
  - route: [{destination: {host: backend.test}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: kept-out}
spec:
  action: DENY
  rules:
  - to: [{operation: {hosts: [internal.test]}}]
  - to: [{operation: {paths: ["/admin*"]}}]
  - {to: [{operation: {paths: ["/token*"]}}], from: [{source: {notRequestPrincipals: ["*"]}}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec: {jwtRules: [{issuer: https://a, jwks: '%keys', outputClaimToHeaders: [{header: x-user, claim: sub}]}]}
---""".replace("%keys", jwks(jwk(private_key())))
)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    yield from fields(tmp_path_factory.mktemp("invented"), CONFIG)


def bearer() -> bytes:
    claims = {"iss": "https://a", "sub": "alice", "exp": int(time.time()) + 600}
    return raw({"alg": "RS256", "kid": "k1"}, claims, private_key(), "RS256").encode()


@pytest.mark.parametrize(
    "host",
    [b"internal.test", b"INTERNAL.test", b"internal.test:80", b"internal.test:65535", b"Internal.Test:8443"],
)
def test_i01_a_kept_out_host_is_kept_out_on_any_port(host: bytes, field: Field) -> None:
    """Routes are chosen without the port, so a DENY holds with any."""
    answer = field.play(get(host=b"Host: " + host + b"\r\n"))
    assert (answer.statuses, answer.seen) == ((403,), [])


def test_i02_nobody_inherits_the_token_of_the_request_before(field: Field) -> None:
    """One connection of a shared client: who showed a token says nothing of who asks next."""
    shown = get(b"Authorization: Bearer " + bearer() + b"\r\n", target=b"/token/a")
    answer = field.play(shown + get(target=b"/token/b") + shown)
    assert answer.statuses == (200, 403, 200)
    assert [(item.target, item.values(b"x-user")) for item in answer.seen] == [
        (b"/token/a", [b"alice"]),
        (b"/token/a", [b"alice"]),
    ]


def test_i03_a_claim_header_is_never_the_client_s(field: Field) -> None:
    """Without a token, with one, in another case, in a trailer, behind a blank line that is none."""
    plain = field.play(get(b"X-User: root\r\nx-uSER: root\r\n"))
    assert plain.only.values(b"x-user") == []
    head = b"POST /token HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\nX-User: root\r\n"
    body = b"\r\n2\r\nhi\r\n0\r\nX-User: root\r\n\r\n"
    answer = field.play(head + b"Authorization: Bearer " + bearer() + b"\r\n" + body)
    assert answer.only.values(b"x-user") == [b"alice"]


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"transfer-encoding, close"])
def test_i04_framing_cannot_be_nominated_away(name: bytes, field: Field) -> None:
    """`Connection: Transfer-Encoding` would leave a backend with a body that nobody frames."""
    head = b"POST /a HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\nConnection: " + name
    answer = field.play(head + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    for request in answer.seen:
        assert (request.chunked, request.body) == (True, b"hello")
    assert answer.statuses in {(200,), (400,)}


@pytest.mark.parametrize(
    "host",
    [
        b"169.254.169.254", b"127.0.0.1", b"127.0.0.1:1", b"2130706433", b"0x7f.1", b"[::ffff:127.0.0.1]", b"[::1]",
        b"localhost", b"backend.test:1", b"metadata.google.internal", b"outbound_.80_._.backend.test",
    ],
)  # fmt: skip
def test_i05_a_host_names_a_route_and_nothing_else(host: bytes, field: Field) -> None:
    """D25: nothing a client sends becomes an address to connect to."""
    headers = (
        b"X-Forwarded-Host: gw.test\r\nX-Envoy-Original-Dst-Host: 127.0.0.1:1\r\nX-Original-Host: gw.test\r\n"
    )
    answer = field.play(get(headers, host=b"Host: " + host + b"\r\n"))
    assert (answer.statuses, answer.seen) == ((404,), [])


@pytest.mark.parametrize(
    "target",
    [b"/moved%0d%0aX-Evil:%201", b"/moved//evil.test", b"/moved/%5Cevil.test", b"/moved?x=%0d%0aX-Evil:1"],
)
def test_i06_a_redirect_stays_one_header_on_one_host(target: bytes, field: Field) -> None:
    """What a client put into the path neither splits the answer nor sends anybody elsewhere."""
    answer = field.play(get(target=target))
    (response,) = answer.responses
    assert response.header("x-evil") is None
    location = response.header("location") or ""
    assert re.fullmatch(r"(http://gw\.test/new[!-~]*)?", location)
    assert not re.match(r"https?://(?!gw\.test/)", location)


@pytest.mark.parametrize(
    "value", [b"a\tb", b"caf\xe9", b'"; Path=/', b"x" * 5000, b"%REQ(COOKIE)%", b"${jndi:ldap://x}"]
)
def test_i07_an_echoed_value_stays_a_value(value: bytes, field: Field) -> None:
    """Header templates take what the client sent as it is: not expanded again, not split."""
    answer = field.play(get(b"X-Chosen: " + value + b"\r\nCookie: a=b\r\n", target=b"/told"))
    (response,) = answer.responses
    assert response.header("x-told") == value.decode("latin-1")
    assert answer.only.values(b"x-told") == [value]


def test_i08_a_preflight_is_no_way_in(field: Field) -> None:
    """J25: policies come before CORS, and a preflight that is none goes the way of every request."""
    preflight = b"Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n"
    options = get(preflight, target=b"/admin/x").replace(b"GET", b"OPTIONS", 1)
    assert field.play(options).statuses == (403,)
    allowed = field.play(get(preflight, target=b"/cors").replace(b"GET", b"OPTIONS", 1))
    assert (allowed.statuses, allowed.seen) == ((200,), [])
    token = field.play(get(b"Origin: https://evil.test\r\n", target=b"/token").replace(b"GET", b"OPTIONS", 1))
    assert (token.statuses, token.seen) == ((403,), [])


def test_i09_a_regular_expression_takes_linear_time(field: Field) -> None:
    """D11: `(a+)+b` against 40 000 bytes of `a`: RE2 has no worse case; the test's own limit is the judge."""
    answer = field.play(get(b"X-Regex: " + b"a" * 40000 + b"!\r\n"))
    assert answer.statuses == (200,)


@pytest.mark.parametrize(
    "target",
    [b"/api../admin", b"/api%2e%2e/admin", b"/api/../admin", b"/api/%2e%2e/admin", b"/api/..;/admin", b"/api..;/admin",
     b"/api.%2E/admin", b"/api//../../admin"],
)  # fmt: skip
def test_i10_a_rewritten_path_never_leaves_its_prefix(target: bytes, field: Field) -> None:
    """J24: what is forwarded is judged as well as what came."""
    answer = field.play(get(target=target))
    assert answer.statuses[0] in {400, 403}
    assert answer.seen == []


def test_i11_many_refused_requests_in_one_packet_reach_nobody(field: Field) -> None:
    """Five hundred pipelined: each is judged, in order, and the good one at the end is served."""
    answer = field.play(get(target=b"/admin") * 500 + get(target=b"/good"))
    assert answer.statuses == (403,) * 500 + (200,)
    assert [request.target for request in answer.seen] == [b"/good"]


def test_i12_a_body_of_single_bytes_is_one_body(field: Field) -> None:
    """Ten thousand chunks of one byte, with extensions: framed anew, nothing of them is passed on."""
    head = b"POST /a HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = field.play(head + b"1;x=y\r\nz\r\n" * 10000 + b"0\r\n\r\n")
    assert answer.only.body == b"z" * 10000


@pytest.mark.parametrize(
    "name",
    [
        b":authority",
        b":path",
        b":method",
        b"Host\x00",
        b"\xefHost",
        b"Host:",
        b"H\tost",
        b"content-length\x0b",
    ],
)
def test_i13_names_that_look_like_others_are_refused(name: bytes, field: Field) -> None:
    """Pseudo headers of HTTP/2, names with invisible parts."""
    answer = field.play(get(name + b": internal.test\r\n"))
    assert (answer.statuses, answer.seen, answer.open) == ((400,), [], False)


def test_i14_internal_pages_are_not_on_the_public_listener(field: Field) -> None:
    """D27: whatever Host is named, the console and its data are another listener's."""
    for path in (
        b"/config_dump",
        b"/requests",
        b"/console/api/documents",
        b"/stats.json",
        b"/metrics",
        b"/reload",
    ):
        for host in (b"localhost", b"127.0.0.1:15000", b"[::1]:15000"):
            answer = field.play(get(b"x-gateway-admin: 1\r\n", target=path, host=b"Host: " + host + b"\r\n"))
            assert (answer.statuses, answer.seen) == ((404,), [])


def test_i15_what_a_client_says_stays_in_its_line_of_the_log(field: Field) -> None:
    """D21: line ends, escape sequences and lookups, in path, query, agent and Host."""
    agent = b'\x1b[2J"} {"fake": "line"} ${jndi:ldap://evil}\t\xe2\x80\xa8'.replace(b"\x1b", b"\xc2\x9b")
    field.play(get(b"User-Agent: " + agent + b"\r\n", target=b'/log%0a%0d%1b[2J?x=%0a{"a":1}'))
    field.play(get(b"User-Agent: " + agent + b"\r\n", target=b"/log%0a?x=%0a%7b"))
    lines = field.logged()
    seen = [line["user_agent"] for line in lines if line["path"].startswith("/log")]
    assert seen == [agent.decode("latin-1")] * 2
    assert "\x1b" not in field.gateway.log.read_text()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n\x00",
        b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n\x16\x03\x01",
        b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\nPROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
        b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n\r\n\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_i16_what_follows_a_request_is_a_request_or_the_end(sent: bytes, field: Field) -> None:
    """Another protocol behind a good request: refused, closed, and never seen by the backend."""
    answer = field.play(sent)
    assert answer.statuses[0] == 200
    assert answer.statuses[-1] in {400, 505}
    assert not answer.open
    assert [request.target for request in answer.seen] == [b"/a"]


@pytest.mark.parametrize(
    "preface",
    [b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x06" * 12,
     b"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xff"],
)  # fmt: skip
def test_i17_the_proxy_protocol_is_not_spoken(preface: bytes, field: Field) -> None:
    """T18: a client cannot choose its address with a preface; it is no request."""
    answer = field.play(preface + get())
    assert (answer.seen, answer.open) == ([], False)
    assert answer.statuses[-1] >= 400


def test_i18_credentials_of_another_scheme_are_no_token(field: Field) -> None:
    """J17: what is not the configured scheme is nobody, and nobody is kept out."""
    for value in (b"bearer " + bearer(), b"Basic " + bearer(), b"", b"Token " + bearer(), bearer()):
        answer = field.play(get(b"Authorization: " + value + b"\r\n", target=b"/token"))
        assert answer.statuses[0] in {401, 403}
        assert answer.seen == []
    in_cookie = field.play(get(b"Cookie: access_token=" + bearer() + b"\r\n", target=b"/token"))
    assert (in_cookie.statuses, in_cookie.seen) == ((403,), [])


def test_i19_a_stricter_file_counts_on_connections_that_stand(tmp_path: Path) -> None:
    """A keep-alive connection of before a reload is judged by the policies of after it."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            config = service("backend.test", backend.port) + route("gw.test", TO_BACKEND)
            async with stage(tmp_path, config) as gateway, Raw(gateway.port) as client:
                await client.send(get())
                assert (await client.response()).status == 200
                text = gateway.config.read_text() + (
                    "\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nobody}\nspec: {}\n"
                )
                await asyncio.to_thread(gateway.config.write_text, text)
                assert (await gateway.gateway.control.reload()).generation == 2
                await client.send(get())
                assert (await client.response()).status == 403
                assert len(backend.calls) == 1

    asyncio.run(main())


def test_i20_a_limit_is_not_walked_around_by_claims_of_the_client(tmp_path: Path) -> None:
    """D31: rotating forwarded addresses, spellings of the path and of header names share one bucket."""
    settings = "  rateLimits: [{name: one, requests: 3, per: 1h, match: {paths: [/limited]}}]"

    async def main() -> None:
        async with Backend(answering).running() as backend:
            config = service("backend.test", backend.port) + route("gw.test", TO_BACKEND)
            async with stage(tmp_path, config, settings=settings) as gateway:
                statuses = []
                for number, target in enumerate(
                    (b"/limited", b"//limited", b"/./limited", b"/%6cimited", b"/a/../limited")
                ):
                    forged = b"X-Forwarded-For: 10.0.0.%d\r\nForwarded: for=10.0.0.%d\r\nTrue-Client-IP: 1.1.1.%d\r\n"
                    async with Raw(gateway.port) as client:
                        await client.send(get(forged % (number, number, number), target=target))
                        statuses.append((await client.response()).status)
                assert statuses == [200, 200, 200, 429, 429]

    asyncio.run(main())


def test_i21_affinity_is_no_address(tmp_path: Path) -> None:
    """D24: a forged cookie chooses among configured endpoints, whatever it says."""

    async def main() -> None:
        async with Backend(answering).running() as backend, Backend(answering).running() as other:
            config = (
                service("backend.test", backend.port)
                + """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: sticky}
spec:
  host: backend.test
  trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: where, ttl: 0s}}}}
---"""
                + route("gw.test", TO_BACKEND)
            )
            async with stage(tmp_path, config) as gateway, Raw(gateway.port) as client:
                for value in (f"127.0.0.1:{other.port}", "a" * 4000, '"', "", "..%2f"):
                    await client.send(get(f"Cookie: where={value}\r\n".encode()))
                    assert (await client.response()).status == 200
                assert (len(other.calls), len(backend.calls)) == (0, 1)

    asyncio.run(main())


def test_i22_the_end_of_a_connection_is_not_the_end_of_a_head(field: Field) -> None:
    """A head that is cut off by a FIN is no request, however complete it looks."""

    async def main() -> bytes:
        async with Raw(field.gateway.port) as client:
            await client.send(b"GET /cut HTTP/1.1\r\nHost: gw.test\r\nX-A: b\r\n")
            client.half_close()
            return await client.closed()

    field.backend.forget()
    field.run(main())
    field.play(END)
    assert b"/cut" not in field.backend.raw
