"""The same tokens to our check and to real Envoy's jwt_authn, set up as Istio does."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support import envoy
from support.backend import RecordingBackend, echo
from support.tokens import b64, jwk, jwks, policy, private_key, raw, rule, token

from gateway.export.envoy_jwt import envoy_jwt
from gateway.export.envoy_policies import typed
from gateway.http.request import Request
from gateway.security.jwt import compile_jwt
from gateway.security.state import SecurityState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

NOW = int(time.time())
KEY_B = private_key("RSA", "b")
ADDED = {"host", "content-length", "x-forwarded-proto", "x-request-id", "x-envoy-expected-rq-timeout-ms"}
"""Headers Envoy adds; ours are hygiene's business."""


def signed(key: Any = None, kid: str | None = "k1", **claims: Any) -> str:
    return token(key, kid, **({"exp": NOW + 600} | claims))


def from_b(**claims: Any) -> str:
    return signed(KEY_B, "kb", **({"iss": "https://b", "sub": "bob"} | claims))


def odd(payload: bytes, header: dict[str, Any] | None = None) -> str:
    return raw({"alg": "RS256", "kid": "k1", **(header or {})}, payload, private_key(), "RS256")


GOOD, FORGED, EXPIRED = signed(), signed(private_key("RSA", "mallory")), signed(exp=NOW - 100)


@dataclass(frozen=True)
class Case:
    """A request, and what is known to differ."""

    name: str
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    method: str = "GET"
    ours: Any = None
    """What we answer where we mean to differ: a status."""
    theirs: Any = None


def bearer(name: str, text: str, **more: Any) -> Case:
    return Case(name, (("authorization", f"Bearer {text}"), *more.pop("headers", ())), **more)


FULL = rule(
    audiences=["shop", "https://web/"],
    outputPayloadToHeader="x-payload",
    outputClaimToHeaders=[
        {"header": "x-user", "claim": "sub"},
        {"header": "x-n", "claim": "n"},
        {"header": "x-org", "claim": "org.name"},
    ],
)
PREFLIGHT = (("origin", "https://web"), ("access-control-request-method", "GET"))
PLAIN = [
    Case("no token"),
    bearer("good", GOOD),
    Case("lower case", (("authorization", f"bearer {GOOD}"),)),
    Case("basic", (("authorization", "Basic YTpi"),)),
    Case("only bearer", (("authorization", "Bearer"),)),
    Case("basic first", (("authorization", f"Basic YTpi, Bearer {GOOD}"),)),
    bearer("two blanks", f"  {GOOD}"),
    bearer("no token at all", "!!"),
    bearer("two in one line", f"{GOOD}, Bearer {GOOD}"),
    bearer("forged", FORGED),
    bearer("expired", EXPIRED),
    bearer("just expired", signed(exp=NOW - 30)),
    bearer("not yet", signed(nbf=NOW + 200)),
    bearer("soon", signed(nbf=NOW + 30)),
    bearer("from the future", signed(iat=NOW + 9999)),
    bearer("for ever", signed(exp=...)),
    bearer("other issuer", signed(iss="https://a/")),
    bearer("no issuer", signed(iss=...)),
    bearer("no subject", signed(sub=...)),
    bearer("unknown kid", signed(kid="k2")),
    bearer("no kid", signed(kid=None)),
    bearer("PS256", token(algorithm="PS256", exp=NOW + 600)),
    bearer("RS512", token(algorithm="RS512", exp=NOW + 600)),
    bearer("secret", token(private_key("secret"), algorithm="HS256", exp=NOW + 600)),
    bearer("elliptic", token(private_key("P-256"), algorithm="ES256", exp=NOW + 600)),
    bearer("two parts", "a.b"),
    bearer("five parts", f"{GOOD}.a.b"),
    bearer("bad base64", f"{GOOD[:-3]}+/+"),
    bearer("header no json", f"{b64(b'{')}.e30.AAAA"),
    bearer("header no base64", f"e*.{GOOD.partition('.')[2]}"),
    bearer("no alg", "e30.e30.AAAA"),
    bearer("alg none", f"{b64(json.dumps({'alg': 'none'}).encode())}.e30.AAAA"),
    bearer("kid a number", odd(b"{}", {"kid": 5})),
    bearer("payload a list", odd(b"[1]")),
    bearer("a member twice", odd(b'{"iss":"https://a","sub":"a","sub":"b"}')),
    bearer("beyond a double", odd(b'{"iss":"https://a","exp":1e400}')),
    *(
        bearer(f"{claim} {value}", odd(f'{{"iss":"https://a","{claim}":{value}}}'.encode()))
        for claim, value in (
            ("exp", '"1"'), ("exp", "true"), ("exp", "-1"), ("exp", "18446744073709551616"), ("nbf", "[]"),
            ("iat", '"x"'), ("sub", "1"), ("iss", "{}"), ("jti", "1"), ("aud", "5"), ("aud", "[1]"),
        )
    ),
    Case("parameter", query=f"b=2&access_token={GOOD}&c=3"),
    Case("escaped parameter", query=f"access%5Ftoken={GOOD}"),
    Case("empty parameter", query="access_token="),
    Case("bad parameter", query=f"access_token={FORGED}"),
    bearer("good and bad", GOOD, query=f"access_token={FORGED}"),
    bearer("bad and good", FORGED, query=f"access_token={GOOD}"),
    bearer("expired and bad", EXPIRED, query=f"access_token={FORGED}"),
    bearer("bad and expired", FORGED, query=f"access_token={EXPIRED}"),
    Case("preflight", (("authorization", f"Bearer {FORGED}"), *PREFLIGHT), method="OPTIONS"),
    Case("options", (("authorization", f"Bearer {FORGED}"),), method="OPTIONS"),
    bearer("empty part", GOOD.replace(".", "..", 1), ours=401, theirs=200),
    bearer("padding", f"{GOOD}==", ours=401, theirs=200),
    bearer("crit", odd(json.dumps({"iss": "https://a"}).encode(), {"crit": ["x"], "x": 1}), ours=401, theirs=200),
    bearer("b64", odd(b'{"iss":"https://a"}', {"b64": False}), ours=401, theirs=200),
    bearer("logout token", odd(b'{"iss":"https://a"}', {"typ": "logout+jwt"}), ours=401, theirs=200),
    bearer("exp 0", signed(exp=0), ours=401, theirs=200),
    bearer("exp with a fraction", signed(exp=NOW + 600.5), ours=401, theirs=200),
    bearer("a quote before it", f'"{GOOD}', ours=401, theirs=200),
    bearer("NUL in an unused claim", signed(x="a\0b"), ours=401, theirs=200),
    bearer("two people", GOOD, query=f"access_token={signed(sub='bob')}", ours=401, theirs=200),
    Case("parameter twice", query=f"access_token={GOOD}&access_token={FORGED}", ours=401, theirs=200),
]  # fmt: skip
OUTPUTS = [
    bearer("good", signed(aud="shop")),
    bearer("spoofed", signed(aud="shop"), headers=(("x-user", "root"), ("X-N", "1"), ("x-payload", "z"))),
    Case("spoofed without token", (("x-user", "root"), ("x-other", "1"))),
    bearer("number", signed(aud="shop", n=7)),
    bearer("fraction", signed(aud="shop", n=1.5)),
    bearer("whole fraction", signed(aud="shop", n=3.0)),
    bearer("huge", signed(aud="shop", n=1e30)),
    bearer("boolean", signed(aud="shop", n=False)),
    bearer("null", signed(aud="shop", n=None)),
    bearer("empty", signed(aud="shop", n="")),
    bearer("nested", signed(aud="shop", org={"name": "acme"})),
    bearer("nested in text", signed(aud="shop", org="acme")),
    bearer("unicode", signed(aud="shop", n="\u00e9\u4e2d")),
    bearer("audiences", signed(aud=["x", "shop"])),
    bearer("audience with scheme", signed(aud="http://web")),
    bearer("other audience", signed(aud="shop2")),
    bearer("no audience", signed()),
    bearer("expired for others", signed(aud="x", exp=5)),
    bearer("line break", signed(aud="shop", n="a\r\nx: y"), ours=200, theirs=503),
]
SHARED = [
    bearer("a", GOOD),
    bearer("b", from_b()),
    bearer("a expired", EXPIRED),
    bearer("b expired", from_b(exp=5)),
    bearer("b forged", signed(KEY_B, "kb", iss="https://a")),
    bearer("neither", signed(iss="https://c")),
    bearer("both", GOOD, query=f"access_token={from_b()}"),
    bearer("a and forged b", GOOD, query=f"access_token={signed(iss='https://b')}"),
    Case("none"),
]
APART = [
    Case("a", (("x-a", GOOD),)),
    Case("a empty", (("x-a", ""),)),
    Case("a twice, one bad", (("x-a", GOOD), ("x-a", FORGED))),
    Case("a joined", (("x-a", f"{GOOD},{GOOD}"),)),
    Case("a at b's", (("x-b", f"Token {GOOD}"),)),
    Case("b", (("x-b", f"Token {from_b()}"),)),
    Case("b without prefix", (("x-b", from_b()),)),
    Case("cookie", (("cookie", f"x=1; sid={from_b()}"),)),
    Case("quoted cookie", (("cookie", f'sid="{from_b()}"'),)),
    Case("bad cookie", (("cookie", f"sid={FORGED}"),)),
    Case("usual place", (("authorization", f"Bearer {FORGED}"),), f"access_token={FORGED}"),
    Case("both bad", (("x-a", EXPIRED), ("x-b", f"Token {from_b(exp=5)}"))),
    Case("a good, b bad", (("x-a", GOOD), ("x-b", f"Token {FORGED}")), ours=401, theirs=200),
    Case("a bad, b good", (("x-a", FORGED), ("x-b", f"Token {from_b()}")), ours=401, theirs=200),
    Case("cookie twice", (("cookie", f"sid={from_b()}; sid={FORGED}"),), ours=401, theirs=200),
]
RULE_B = rule("https://b", jwks=jwks(jwk(KEY_B, "kb")))
SETS: dict[str, tuple[Sequence[dict[str, Any]], Sequence[Case]]] = {
    "plain": ([rule()], PLAIN),
    "outputs": ([FULL], OUTPUTS),
    "shared": ([rule(), RULE_B], SHARED),
    "apart": (
        [
            rule(fromHeaders=[{"name": "X-A"}]),
            RULE_B | {"fromHeaders": [{"name": "x-b", "prefix": "Token "}], "fromCookies": ["sid"]},
        ],
        APART,
    ),
}


def bootstrap(filter_: dict[str, Any], port: int) -> dict[str, Any]:
    """One listener with the filter, and everything to one backend."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "b"}}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="a",
        route_config={"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            filter_,
            {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")},
        ],
    )
    here = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    there = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": there}}]}]
    return {
        "admin": {"address": here},
        "static_resources": {
            "listeners": [
                {
                    "name": "l",
                    "address": here,
                    "filter_chains": [
                        {"filters": [{"name": "envoy.http_connection_manager", "typed_config": manager}]}
                    ],
                }
            ],
            "clusters": [
                {"name": "b", "load_assignment": {"cluster_name": "b", "endpoints": endpoints}}
            ],
        },
    }  # fmt: skip


Answer = tuple[int, str, Any]
"""Status; body or target; challenge or headers that the backend got."""


def ask_envoy(port: int, case: Case) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(case.method, f"/x?{case.query}" if case.query else "/x", skip_accept_encoding=True)
    for name, value in case.headers:
        connection.putheader(name, value.encode())
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    if answer.status != 200:
        challenge = answer.getheader("www-authenticate") or ""
        return (
            answer.status,
            body,
            challenge.replace(f"?{case.query}"[: 256 - len("/x")], "") if case.query else challenge,
        )
    told = json.loads(body)
    return 200, told["target"], sorted(tuple(pair) for pair in told["headers"] if pair[0] not in ADDED)


def ask_us(check: Any, port: int, case: Case) -> Answer:
    headers = [(name.lower().encode(), value.encode()) for name, value in case.headers]
    host = f"127.0.0.1:{port}".encode()
    asked = Request(case.method, "http", host, "127.0.0.1", b"/x", case.query.encode(), headers)
    reply = check(asked, Random(1))
    if reply is not None:
        return reply.status, reply.body.decode(), dict(reply.headers)[b"www-authenticate"].decode()
    target = asked.path + (b"?" + asked.query if asked.query else b"")
    pairs = ((name.decode(), value.decode("latin-1")) for name, value in asked.headers)
    return 200, target.decode(), sorted(pairs)


@pytest.mark.parametrize("name", SETS)
def test_tokens_are_treated_as_envoy_treats_them(name: str, tmp_path: Path) -> None:
    """Status, body, challenge, and all the backend gets; or the difference that is meant."""
    rules, cases = SETS[name]
    document = policy(*rules)
    check = compile_jwt([document], SecurityState())
    filter_ = envoy_jwt(document.spec.jwt_rules)
    assert check is not None
    assert filter_ is not None

    async def main() -> list[tuple[Case, Answer, Answer]]:
        async with RecordingBackend(echo()) as backend:
            setup = bootstrap(filter_, backend.port)
            with await asyncio.to_thread(envoy.Envoy, setup, tmp_path) as real:
                return [
                    (
                        case,
                        ask_us(check, real.port, case),
                        await asyncio.to_thread(ask_envoy, real.port, case),
                    )
                    for case in cases
                ]

    seen = asyncio.run(main())
    meant = {case.name: (ours[0], theirs[0]) for case, ours, theirs in seen if case.ours is not None}

    assert meant == {case.name: (case.ours, case.theirs) for case in cases if case.ours is not None}
    different = {
        case.name: (ours, theirs) for case, ours, theirs in seen if case.ours is None and ours != theirs
    }
    assert different == {}
