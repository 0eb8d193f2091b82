"""The table of differences: each is there, each is needed, and the page says the same."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support import envoy

from differential.backend import ANSWERS
from differential.differences import TABLE, compare, document
from differential.play import Ask, Outcome, theatre

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

CONFIGURATION = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: differences}
spec: {admin: "off", accessLog: {encoding: "OFF"}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
  - match: [{uri: {prefix: /direct}}]
    directResponse: {status: 200, body: {string: hi}}
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /here, redirectCode: 302}
  - route: [{destination: {host: a.test}}]
"""


def play(asks: list[Ask], folder: Path) -> list[tuple[Ask, Outcome, Outcome]]:
    """What becomes of each request at the gateway and at Envoy."""

    async def main() -> list[tuple[Ask, Outcome, Outcome]]:
        async with theatre(folder, lambda ports: CONFIGURATION % ports["a"], ["a"]) as stage:
            return [(ask, *await stage.ask(ask)) for ask in asks]

    return asyncio.run(main())


def test_every_difference_is_real_and_told_by_nothing_else(tmp_path: Path) -> None:
    """An example compares equal with the whole table, and not without its own entry."""
    played = play([difference.example for difference in TABLE], tmp_path)

    for difference, (ask, ours, theirs) in zip(TABLE, played, strict=True):
        others = [other for other in TABLE if other is not difference]
        assert compare(ask, ours, theirs) == [], difference.when
        assert compare(ask, ours, theirs, others) != [], f"no longer needed: {difference.when}"


def test_the_page_is_written_from_the_table() -> None:
    """`cd tests && python -m differential.differences > ../docs/differences.md`."""
    assert PAGE.read_text() == document()


ODD = [
    Ask(data)
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
        b"GET /\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"FOO / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nx-t: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +2\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
        b"DELETE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: \xe9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: \ta\tb\t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX_A: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\nx-a: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: b=1\r\ncookie: c=2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: foo\r\nfoo: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX!#$%&'*+-.^`|~A: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX(A: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: " + b"a" * 50000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: " + b"a" * 70000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(99)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(100)) + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        b"HEAD /direct HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: nobody.test\r\n\r\n",
        b"GET /moved?x=1 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
    )
]


def test_odd_requests_are_treated_alike(tmp_path: Path) -> None:
    """Framing, limits, header syntax, and what of a request reaches the backend."""
    for ask, ours, theirs in play(ODD, tmp_path):
        assert compare(ask, ours, theirs) == [], ask.data[:200]


def test_odd_answers_are_treated_alike(tmp_path: Path) -> None:
    """Framing, statuses without body, interim answers, hop-by-hop headers, and backends that break off."""
    asks = [
        Ask.of(method, f"/?answer={name.decode()}") for method in ("GET", "HEAD", "POST") for name in ANSWERS
    ]
    for ask, ours, theirs in play(asks, tmp_path):
        assert compare(ask, ours, theirs) == [], ask.data[:200]
