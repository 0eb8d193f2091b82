"""Tokens (security.md J) against a real `gateway run`: who is let through, and what the backend is told of them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.attacks import get
from support.forged import GOOD, HEADERS, KEYS, NOW, OCT, PAYLOADS, RSA, token
from support.jwks import IssuerServer, moved, page
from support.process import DidNotStart, gateway
from support.raw import PATIENCE, Raw
from support.tokens import jwk, jwks, private_key
from support.whole import CLOSE, House, entry, houses

from gateway.config import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

CONFIG = (
    entry("backend")
    + """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test]
  http:
  - match: [{uri: {prefix: /told}}]
    route: [{destination: {host: backend.test}}]
    headers: {request: {set: {x-told: "%%REQ(X-USER)%%"}}, response: {set: {x-told: "%%REQ(X-USER)%%"}}}
  - match: [{uri: {prefix: /claimed}, headers: {"@request.auth.claims.role": {exact: admin}}}]
    directResponse: {status: 299}
  - match: [{uri: {prefix: /claimed}}]
    directResponse: {status: 298}
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: https://a.test}], allowMethods: [GET]}
    route: [{destination: {host: backend.test}}]
  - route: [{destination: {host: backend.test}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec:
  jwtRules:
  - {issuer: https://a, audiences: [shop], jwks: '%(keys)s',
     outputClaimToHeaders: [{header: x-user, claim: sub}, {header: x-name, claim: name}]}
  - {issuer: https://remote, jwksUri: "http://127.0.0.1:%(issuer)d/keys"}
  - {issuer: https://moved, jwksUri: "http://127.0.0.1:%(issuer)d/moved"}
  - {issuer: https://file, jwksUri: "http://127.0.0.1:%(issuer)d/file"}
  - {issuer: https://away, jwksUri: "http://127.0.0.1:%(issuer)d/away"}
  - {issuer: https://bomb, jwksUri: "http://127.0.0.1:%(issuer)d/bomb"}
  - {issuer: https://large, jwksUri: "http://127.0.0.1:%(issuer)d/large"}
  - {issuer: https://mute, jwksUri: "http://127.0.0.1:%(issuer)d/mute", timeout: 300ms}
  - {issuer: https://odd, jwksUri: "http://127.0.0.1:%(issuer)d/odd"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: known}
spec:
  action: DENY
  rules:
  - from: [{source: {notRequestPrincipals: ["*"]}}]
    to: [{operation: {notPaths: ["/told*", "/claimed*"]}}]
  - {from: [{source: {requestPrincipals: ["https://a/mallory"]}}]}
"""
)
ISSUER: list[IssuerServer] = []


@asynccontextmanager
async def issuer(house: House) -> AsyncIterator[dict[str, Any]]:
    """Serves keys in good ways and bad."""
    del house

    async def mute() -> bytes:
        await asyncio.sleep(PATIENCE)
        return b""

    bomb = page(b"\x1f\x8b\x08\x00" + bytes(100), "Content-Encoding: gzip")
    answers: dict[str, Any] = {
        "/keys": page(jwks(jwk(RSA, "r1"))),
        "/moved": moved("/keys"),
        "/file": moved("file:///etc/passwd"),
        "/away": moved("http://attacker.test/keys"),
        "/bomb": bomb,
        "/large": page(b" " * (300 << 10) + jwks(jwk(RSA)).encode()),
        "/mute": mute,
        "/odd": page(
            '{"keys": [{"kty": "RSA", "n": 5, "e": []}, 7, {"kty": "RSA", "n": "AA", "e": "AQAB"}]}'
        ),
    }
    async with IssuerServer(answers) as server:
        ISSUER[:] = [server]
        yield {"issuer": server.port, "keys": KEYS}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from houses(tmp_path_factory.mktemp("tokens"), CONFIG, helpers=[issuer], admin="127.0.0.1:0")


def bearer(text: str) -> bytes:
    return b"Authorization: Bearer " + text.encode("latin-1") + b"\r\n"


def said(told: Any) -> str:
    return str(told.responses[0].body.decode())


@pytest.mark.parametrize("what", [*HEADERS, *PAYLOADS])
def test_j01_to_j19_a_bad_token_gets_nowhere(what: str, house: House) -> None:
    """401, also on a path that needs none; nothing reaches the backend, and nothing is fetched for it."""
    asked = len(ISSUER[0].asked)
    text = {**HEADERS, **PAYLOADS}[what]
    for target in (b"/", b"/told"):
        told = house.ask(get(bearer(text) + CLOSE, target=target))
        assert (told.statuses, told.seen) == ((401,), []), said(told)
        assert told.responses[0].header(
            "www-authenticate",
        )
    assert len(ISSUER[0].asked) == asked


def test_j13_the_audience_is_exact(house: House) -> None:
    """403 for another one, for one that begins alike, and for none."""
    for aud in ("shop2", "sho", "SHOP", "", ["other"], [], ...):
        told = house.ask(get(bearer(token(aud=aud)) + CLOSE))
        assert (told.statuses, told.seen) == ((403,), []), aud


@pytest.mark.parametrize("what", GOOD)
def test_a_good_token_does(what: str, house: House) -> None:
    """Or the tests above would hold for a gateway that refuses everybody; it is not passed on."""
    told = house.ask(get(bearer(GOOD[what]) + CLOSE))
    assert told.statuses == (200,)
    assert told.only.values(b"x-user") == [b"alice"]
    assert told.only.values(b"authorization") == []


def test_j07_j24_what_a_token_names_is_not_fetched(house: House) -> None:
    """Addresses of the token point at the issuer's own server, which would notice."""
    asked = len(ISSUER[0].asked)
    own = private_key("RSA", "b")
    for name in ("jku", "x5u"):
        text = token({name: f"{ISSUER[0].url}/evil", "kid": "own"}, own)
        assert house.ask(get(bearer(text) + CLOSE)).statuses == (401,)
    for iss in (f"{ISSUER[0].url}/evil", "file:///etc/passwd"):
        assert house.ask(get(bearer(token(iss=iss)) + CLOSE)).statuses == (401,)
    assert len(ISSUER[0].asked) == asked


def test_j09_a_storm_of_unknown_keys(house: House) -> None:
    """Three hundred tokens with key ids of their own: the issuer is not asked once for each."""
    asked = ISSUER[0].asked.count("/keys")
    sent = b"".join(
        get(bearer(token({"kid": f"unknown-{number}"}, OCT, "HS256", iss="https://remote")))
        for number in range(300)
    )
    told = house.ask(sent + get(CLOSE))
    assert told.statuses == (401,) * 300 + (403,)
    assert told.seen == []
    assert ISSUER[0].asked.count("/keys") <= asked + 1


@pytest.mark.parametrize("who", ["file", "away", "bomb", "large", "mute", "odd"])
def test_j10_keys_from_a_bad_place_verify_nothing(who: str, house: House) -> None:
    """A redirect to a file or to another host in plain text, compressed, endless, silent, malformed: nobody
    waits, others are served, and the metric tells.
    """
    text = token(iss=f"https://{who}", aud=...)
    assert house.ask(get(bearer(text) + CLOSE)).statuses == (401,)
    assert house.ask(get(bearer(token()) + CLOSE)).statuses == (200,)
    if who != "mute":
        failing = f'gateway_jwks_failing{{issuer="https://{who}"}} 1.0'
        assert failing in house.admin("/metrics").body.decode()


def test_j10_j11_keys_of_a_good_place(house: House) -> None:
    """Also where the issuer has moved them on its own host."""
    for who in ("remote", "moved"):
        text = token({"kid": "r1"}, iss=f"https://{who}", aud=...)
        assert house.ask(get(bearer(text) + CLOSE)).statuses == (200,)


PLACES = {
    "in the query, twice": (b"/?access_token=%b&access_token=%b", b"", (200,)),
    "in the query": (b"/?access_token=%b", b"", (200,)),
    "in a cookie": (b"/", b"Cookie: access_token=%b\r\n", (403,)),
    "in another header": (b"/", b"X-Token: %b\r\n", (403,)),
    "in another parameter": (b"/?token=%b", b"", (403,)),
    "another scheme": (b"/", b"Authorization: Basic %b\r\n", (403,)),
    "lower-case scheme": (b"/", b"Authorization: bearer %b\r\n", (403,)),
    "no scheme": (b"/", b"Authorization: %b\r\n", (403,)),
    "blanks behind": (b"/", b"Authorization: Bearer %b  \t\r\n", (200,)),
    "two blanks between": (b"/", b"Authorization: Bearer  %b\r\n", (200,)),
    "a tab between": (b"/", b"Authorization: Bearer\t%b\r\n", (403,)),
    "two headers": (b"/", b"Authorization: Bearer %b\r\nauthorization: Bearer %b\r\n", (400,)),
    "a comma and another": (b"/", b"Authorization: Bearer %b, Bearer %b\r\n", (401,)),
    "in the proxy's header": (b"/", b"Proxy-Authorization: Bearer %b\r\n", (403,)),
    "in a trailer": (b"/", b"Trailer: Authorization\r\n", (403,)),
    "escaped name of the parameter": (b"/?access%%5Ftoken=%b", b"", (200,)),
}


@pytest.mark.parametrize("place", PLACES)
def test_j17_only_where_it_belongs(place: str, house: House) -> None:
    """A genuine token counts at the configured places alone, and does not go on to the backend from there."""
    target, headers, statuses = PLACES[place]
    good = token().encode()
    told = house.ask(
        get(
            headers % ((good,) * headers.count(b"%b")) + CLOSE,
            target=target % ((good,) * target.count(b"%b")),
        )
    )
    assert told.statuses == statuses
    for request in told.seen:
        assert good not in request.raw_head


def test_two_tokens_have_to_agree(house: House) -> None:
    """A good one in the header does not cover a bad one, or another's, in the query."""
    both = {token(sub="bob"): 401, token(exp=NOW - 9999): 401, token(): 200, "junk": 401, "": 401}
    for other, status in both.items():
        told = house.ask(get(bearer(token()) + CLOSE, target=b"/?access_token=" + other.encode()))
        assert told.statuses == (status,), other[:20]


NAMES = {
    "line end": ("a\r\nX-Evil: 1", []),
    "line feed": ("a\nX-Evil: 1", []),
    "blank at the end": ("a ", []),
    "escape": ("a\x1b[2J", []),
    "8 KiB": ("a" * 3000, [b"a" * 3000]),
    "unicode": ("ä\u2028b", ["ä\u2028b".encode()]),
    "comma": ("a,b", [b"a,b"]),
    "list": (["a", "b"], []),
    "object": ({"a": 1}, []),
    "number": (1e308, [b"%f" % 1e308]),
    "operator": ("%REQ(COOKIE)%", [b"%REQ(COOKIE)%"]),
    "empty": ("", []),
}


@pytest.mark.parametrize("what", NAMES)
def test_j18_claims_as_headers_stay_values(what: str, house: House) -> None:
    """One header with just this value, or none; the client's own never."""
    claim, values = NAMES[what]
    told = house.ask(get(bearer(token(name=claim)) + b"X-Name: forged\r\nx-user: root\r\n" + CLOSE))
    assert told.statuses == (200,)
    assert told.only.values(b"x-name") == values
    assert told.only.values(b"x-user") == [b"alice"]
    assert told.only.values(b"x-evil") == []


def test_r23_a_claim_in_a_template(house: House) -> None:
    """A subject with line ends becomes no header of the request, nor of the response."""
    told = house.ask(get(bearer(token(sub="a\r\nX-Evil: 1")) + CLOSE, target=b"/told"))
    assert told.statuses == (200,)
    assert told.only.values(b"x-told") == []
    assert told.responses[0].header("x-evil") is None


def test_routing_by_claims_believes_verified_ones_only(house: House) -> None:
    """Without a token, with a forged header that is named as claims are, with the claim."""
    asked = {
        b"": 298,
        b"@request.auth.claims.role: admin\r\n": 400,
        b"x-role: admin\r\n": 298,
        bearer(token(role="admin")): 299,
        bearer(token(role=["user", "admin"])): 299,
        bearer(token(role="admin2")): 298,
    }
    for headers, status in asked.items():
        assert house.ask(get(headers + CLOSE, target=b"/claimed")).statuses == (status,), headers[:40]


NO_KEYS = [
    '{"keys": [{"kty": "oct", "k": ""}]}',
    '{"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmU"}]}',
    '{"keys": []}',
    "{",
]


def no_keys(keys: str, name: str) -> str:
    """A document with such a set; its `spec` is in the fourth line."""
    return (
        f"apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: {name}}}\n"
        f"spec: {{jwtRules: [{{issuer: https://a, jwks: '{keys}'}}]}}\n"
    )


@pytest.mark.parametrize("keys", NO_KEYS)
def test_j14_each_of_them_alone_is_fatal(keys: str) -> None:
    """At its place."""
    loaded = load([], texts={"routes.yaml": no_keys(keys, "tokens")})
    assert loaded.config is None
    assert [(found.line, found.fatal) for found in loaded.findings] == [(4, True)]


def test_j14_keys_that_verify_nothing_are_no_start(tmp_path: Path) -> None:
    """An empty secret, a short one, none at all, no JSON: exit 3, with all places."""
    routes = tmp_path / "routes.yaml"
    routes.write_text("---\n".join(no_keys(keys, f"tokens{number}") for number, keys in enumerate(NO_KEYS)))
    with pytest.raises(DidNotStart) as caught:
        gateway(routes)
    assert caught.value.code == 3
    for line in (4, 9, 14, 19):
        assert f"routes.yaml:{line}:" in str(caught.value)


def test_j20_j23_principals_are_compared_as_they_are(house: House) -> None:
    """`https://a/mallory` is denied, what is like it is not, and an empty subject is nobody."""
    for sub, status in {"mallory": 403, "mallory2": 200, "Mallory": 200, "": 403, "m.llory": 200}.items():
        assert house.ask(get(bearer(token(sub=sub)) + CLOSE)).statuses == (status,), sub


def test_j25_a_preflight_carries_nobody(house: House) -> None:
    """An OPTIONS with a bad token, with and without what makes it a preflight, with and without CORS."""
    preflight = b"Origin: https://a.test\r\nAccess-Control-Request-Method: GET\r\n"
    bad = bearer(token(exp=1))
    for target in (b"/", b"/cors"):
        for headers in (bad, preflight, preflight + bad):
            sent = get(headers + CLOSE, target=target).replace(b"GET", b"OPTIONS", 1)
            told = house.ask(sent)
            assert told.statuses[0] in {401, 403}
            assert told.seen == []


def test_a_cached_token_ends_with_its_time(house: House) -> None:
    """Verified a moment ago, and remembered; a byte more is another token; its end counts all the same."""
    text = token(exp=int(time.time()) - 59)  # within the minute of leeway, for a second or so
    deadline = time.monotonic() + PATIENCE
    statuses = []
    while time.monotonic() < deadline and (not statuses or statuses[-1] == (200,)):
        statuses.append(house.ask(get(bearer(text) + CLOSE)).statuses)
    assert statuses[0] == (200,)
    assert statuses[-1] == (401,)
    assert house.ask(get(bearer(token() + "A") + CLOSE)).statuses == (401,)


def test_the_token_of_one_connection_is_nobody_s_on_the_next(house: House) -> None:
    """Nor that of the request before."""

    async def main() -> list[int]:
        async with Raw(house.port()) as one, Raw(house.port()) as other:
            statuses = []
            for raw_client, headers in (
                (one, bearer(token())),
                (other, b""),
                (one, b""),
                (one, bearer(token())),
            ):
                await raw_client.send(get(headers))
                statuses.append((await raw_client.response()).status)
            return statuses

    assert house.run(main()) == [200, 403, 403, 200]
