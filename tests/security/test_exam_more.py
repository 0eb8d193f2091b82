"""Attacks of our own against a real `gateway run`: floods in a packet, copies for mirrors, templates, listeners of stock
uvicorn.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.attacks import CHUNKED, get, post
from support.process import uvicorn
from support.raw import Raw
from support.strict import StrictBackend
from support.waiting import until
from support.whole import CLOSE, House, entry, houses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.process import UvicornServer

CONFIG = (
    entry("backend")
    + entry("shadow")
    + """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test]
  http:
  - match: [{uri: {prefix: /mirrored}}]
    route: [{destination: {host: backend.test}}]
    mirror: {host: shadow.test}
  - match: [{uri: {prefix: /echo}}]
    headers: {response: {set: {x-path: "%%REQ(:PATH)%%", x-host: "%%REQ(:AUTHORITY)%%", x-agent: "%%REQ(USER-AGENT)%%", x-none: "%%REQ(X-NONE)%%"}}}
    route: [{destination: {host: backend.test}}]
  - match: [{uri: {prefix: /away}}]
    redirect: {authority: other.test, uri: /there}
  - match: [{uri: {prefix: /secure}}]
    redirect: {scheme: https}
  - match: [{uri: {prefix: /shared}}]
    corsPolicy: {allowOrigins: [{exact: "https://a.test"}, {regex: "https://[a-z]+[.]b[.]test"}, {prefix: "https://c.test:"}],
      allowMethods: [GET], allowCredentials: true, maxAge: 1m}
    route: [{destination: {host: backend.test}}]
  - match: [{headers: {x-canary: {exact: "yes"}}}]
    directResponse: {status: 299}
  - match: [{queryParams: {debug: {exact: "1"}}}]
    directResponse: {status: 298}
  - route: [{destination: {host: backend.test}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/denied*"]}}]
  - to: [{operation: {methods: [DELETE]}}]
  - to: [{operation: {hosts: ["inside.test"]}}]
"""
)
SHADOW: list[StrictBackend] = []


@asynccontextmanager
async def shadow(house: House) -> AsyncIterator[dict[str, Any]]:
    """Where copies go."""
    del house
    async with StrictBackend() as backend:
        SHADOW[:] = [backend]
        yield {"shadow": backend.port}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from houses(tmp_path_factory.mktemp("more"), CONFIG, helpers=[shadow])


CREDENTIALS = (
    b"Authorization: Bearer secret-1\r\nCookie: s=secret-2\r\nX-Api-Key: secret-3\r\nX-Auth-Token: secret-4\r\n"
    b"X-Jwt: secret-5\r\nX-Session-Id: secret-6\r\nX-CSRF-Token: secret-7\r\nX-Amz-Security-Token: secret-8\r\n"
    b"Referer: https://u:secret-9@a.test/?access_token=secret-10\r\nX-Apikey: secret-11\r\n"
    b"X-Forwarded-Client-Cert: secret-12\r\nProxy-Authorization: Basic secret-13\r\n"
)


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_copy_holds_no_credential(body: bytes, house: House) -> None:
    """D19: neither headers, nor user and token of a URL, nor those of the query; the original has them."""
    SHADOW[0].forget()
    head = b"Content-Length: 5\r\n" if body else b""
    target = b"/mirrored?access_token=secret-14&password=secret-15&x=1"
    told = house.ask(get(CREDENTIALS + head + CLOSE, target=target) + body)
    assert told.statuses == (200,)
    assert b"secret-1\r\n" in told.only.raw_head + b"\r\n"

    house.run(until(lambda: SHADOW[0].requests))
    assert SHADOW[0].violations == []
    (copy,) = SHADOW[0].requests
    assert b"secret" not in copy.raw_head
    assert (copy.values(b"host"), copy.body) == ([b"gw.test-shadow"], body)


def test_templates_repeat_nothing_that_ends_a_line(house: House) -> None:
    """%REQ()% of path, Host and agent in a response: what a client can put there stays one value."""
    agent = b"a\t\xc2\x85b\xe2\x80\xa8c %DOWNSTREAM_REMOTE_ADDRESS% \xff"
    target = b"/echo%0d%0aSet-Cookie:%20a=b?x=%0d%0aX-Evil:1"
    told = house.ask(
        get(b"User-Agent: " + agent + b"\r\n" + CLOSE, target=target, host=b"Host: GW.test:80\r\n")
    )
    (response,) = told.responses
    assert response.header("set-cookie") is None
    assert response.header("x-evil") is None
    assert response.header("x-path") == target.decode()
    assert response.header("x-host") == "GW.test:80"
    assert response.header("x-agent") == agent.decode("latin-1")
    assert not response.header("x-none") or response.header("x-none") == "-"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        (b"/away//evil.test/%2f", "http://other.test/there"),
        (b"/away?x=%0d%0aSet-Cookie:a=b", "http://other.test/there?x=%0d%0aSet-Cookie:a=b"),
        (b"/secure/@evil.test", "https://gw.test/secure/@evil.test"),
        (b"/secure//evil.test", "https://gw.test/secure/evil.test"),
    ],
)
def test_redirects_lead_where_the_configuration_says(target: bytes, location: str, house: House) -> None:
    """D25: nothing of the path becomes a host; `%2f` has no canonical form."""
    told = house.ask(
        get(b"X-Forwarded-Host: evil.test\r\nX-Forwarded-Prefix: //evil.test\r\n" + CLOSE, target=target)
    )
    if b"%2f" in target:
        assert told.statuses == (400,)
        return
    assert told.responses[0].header("location") == location


def test_a_thousand_tiny_header_lines(house: House) -> None:
    """More than a hundred are 431, however short; a hundred are forwarded."""
    tiny = b"".join(b"%x:\r\n" % number for number in range(1000))
    assert house.ask(get(tiny + CLOSE)).statuses == (431,)
    few = b"".join(b"x%x:\r\n" % number for number in range(98))
    told = house.ask(get(few + CLOSE))
    assert told.statuses == (200,)
    assert sum(name.startswith(b"x") and not value for name, value in told.only.headers) == 98


def test_ten_thousand_pipelined_requests(house: House) -> None:
    """In one write, most of them denied: answered in order, the good ones forwarded, and others meanwhile."""
    sent = (get(target=b"/denied") * 99 + get(target=b"/good")) * 100

    async def main() -> tuple[list[int], int]:
        house.backend.forget()
        async with Raw(house.port()) as client, Raw(house.port()) as other:
            writing = asyncio.ensure_future(client.send(sent))
            await other.send(get(target=b"/other"))
            between = (await other.response()).status
            found = [(await client.response()).status for _ in range(10000)]
            await writing
            return found, between

    found, between = house.run(main())
    assert between == 200
    assert found == ([403] * 99 + [200]) * 100
    assert [request.target for request in house.backend.requests].count(b"/good") == 100


def test_head_has_no_body_that_could_be_the_next_answer(house: House) -> None:
    """HEAD of what is refused, missing, denied: the next answer on the connection is the next request's."""

    async def main() -> list[int]:
        async with Raw(house.port()) as client:
            statuses = []
            for target in (b"/denied", b"/ok", b"/away"):
                await client.send(get(target=target).replace(b"GET", b"HEAD", 1))
                statuses.append((await client.response(head=True)).status)
                await client.send(get(target=b"/next"))
                statuses.append((await client.response()).status)
            return statuses

    assert house.run(main()) == [403, 200, 200, 200, 301, 200]


def test_a_refused_upload_is_not_the_next_request(house: House) -> None:
    """A denied POST whose body is a request: large, small, chunked; it is never seen."""
    inner = get(target=b"/__inner") * 50
    for sent in (
        post(b"Content-Length: %d\r\n" % len(inner), inner).replace(b"/ok", b"/denied", 1),
        CHUNKED.replace(b"/ok", b"/denied", 1) + b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n",
        post(b"Content-Length: 900000\r\n", inner).replace(b"/ok", b"/denied", 1),
    ):
        told = house.ask(sent + get(CLOSE, target=b"/after"))
        assert told.statuses[0] == 403
        assert set(told.statuses[1:]) <= {200}
        assert b"__inner" not in house.backend.raw
        assert all(request.target == b"/after" for request in told.seen)


ORIGINS = {
    b"https://a.test": True,
    b"https://x.b.test": True,
    b"https://c.test:8443": True,
    b"https://a.test.evil.test": False,
    b"https://evil.test/https://a.test": False,
    b"https://A.TEST": False,
    b"http://a.test": False,
    b"https://a.test:443": False,
    b"https://x.b.test.evil.test": False,
    b"https://xxb.test": False,
    b"https://evil.test?x.b.test": False,
    b"null": False,
    b"*": False,
    b"": False,
    b"https://a.test, https://evil.test": False,
    b"file://": False,
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_origins_are_compared_whole(origin: bytes, house: House) -> None:
    """Permission is given to the origins that are named, credentials included, and to nobody who is like them."""
    for method, more in ((b"GET", b""), (b"OPTIONS", b"Access-Control-Request-Method: GET\r\n")):
        sent = get(b"Origin: " + origin + b"\r\n" + more + CLOSE, target=b"/shared").replace(
            b"GET", method, 1
        )
        (response,) = house.ask(sent).responses
        allowed = response.header("access-control-allow-origin")
        assert allowed == (origin.decode() if ORIGINS[origin] else None)
        assert (response.header("access-control-allow-credentials") == "true") is ORIGINS[origin]


def test_a_body_that_waits_for_its_continue_is_no_request(house: House) -> None:
    """0.CL: a denied upload that asked for 100 first. What follows the refusal is its body, or the end."""

    async def main() -> tuple[int, bytes]:
        house.backend.forget()
        async with Raw(house.port()) as client:
            await client.send(
                post(b"Expect: 100-continue\r\nContent-Length: 100\r\n").replace(b"/ok", b"/denied", 1)
            )
            response = await client.response()
            assert response.interim == ()
            await client.send(get(target=b"/__inner"))
            return response.status, await client.closed()

    assert house.run(main()) == (403, b"")
    assert house.backend.raw == b""


def test_matches_look_at_what_is_forwarded(house: House) -> None:
    """Header and parameter matches: another case of the value, a second one, a claimed one, escapes."""
    asked = {
        get(b"X-Canary: yes\r\n" + CLOSE): 299,
        get(b"x-canary:yes \t\r\n" + CLOSE): 299,
        get(b"X-Canary: YES\r\n" + CLOSE): 200,
        get(b"X-Canary: yes\r\nX-Canary: no\r\n" + CLOSE): 299,
        get(b"X-Canary: yes, no\r\n" + CLOSE): 200,
        get(b"X-Canary: yes\r\nConnection: X-Canary\r\n" + CLOSE): 400,
        get(CLOSE, target=b"/?debug=1"): 298,
        get(CLOSE, target=b"/?debug=1&debug=2"): 298,
        get(CLOSE, target=b"/?debug=%31"): 200,
        get(CLOSE, target=b"/?Debug=1"): 200,
    }
    for sent, status in asked.items():
        assert house.ask(sent).statuses == (status,), sent


STOCK = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec: {accessLog: {encoding: "OFF"}, timeouts: {requestHead: 500ms, requestBodyIdle: 500ms, downstreamIdle: 700ms}, limits: {connections: 20}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec: {hosts: [gw.test], http: [{directResponse: {status: 200, body: {string: ok}}}]}
"""
ONLY_A_SERVER: dict[str, tuple[bytes, bytes]] = {
    "D01 silence": (b"", b""),
    "D02 a head that stops": (get()[:-2], b"HTTP/1.1 408 "),
    "D03 a body that stops": (post(b"Content-Length: 10\r\n", b"a"), b"HTTP/1.1 "),
    "D06 an idle connection": (get(), b"HTTP/1.1 200 "),
    "H20 HTTP/1.0": (b"GET /ok HTTP/1.0\r\nHost: gw.test\r\n\r\n", b"HTTP/1.1 426 "),
    "H22 a head of 200 KiB": (get(b"X-Big: " + b"a" * 204800 + b"\r\n"), b"HTTP/1.1 431 "),
    "P22 another authority": (get(target=b"http://evil.test/"), b"HTTP/1.1 400 "),
    "S35 a chunk extension of 128 KiB": (CHUNKED + b"5;" + b"a" * 131072, b"HTTP/1.1 "),
    "S52 Expect": (post(b"Expect: 200-ok\r\nContent-Length: 2\r\n", b"hi"), b"HTTP/1.1 417 "),
    "U03 an unknown upgrade": (get(b"Connection: Upgrade\r\nUpgrade: foo\r\n"), b"HTTP/1.1 403 "),
    "U06 CONNECT": (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", b"HTTP/1.1 405 "),
}
"""Rows that only a server can give: bytes, and how what comes back begins, until the server closes."""


async def served(port: int, sent: bytes) -> bytes:
    async with Raw(port) as client:
        await client.send(sent)
        return await client.closed()


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, UvicornServer]]:
    """uvicorn with its flags, started at once."""
    routes = tmp_path_factory.mktemp("stock") / "routes.yaml"
    routes.write_text(STOCK)
    running: dict[str, UvicornServer] = {}

    def start(flags: str) -> None:
        running[flags] = uvicorn(*flags.split(), env={"GATEWAY_CONFIG": str(routes)})

    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(start, ("", "--http h11")))
        yield running
    finally:
        for process in running.values():
            process.stop()


def test_plain_uvicorn_gives_what_only_a_server_can(stock: dict[str, UvicornServer]) -> None:
    """`uvicorn gateway.app:app`, no flag: deadlines, limits and refusals of our own server, and its limit of
    connections.
    """
    process = stock[""]

    async def main() -> list[bytes]:
        return await asyncio.gather(*(served(process.port, sent) for sent, _ in ONLY_A_SERVER.values()))

    for (name, (_, begin)), got in zip(ONLY_A_SERVER.items(), asyncio.run(main()), strict=True):
        assert got.startswith(begin), name
        assert got or not begin, name

    async def crowd() -> bytes:
        idle = [await asyncio.open_connection("127.0.0.1", process.port) for _ in range(20)]
        try:
            return await served(process.port, b"")
        finally:
            for _, writer in idle:
                writer.transport.abort()

    assert asyncio.run(crowd()).startswith(b"HTTP/1.1 503 ")


def test_uvicorn_with_h11_says_what_it_lacks(stock: dict[str, UvicornServer]) -> None:
    """At the start; what smuggles is refused there as well."""
    process = stock["--http h11"]
    process.wait_for_line("--http h11")
    for sent in (
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        get(b"X-A: a\x7fb\r\n"),
        get(b"Host: evil.test\r\n"),
    ):
        assert asyncio.run(served(process.port, sent)).startswith(b"HTTP/1.1 400 ")
