"""What is not as in Envoy yet, and should be; and the page that tells it all.

`cd tests && python -m differential.gaps > ../docs/differences.md` writes the page; a test holds it equal.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from differential.difference import Difference
from differential.differences import TABLE
from differential.play import Ask
from differential.settle import (
    drop_answered,
    only_envoy_forwards,
    preflight_without_operations,
)
from differential.which import (
    sends,
    target_has,
)

OPEN: tuple[Difference, ...] = (
    Difference(
        when="a preflight that is answered here, on a route with `headers.response`",
        gateway="gets the route's header operations",
        envoy="does not: it never comes to the router",
        why="to do",
        example=Ask.of(
            "OPTIONS",
            "/preflight",
            headers=[("origin", "https://o.test"), ("access-control-request-method", "PUT")],
        ),
        concerns=sends("access-control-request-method"),
        settle=preflight_without_operations,
    ),
    Difference(
        when="several VirtualServices without `creationTimestamp` for one host",
        gateway="come in the order of the files",
        envoy="(as exported, and as Istio sorts) come by name",
        why="to decide",
        example=Ask.of(target="/", host="order.test"),
        concerns=lambda ask: ask.header("host") == ["order.test"],
        settle=lambda _, __, theirs: (theirs, theirs),
    ),
    Difference(
        when="`withoutHeaders` with the regex `.*`, where the header is missing",
        gateway="holds",
        envoy="does not: a missing header is an empty one",
        why="to do",
        example=Ask.of(target="/without"),
        concerns=target_has("/without"),
        settle=lambda _, __, theirs: (theirs, theirs),
    ),
    Difference(
        when="`queryParams`, where the request escapes the name or the value (`?%71=%31` for q=1)",
        gateway="compares what the escapes stand for",
        envoy="compares them as they are written",
        why="to decide",
        example=Ask.of(target="/named?q=%31"),
        concerns=target_has(r"[?].*%"),
        settle=lambda _, ours, __: (ours, ours),
    ),
    Difference(
        when="`x-envoy-original-host`",
        gateway="is not added",
        envoy="tells the authority before a rewrite",
        why="to do",
        example=Ask.of(target="/authority"),
        settle=only_envoy_forwards("x-envoy-original-host"),
    ),
    Difference(
        when="`%REQ(x)%` in response headers, where the route changes header x of the request",
        gateway="is what the client sent",
        envoy="is what the backend got",
        why="to do",
        example=Ask.of(target="/changed"),
        settle=drop_answered("x-told"),
    ),
    Difference(
        when="`%RESPONSE_FLAGS%` in headers of answers the gateway makes itself",
        gateway="is `-`",
        envoy="is the flag",
        why="to do",
        example=Ask.of(target="/flags?answer=gone"),
        settle=drop_answered("x-flags"),
    ),
    Difference(
        when="header operations of the only destination whose weight is not 0, among several",
        gateway="are merged into the route's",
        envoy="are a level of their own: the route's win",
        why="to do",
        example=Ask.of(target="/weights"),
        settle=drop_answered("x-level"),
    ),
    Difference(
        when='a rewrite with the match `prefix: ""`',
        gateway="replaces the first slash",
        envoy="replaces nothing, puts it in front",
        why="to do",
        example=Ask.of(target="/no-prefix", host="prefix.test"),
        settle=lambda _, ours, theirs: (replace(ours, arrivals=theirs.arrivals), theirs),
        concerns=lambda ask: ask.header("host") == ["prefix.test"],
    ),
    Difference(
        when="own answers to gRPC requests",
        gateway="are plain HTTP",
        envoy="are `200` with `grpc-status`",
        why="to do",
        example=Ask.of("POST", host="nobody.test", headers=[("content-type", "application/grpc")]),
        concerns=lambda ask: any(
            value.startswith("application/grpc") for value in ask.header("content-type")
        ),
        settle=lambda _, ours, __: (ours, ours),
    ),
    Difference(
        when="a direct response with status 304",
        gateway="has `content-length: 0`",
        envoy="has none",
        why="to do",
        example=Ask.of(target="/not-modified"),
        settle=lambda _, ours, theirs: (
            drop_answered("content-length")(_, ours, theirs)
            if ours.status == 304 and not ours.arrivals
            else (ours, theirs)
        ),
    ),
)
"""What is not the same yet, and should be."""

KNOWN = (*TABLE, *OPEN)
"""Everything that may differ."""

_PAGE = """\
# Differences from Envoy

Everything else is the same: `tests/differential/` starts real Envoy on what `gateway export envoy` prints and the
gateway on the original, sends the same bytes to both, and compares status, headers and body of the answer, the backend
that was chosen and every byte it received. Only dates, random ids, measured times and the order of headers with
different names are left out. The page is written from the table the tests use
(`tests/differential/`); each row has an example that is tried.

| when | the gateway | Envoy | why |
|---|---|---|---|
"""


def document() -> str:
    """docs/differences.md."""
    rows = [f"| {row.when} | {row.gateway} | {row.envoy} | {row.why} |\n" for row in TABLE]
    page = _PAGE + "".join(rows)
    if OPEN:
        page += "\n## Not the same yet\n\n| when | the gateway | Envoy |\n|---|---|---|\n"
        page += "".join(f"| {row.when} | {row.gateway} | {row.envoy} |\n" for row in OPEN)
    return page


if __name__ == "__main__":
    sys.stdout.write(document())
