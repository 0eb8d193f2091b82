"""The table of differences: each is there, each is needed, and the page says the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import envoy
from support.backend import dead_port

from differential.backend import ANSWERS
from differential.difference import Difference, compare
from differential.gaps import KNOWN, document
from differential.play import Ask, Outcome, theatre

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

CONFIGURATION = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: differences}
# Envoy limits retries in flight only, so one request at a time has them all.
spec: {admin: "off", accessLog: {encoding: "OFF"}, retryBudget: {overTime: {enabled: false}}%(settings)s}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(a)d}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dead}
spec:
  hosts: [dead.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(dead)d}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: order-z}
spec: {hosts: [order.test], http: [{directResponse: {status: 200, body: {string: first in the file}}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: order-a}
spec: {hosts: [order.test], http: [{directResponse: {status: 200, body: {string: first by name}}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: prefix}
spec:
  hosts: [prefix.test]
  http:
  - match: [{uri: {prefix: ""}}]
    rewrite: {uri: /x}
    route: [{destination: {host: a.test}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
  - match: [{uri: {prefix: /direct}}]
    directResponse: {status: 200, body: {string: hi}}
  - match: [{uri: {prefix: /see-other}}]
    directResponse: {status: 303}
  - match: [{uri: {prefix: /port-80}}]
    redirect: {port: 80}
  - match: [{uri: {prefix: /status}}]
    directResponse: {status: 200}
    headers: {response: {set: {x-status: "%%RESPONSE_CODE%%"}}}
  - match: [{uri: {prefix: /same}}]
    rewrite: {uriRegexRewrite: {match: nowhere, rewrite: x}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /unsafe}}]
    rewrite: {uri: /<new>}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /cut}}]
    rewrite: {uriRegexRewrite: {match: /cut, rewrite: cut}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /authority}}]
    rewrite: {authority: other.test}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /no-server}}]
    headers: {response: {remove: [server]}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /changed}}]
    rewrite: {uri: /other, authority: other.test}
    headers:
      request: {set: {x-a: "changed %%REQ(:PATH)%% %%REQ(:AUTHORITY)%%"}}
      response: {set: {x-told: "%%REQ(x-a)%% %%REQ(:PATH)%% %%REQ(:AUTHORITY)%% %%REQ(x-envoy-original-host)%%"}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /kept/}}]
    rewrite: {uri: /other/, authority: other.test}
    headers: {request: {set: {x-a: changed}}, response: {set: {x-told: "%%REQ(x-a)%% %%REQ(:PATH)%% %%REQ(:AUTHORITY)%%"}}}
    route: [{destination: {host: nobody.test}}]
  - match: [{uri: {prefix: /unknown/}}]
    rewrite: {uri: /other/, authority: other.test}
    headers: {request: {set: {x-a: changed}}, response: {set: {x-told: "%%REQ(x-a)%% %%REQ(:PATH)%% %%REQ(:AUTHORITY)%%"}}}
    route: [{destination: {host: unknown.test}}]
  - match: [{uri: {prefix: /flags}}]
    headers: &told {response: {set: {x-flags: "%%RESPONSE_FLAGS%% %%RESPONSE_CODE_DETAILS%%", x-route: "%%ROUTE_NAME%%"}}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /told/dead}}]
    name: dead
    headers: *told
    route: [{destination: {host: dead.test}}]
  - match: [{uri: {prefix: /told/nobody}, name: nobody}]
    name: told
    headers: *told
    route: [{destination: {host: nobody.test}}]
  - match: [{uri: {prefix: /told/unknown}, name: unknown}]
    headers: *told
    route: [{destination: {host: unknown.test}}]
  - match: [{uri: {prefix: /told/direct}}]
    headers: *told
    directResponse: {status: 200}
  - match: [{uri: {prefix: /told/redirect}}]
    headers: *told
    redirect: {uri: /}
  - match: [{uri: {prefix: /told/abort}}]
    headers: *told
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /authorities}}]
    headers: {request: {set: {host: route.test}}}
    route:
    - {destination: {host: a.test}, weight: 1, headers: {request: {set: {host: destination.test}}}}
    - {destination: {host: a.test}, weight: 0}
  - match: [{uri: {prefix: /destination-authority}}]
    headers: {request: {set: {x-a: "%%REQ(:AUTHORITY)%%"}}}
    route:
    - destination: {host: a.test}
      weight: 1
      headers: {request: {set: {host: destination.test, x-b: "%%REQ(:AUTHORITY)%%"}}}
    - {destination: {host: a.test}, weight: 0}
  - match: [{uri: {prefix: /same-authority}}]
    rewrite: {authority: a.test}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /weights}}]
    headers: {response: {set: {x-level: route}}}
    route:
    - {destination: {host: a.test}, weight: 1, headers: {response: {set: {x-level: destination}}}}
    - {destination: {host: a.test}, weight: 0}
  - match: [{uri: {exact: /not-modified}}]
    directResponse: {status: 304}
  - match: [{uri: {exact: /dead}}]
    route: [{destination: {host: dead.test}}]
  - match: [{uri: {prefix: /named}, queryParams: {q: {exact: "1"}}}]
    directResponse: {status: 200}
  - match: [{uri: {prefix: /without}, withoutHeaders: {x-none: {regex: ".*"}}}]
    directResponse: {status: 200}
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: "https://o.test"}], allowHeaders: ["*"]}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /preflight}}]
    corsPolicy: {allowOrigins: [{exact: "https://o.test"}]}
    headers: {response: {set: {x-operated: "1"}}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /retried}}]
    retries: {attempts: 1, retryOn: 5xx}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /mirrored-dead}}]
    retries: {attempts: 0}
    mirror: {host: a.test}
    route: [{destination: {host: dead.test}}]
  - match: [{uri: {prefix: /mirrored}}]
    mirror: {host: a.test}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /here, redirectCode: 302}
  - route: [{destination: {host: a.test}}]
"""


def play(
    asks: list[Ask],
    folder: Path,
    settings: Mapping[str, str] | None = None,
    copies: Mapping[Ask, int] | None = None,
) -> list[tuple[Ask, Outcome, Outcome]]:
    """What becomes of each request at the gateway and at Envoy."""
    written = "".join(f", {name}: {value}" for name, value in (settings or {}).items())

    async def main() -> list[tuple[Ask, Outcome, Outcome]]:
        async with theatre(
            folder, lambda ports: CONFIGURATION % {**ports, "dead": dead_port(), "settings": written}, ["a"]
        ) as stage:
            return [(ask, *await stage.ask(ask, (copies or {}).get(ask, 0))) for ask in asks]

    return asyncio.run(main())


def test_every_difference_is_real_and_told_by_nothing_else(tmp_path: Path) -> None:
    """An example compares equal with all entries, and not without its own."""
    groups: dict[tuple[tuple[str, str], ...], list[Difference]] = {}
    for difference in KNOWN:
        groups.setdefault(tuple(difference.settings.items()), []).append(difference)

    for settings, group in groups.items():
        copies = {difference.example: difference.copies for difference in group}
        played = play([difference.example for difference in group], tmp_path, dict(settings), copies)
        for difference, (ask, ours, theirs) in zip(group, played, strict=True):
            others = [other for other in KNOWN if other is not difference]
            assert compare(ask, ours, theirs, KNOWN) == [], difference.when
            assert compare(ask, ours, theirs, others) != [], f"no longer needed: {difference.when}"


def test_the_page_is_written_from_the_table() -> None:
    """`cd tests && python -m differential.gaps > ../docs/differences.md`."""
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
        assert compare(ask, ours, theirs, KNOWN) == [], ask.data[:200]


ALIKE = [
    Ask.of(target="/", host="order.test"),
    Ask.of(target="/without"),
    Ask.of(target="/named?q=%31"),
    Ask.of(target="/named?%71=1"),
    Ask.of(target="/named?q=1&q=%31"),
    Ask.of(target="/weights"),
    Ask.of(target="/no-prefix", host="prefix.test"),
    Ask.of("POST", host="nobody.test", headers=[("content-type", "application/grpc")]),
    Ask.of("POST", "/dead", headers=[("content-type", "application/grpc+proto")]),
    Ask.of("POST", "/dead", headers=[("content-type", "application/grpcx")]),
    Ask.of("POST", "/status", headers=[("content-type", "application/grpc")]),
    Ask.of(
        "OPTIONS",
        "/preflight",
        headers=[("origin", "https://o.test"), ("access-control-request-method", "PUT")],
    ),
    Ask.of(target="/authority"),
    Ask.of(target="/authorities"),
    Ask.of(target="/destination-authority"),
    Ask.of(target="/same-authority"),
    Ask.of(target="/changed?q=1", headers=[("x-a", "sent")]),
    Ask.of(target="/changed?answer=gone", headers=[("x-a", "sent")]),
    Ask.of(target="/kept/x", headers=[("x-a", "sent")]),
    Ask.of(target="/unknown/x", headers=[("x-a", "sent")]),
    Ask.of(target="/flags"),
    Ask.of(target="/flags?answer=gone"),
    Ask.of(target="/told/dead"),
    Ask.of(target="/told/nobody"),
    Ask.of(target="/told/unknown"),
    Ask.of(target="/told/direct"),
    Ask.of(target="/told/redirect"),
    Ask.of(target="/told/abort"),
    Ask.of(target="/not-modified"),
    Ask.of("HEAD", "/not-modified"),
]


def test_these_are_treated_alike(tmp_path: Path) -> None:
    """What is easily taken for something else."""
    differing = {ask.data: compare(ask, ours, theirs, KNOWN) for ask, ours, theirs in play(ALIKE, tmp_path)}

    assert {data: lines for data, lines in differing.items() if lines} == {}


def test_odd_answers_are_treated_alike(tmp_path: Path) -> None:
    """Framing, statuses without body, interim answers, hop-by-hop headers, and backends that break off."""
    asks = [
        Ask.of(method, f"/?answer={name.decode()}") for method in ("GET", "HEAD", "POST") for name in ANSWERS
    ]
    for ask, ours, theirs in play(asks, tmp_path):
        assert compare(ask, ours, theirs, KNOWN) == [], ask.data[:200]
