"""What is not as in Envoy yet, and should be; and the page that tells it all.

`cd tests && python -m differential.gaps > ../docs/differences.md` writes the page; a test holds it equal.
"""

from __future__ import annotations

import sys

from differential.difference import Difference
from differential.differences import TABLE
from differential.play import Ask
from differential.settle import (
    drop_answered,
    only_envoy_forwards,
    preflight_without_operations,
)
from differential.which import sends

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
