"""External authorization and rate limits against a real `gateway run`: services that fail in every way, answers that
claim too much, and clients that want another bucket.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.attacks import get
from support.jwks import IssuerServer, moved, page
from support.raw import PATIENCE
from support.whole import CLOSE, House, entry, houses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.whole import Told

SETTINGS = """\
  trustedProxies: [10.0.0.0/8]
  extensionProviders:
  - name: closed
    envoyExtAuthzHttp: {service: authz.test, port: 80, timeout: 0.3s, pathPrefix: /check, headersToUpstreamOnAllow: [x-user, "x-team-*"],
      includeRequestHeadersInCheck: [x-shown], headersToDownstreamOnDeny: [x-why]}
  - name: open
    envoyExtAuthzHttp: {service: authz.test, port: 80, timeout: 0.3s, pathPrefix: /check, failOpen: true, headersToUpstreamOnAllow: [x-user]}
  rateLimits:
  - {name: address, requests: 2, per: 1h, match: {paths: [/limited], hosts: [gw.test]}}
  - {name: header, requests: 2, per: 1h, key: ["header:x-key"], match: {paths: [/keyed]}}
  - {name: path, requests: 2, per: 1h, key: [path], match: {paths: [/each]}}
"""
CONFIG = (
    entry("backend")
    + entry("authz")
    + """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec: {hosts: [gw.test], http: [{route: [{destination: {host: backend.test}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec: {action: CUSTOM, provider: {name: closed}, rules: [{to: [{operation: {paths: ["/closed/*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open}
spec: {action: CUSTOM, provider: {name: open}, rules: [{to: [{operation: {paths: ["/open/*"]}}]}]}
"""
)
SERVICE: list[IssuerServer] = []


def ok(*headers: str, status: str = "200 OK") -> bytes:
    return page("", *headers, status=status)


@asynccontextmanager
async def authz(house: House) -> AsyncIterator[dict[str, Any]]:
    """A service that does what the path says."""
    del house

    async def mute() -> bytes:
        await asyncio.sleep(PATIENCE)
        return b""

    answers: dict[str, Any] = {
        "ok": ok(),
        "user": ok("X-User: alice", "X-Team-Shop: 1", "X-Other: 1"),
        "framing": ok(
            "X-User: alice", "X-Team-Transfer-Encoding: chunked", "Host: evil.test", "Connection: x-user"
        ),
        "two": ok("X-User: alice", "X-User: bob"),
        "no": ok("X-Why: no", "X-Inside: secret", "Set-Cookie: a=b", status="403 Forbidden"),
        "login": moved("https://login.test/"),
        "teapot": ok(status="418 Teapot"),
        "created": ok(status="201 Created"),
        "error": ok(status="500 Internal Server Error"),
        "busy": ok(status="503 Service Unavailable"),
        "mute": mute,
        "endless": page(b"a" * (5 << 20), status="403 Forbidden"),
        "garbage": b"\x00\x01\x02\r\n\r\n",
        "empty": b"",
        "half": b"HTTP/1.1 200 OK\r\nContent-Le",
        "short": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nx",
        "split": b"HTTP/1.1 403 No\r\nX-Why: a\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
        "folded": b"HTTP/1.1 200 OK\r\nX-User: a\r\n X-Evil: 1\r\nContent-Length: 0\r\n\r\n",
        "nul": b"HTTP/1.1 200 OK\r\nX-User: a\x00b\r\nContent-Length: 0\r\n\r\n",
        "headers": ok(*["X-User: a"] * 5000),
        "switch": ok(status="101 Switching Protocols"),
    }
    made = {f"/check/{how}/{name}": answer for name, answer in answers.items() for how in ("closed", "open")}
    async with IssuerServer(made) as server:
        SERVICE[:] = [server]
        yield {"authz": server.port}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("authz")
    yield from houses(folder, CONFIG, helpers=[authz], settings=SETTINGS)


FAILURES = [
    "error",
    "busy",
    "mute",
    "endless",
    "garbage",
    "empty",
    "half",
    "short",
    "headers",
    "switch",
    "nul",
]


@pytest.mark.parametrize("how", FAILURES)
def test_a_service_that_fails_refuses(how: str, house: House) -> None:
    """403, nothing forwarded, and nothing of its answer shown; where `failOpen` says so the request passes, but
    what the client says that only the service may say does not.
    """
    claim = b"X-User: root\r\n" + CLOSE
    told = house.ask(get(claim, target=b"/closed/" + how.encode()))
    assert (told.statuses, told.seen, told.responses[0].body) == ((403,), [], b"")
    told = house.ask(get(claim, target=b"/open/" + how.encode()))
    assert told.statuses == (200,)
    assert told.only.values(b"x-user") == []


@pytest.mark.parametrize(("how", "status"), [("no", 403), ("login", 302), ("teapot", 418), ("created", 201)])
def test_a_refusal_is_the_service_s(how: str, status: int, house: House) -> None:
    """Only 200 allows. Of its headers the client gets those that are listed, and where to go; a redirect is
    not followed.
    """
    asked = len(SERVICE[0].asked)
    told = house.ask(get(CLOSE, target=b"/closed/" + how.encode()))
    assert (told.statuses, told.seen) == ((status,), [])
    names = {name for name, _ in told.responses[0].headers}
    assert {"x-inside", "set-cookie"}.isdisjoint(names)
    assert len(SERVICE[0].asked) == asked + 1
    assert told.responses[0].header("location") == ("https://login.test/" if how == "login" else None)


def test_an_answer_gives_what_it_may_give(house: House) -> None:
    """Headers that are listed, in the place of the client's; never framing, Host or Connection."""
    forged = b"X-User: root\r\nX-Team-Shop: 9\r\nX-Team-Root: 1\r\nX-Other: 9\r\n" + CLOSE
    only = house.ask(get(forged, target=b"/closed/user")).only
    assert (only.values(b"x-user"), only.values(b"x-team-shop")) == ([b"alice"], [b"1"])
    assert (only.values(b"x-other"), only.values(b"x-team-root")) == ([b"9"], [])
    only = house.ask(get(CLOSE, target=b"/closed/framing")).only
    assert (only.values(b"x-user"), only.values(b"host")) == ([b"alice"], [b"gw.test"])
    assert house.ask(get(forged, target=b"/closed/two")).only.values(b"x-user") == [b"alice", b"bob"]


def test_what_the_service_does_not_say_nobody_says(house: House) -> None:
    """A header that only the service may give, from a client, on a request that is allowed without it."""
    forged = b"X-User: root\r\nx-USER: root\r\nX-Team-Shop: 9\r\n" + CLOSE
    only = house.ask(get(forged, target=b"/closed/ok")).only
    assert only.values(b"x-user") == only.values(b"x-team-shop") == []


@pytest.mark.parametrize("how", ["split", "folded"])
def test_headers_of_the_service_are_not_split(how: str, house: House) -> None:
    """An answer with line ends in its values is no answer, or one value."""
    told = house.ask(get(CLOSE, target=b"/closed/" + how.encode()))
    for request in told.seen:
        assert request.values(b"x-evil") == []
    for response in told.responses:
        assert response.header("set-cookie") is None


def test_the_service_sees_the_path_that_is_forwarded(house: House) -> None:
    """Canonical, below its prefix; nothing in it leaves that."""
    for target in (b"/closed/x/../ok", b"/closed/%6fk", b"//closed//ok", b"/a/%2e%2e/closed/ok"):
        told = house.ask(get(CLOSE, target=target))
        assert (told.statuses, told.only.target) == ((200,), b"/closed/ok")
        assert SERVICE[0].asked[-1] == "/check/closed/ok"
    for target in (b"/closed/..%2f..%2fok", b"/closed/..;/ok"):
        assert house.ask(get(CLOSE, target=target)).statuses == (400,)
    assert b"\r\nX-Hidden" not in SERVICE[0].heads[-1]


# -- rate limits


def statuses(house: House, *requests: bytes) -> list[int]:
    found: list[Told] = [house.ask(request) for request in requests]
    assert all(len(told.seen) == told.statuses.count(200) for told in found)
    return [told.statuses[0] for told in found]


def test_an_address_is_not_claimed(house: House) -> None:
    """Forwarding headers in any number and spelling, other ports and dots in Host, other paths: one bucket."""
    claims = [
        b"X-Forwarded-For: 1.1.1.1\r\n",
        b"X-Forwarded-For: 10.0.0.1, 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n",
        b"X-Forwarded-For: ::ffff:7f00:1\r\n",
        b"X-Real-IP: 3.3.3.3\r\nTrue-Client-IP: 3.3.3.3\r\nCF-Connecting-IP: 3.3.3.3\r\n",
        b"Forwarded: for=4.4.4.4\r\nX-Envoy-External-Address: 4.4.4.4\r\n",
        b"X-Client-IP: 5.5.5.5\r\nX-Cluster-Client-IP: 5.5.5.5\r\n",
    ]
    requests = [get(claim + CLOSE, target=b"/limited") for claim in claims]
    requests += [
        get(CLOSE, target=b"/limited", host=b"Host: GW.test:8080\r\n"),
        get(CLOSE, target=b"/limited", host=b"Host: gw.test.\r\n"),
        get(CLOSE, target=b"/limited?x=1"),
        get(CLOSE, target=b"/./%6Cimited"),
        get(CLOSE, target=b"/limited/below"),
        get(CLOSE, target=b"/limited").replace(b"GET", b"POST", 1),
        get(CLOSE, target=b"http://gw.test/limited"),
    ]
    assert statuses(house, *requests) == [200, 200] + [429] * 11


def test_a_key_is_the_value_and_nothing_else(house: House) -> None:
    """Name in another case, blanks, a second line, no line at all, 8 KiB: what is another key is, what is not is not."""
    one = [b"X-Key: a\r\n", b"x-kEY:a  \r\n", b"X-Key:\t a\r\n", b"X-KEY: a\r\n"]
    assert statuses(house, *(get(key + CLOSE, target=b"/keyed") for key in one)) == [200, 200, 429, 429]
    none = [b"", b"X-Other: a\r\n", b"X-Kex: b\r\n"]
    assert statuses(house, *(get(key + CLOSE, target=b"/keyed") for key in none)) == [200, 200, 429]
    large = b"X-Key: " + b"k" * 8000
    assert statuses(house, *(get(large + b"\r\n" + CLOSE, target=b"/keyed") for _ in range(3))) == [
        200,
        200,
        429,
    ]
    assert statuses(house, get(large + b"k\r\n" + CLOSE, target=b"/keyed")) == [200]


def test_a_path_as_key_is_canonical(house: House) -> None:
    """Spellings of one path share a bucket; a query is no part of it."""
    spellings = [b"/each", b"/%65ach", b"//each", b"/x/../each?y=1", b"/each?z"]
    assert statuses(house, *(get(CLOSE, target=target) for target in spellings)) == [200, 200, 429, 429, 429]


def test_what_one_request_was_given_the_next_one_has_not(house: House) -> None:
    """The same header section on one connection, again and again: what the service gave for one path is gone
    with that request, and so is what was taken away; every request has an id of its own.
    """
    section = b"X-User: root\r\nX-Shown: 1\r\nX-Team-Shop: 9\r\n"
    targets = (
        b"/closed/user",
        b"/plain",
        b"/closed/ok",
        b"/plain",
        b"/closed/user",
        b"/open/error",
        b"/plain",
    )
    told = house.ask(
        b"".join(get(section, target=target) for target in targets) + get(CLOSE, target=b"/plain")
    )
    assert told.statuses == (200,) * 8
    assert [(item.values(b"x-user"), item.values(b"x-team-shop")) for item in told.seen] == [
        ([b"alice"], [b"1"]),
        ([b"root"], [b"9"]),
        ([], []),
        ([b"root"], [b"9"]),
        ([b"alice"], [b"1"]),
        ([], [b"9"]),
        ([b"root"], [b"9"]),
        ([], []),
    ]
    ids = [request.values(b"x-request-id")[0] for request in told.seen]
    assert len(set(ids)) == 8
    assert all(len(request.values(b"x-forwarded-for")) == 1 for request in told.seen)
