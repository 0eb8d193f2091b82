# ruff: noqa: INP001, E501 - a script, not a package; a table of examples reads best in lines
"""Prints docs/why.md: what `gateway why` says about every way a request can end."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from gateway.cli._page import Page, console
from gateway.cli.why import _show
from gateway.config import load
from gateway.exchange.exchange import Attempt, Exchange
from gateway.explain.load import compiled
from gateway.explain.story import story
from gateway.http.flags import Flag
from gateway.http.peer import Peer
from gateway.http.place import Place
from gateway.http.request import Request
from gateway.telemetry.recorder import Entry
from gateway.upstream import UpstreamError

CONFIG = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 10.0.0.1, labels: {version: v1}}
  - {address: 10.0.0.2, labels: {version: v1}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: tester
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - name: lost
    match: [{uri: {prefix: /lost}}]
    route: [{destination: {host: reviews, subset: v9}}]
  - name: front
    match: [{uri: {prefix: /reviews}}]
    route: [{destination: {host: reviews, subset: v1}}]
    timeout: 3s
    retries: {attempts: 1, perTryTimeout: 1s, retryOn: "5xx,connect-failure"}
"""
NOW = 1_790_000_000.0
RESET = "upstream_reset_before_response_started"
REFUSED = "remote_connection_failure|delayed_connect_error:_Connection_refused"


class Example(NamedTuple):
    """One way to end. Tries: endpoint number, seconds it took, status, flag."""

    title: str
    status: int
    flags: tuple[Flag, ...] = ()
    details: str = "via_upstream"
    tries: tuple[tuple[int, float, int, Flag | None], ...] = ()
    took: float = 0.012
    path: str = "/reviews/7"
    transport: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    identity: str = ""
    denied: str = ""
    delayed: float = 0.0
    method: str = "GET"
    routed: bool = True


F = Flag
EXAMPLES = (
    Example("A backend answers 5xx itself", 503, tries=((1, 0.01, 503, None),)),
    Example("NR: no route", 404, (F.NO_ROUTE,), "route_not_found", path="/shop", took=0.0004, headers=((b"end-user", b"bob"),)),
    Example("NC: no cluster", 503, (F.NO_CLUSTER,), "cluster_not_found", path="/lost", took=0.0004),
    Example("UH: no healthy upstream", 503, (F.NO_HEALTHY_UPSTREAM,), "no_healthy_upstream", took=0.0005),
    Example("UF: connection refused", 503, (F.RETRIES_EXHAUSTED, F.UPSTREAM_CONNECT_FAILURE), f"{RESET}{{{REFUSED}}}",
            ((1, 0.002, 0, F.UPSTREAM_CONNECT_FAILURE), (2, 0.002, 0, F.UPSTREAM_CONNECT_FAILURE)), 0.021,
            transport="delayed_connect_error:_Connection_refused", denied="attempts"),
    Example("UF: black hole", 503, (F.UPSTREAM_CONNECT_FAILURE,), f"{RESET}{{connection_timeout}}", ((1, 1.0, 0, F.UPSTREAM_CONNECT_FAILURE),), 1.001),
    Example("UF: expired certificate", 503, (F.UPSTREAM_CONNECT_FAILURE,), f"{RESET}{{remote_connection_failure|TLS_error:_certificate_has_expired}}",
            ((1, 0.004, 0, F.UPSTREAM_CONNECT_FAILURE),), 0.005, transport="TLS_error:_certificate_has_expired"),
    Example("UC: closed before the answer", 503, (F.UPSTREAM_TERMINATION,), f"{RESET}{{connection_termination}}", ((1, 0.2, 0, F.UPSTREAM_TERMINATION),), 0.201, denied="method", method="POST"),
    Example("UPE: no valid HTTP", 502, (F.UPSTREAM_PROTOCOL_ERROR,), f"{RESET}{{protocol_error}}", ((2, 0.01, 0, F.UPSTREAM_PROTOCOL_ERROR),)),
    Example("UPE: cut off, nothing sent", 502, (F.UPSTREAM_PROTOCOL_ERROR,), f"{RESET}{{protocol_error|body_cut_off}}", ((2, 0.4, 0, F.UPSTREAM_PROTOCOL_ERROR),), 0.41),
    Example("UPE: cut off in the middle", 200, (F.UPSTREAM_PROTOCOL_ERROR,), "upstream_reset_after_response_started{protocol_error}", ((2, 0.4, 200, F.UPSTREAM_PROTOCOL_ERROR),), 0.41),
    Example("UR: reset by the backend", 503, (F.UPSTREAM_REMOTE_RESET,), f"{RESET}{{remote_reset}}", ((1, 0.03, 0, F.UPSTREAM_REMOTE_RESET),), 0.031),
    Example("LR: given up by the gateway", 503, (F.LOCAL_RESET,), f"{RESET}{{local_reset}}", ((1, 0.03, 0, F.LOCAL_RESET),), 0.031),
    Example("UO: circuit breaker open", 503, (F.UPSTREAM_OVERFLOW,), f"{RESET}{{overflow}}", ((1, 0.0, 0, F.UPSTREAM_OVERFLOW),), 0.0007),
    Example("UO: retry refused", 503, (F.UPSTREAM_OVERFLOW,), tries=((1, 0.01, 503, None),), denied="allowance"),
    Example("UT: the route's timeout", 504, (F.UPSTREAM_TIMEOUT,), "response_timeout", ((1, 1.0, 0, F.UPSTREAM_TIMEOUT), (2, 1.98, 0, F.UPSTREAM_TIMEOUT)), 3.001),
    Example("UT: a single try's timeout", 504, (F.RETRIES_EXHAUSTED, F.UPSTREAM_TIMEOUT), "upstream_per_try_timeout", ((1, 1.0, 0, F.UPSTREAM_TIMEOUT), (2, 1.0, 0, F.UPSTREAM_TIMEOUT)), 2.02, denied="attempts"),
    Example("URX: every retry used", 503, (F.RETRIES_EXHAUSTED,), tries=((1, 0.02, 503, None), (2, 0.01, 503, None)), took=0.05, denied="attempts"),
    Example("DI: delay injected", 200, (F.DELAY_INJECTED,), tries=((1, 0.01, 200, None),), took=2.011, delayed=2.0),
    Example("FI: fault injected", 500, (F.FAULT_INJECTED,), "fault_filter_abort", took=0.0004),
    Example("RL: rate limit", 429, (F.RATE_LIMITED,), "local_rate_limited", took=0.0003),
    Example("RLSE: rate limits cannot be counted", 500, (F.RATE_LIMIT_STORE,), "rate_limiter_error", took=0.0003),
    Example("UAEX: external authorization", 403, (F.EXT_AUTHZ_DENIED,), "ext_authz_denied", took=0.004),
    Example("A policy denies", 403, (), "rbac_access_denied_matched_policy[ns[default]-policy[no-writes]-rule[0]]", took=0.0003, method="POST", identity="cluster.local/ns/default/sa/sleep"),
    Example("No policy allows", 403, (), "rbac_access_denied_matched_policy[none]", took=0.0003),
    Example("No client certificate", 403, (), "peer_authentication_strict_matched_policy[ns[default]-policy[default]]", took=0.0003),
    Example("A token has expired", 401, (), "jwt_authn_access_denied{Jwt_is_expired}", took=0.0003),
    Example("DC: the client left", 0, (F.CLIENT_GONE,), "downstream_remote_disconnect", ((1, 0.95, 0, None),), 0.951),
    Example("DPE: bad request", 400, (F.DOWNSTREAM_PROTOCOL_ERROR,), "path_normalization_failed", path="/a%00b", took=0.0001, routed=False),
    Example("SI: nothing sent for too long", 504, (F.STREAM_IDLE_TIMEOUT,), "stream_idle_timeout", ((1, 300.0, 0, F.STREAM_IDLE_TIMEOUT),), 300.0),
    Example("DT: lasted too long", 408, (F.DURATION_TIMEOUT,), "max_duration_timeout", ((1, 60.0, 0, F.DURATION_TIMEOUT),), 60.0),
    Example("OM: overloaded", 503, (F.OVERLOAD,), "overload", took=0.0001),
)  # fmt: skip

HEAD = """\
# Why did this request fail?

`gateway why ID` answers from the gateway's memory: the last 1000 requests (of successes, 250 a second), the last 1000
that failed and the last 1000 that were turned away. The id is the `x-request-id` of an answer, or `request_id` in the
access log; `gateway why last` takes the last one that failed or was turned away. Nothing secret is printed: credentials are hidden by their names and by their shape.

```sh
gateway why 7f3c2a10-5a7e-4b8e-9d2f-0c1d2e3f4a5b
gateway why last --json                # one object, for programs
gateway explain GET http://reviews/    # the same for a request that nobody sent yet
```

In the list of tries, `c` is connecting, `-` waiting for the answer, `=` receiving it; a column is a part of the whole
duration. This page is made by `scripts/docs` from the sentences themselves.

| what happened | status | cause | whom to ask |
|---|---|---|---|
"""


def ended(example: Example, number: int) -> Entry:
    """The example as the gateway would remember it."""
    snapshot = SNAPSHOT
    made = Exchange(snapshot, 100.0, Place(("203.0.113.7", 50123), ("127.0.0.1", 8080)))
    headers = [(b"user-agent", b"curl/8.5.0"), *example.headers]
    host = "reviews" if example.routed else ""
    request = Request(
        example.method, "http", b"reviews", host, example.path.encode(), b"", headers, 8080, "203.0.113.7", "203.0.113.7"
    )  # fmt: skip
    made.request, made.request_id = request, f"7f3c2a10-5a7e-4b8e-9d2f-{number:012x}"
    if example.identity:
        request.peer = Peer(verified=True, principal=example.identity)
    made.status, made.flags, made.details = example.status, example.flags, example.details
    made.transport_failure, made.retries_denied = example.transport, example.denied
    made.delayed, made.ended_at = example.delayed, 100.0 + example.took
    made.bytes_sent = 4096
    made.route = snapshot.default.match(request) if example.routed else None
    if made.route is not None and not example.details.startswith(
        ("rbac", "peer", "jwt", "ext", "local_rate")
    ):
        made.destination = made.route.choose(0)
    attempts = list(_attempts(example, made))
    if attempts:
        *earlier, last = attempts
        made.earlier, made.endpoint = tuple(earlier), last.endpoint
        made.attempt_at, made.connected_at = last.started_at, last.connected_at or 0.0
        made.upstream_status = last.status
        made.waiting_since = last.headers_at or 0.0
        made.service_time = 0.0
        if last.flag is not None:
            reason = last.details.partition("{")[2].partition("|")[0].rstrip("}").replace("_", " ")
            made.failure = UpstreamError(
                last.flag, reason or "response timeout", transport_failure=example.transport
            )
    return Entry(made, made.ended_at)


def _attempts(example: Example, exchange: Exchange) -> Any:
    if exchange.destination is None or exchange.destination.cluster is None:
        return
    endpoints = exchange.destination.cluster.endpoints
    at = exchange.started_at + example.delayed + 0.0005
    for place, took, status, flag in example.tries:
        unconnected = flag in {F.UPSTREAM_CONNECT_FAILURE, F.UPSTREAM_OVERFLOW}
        connected = None if unconnected else at + min(0.001, took / 10)
        headers = at + took * 0.9 if status else None
        details = example.details if flag is not None else ""
        yield Attempt(
            endpoints[place - 1], at, connected, headers, at + took, status, flag, details, False, ""
        )
        at += took + 0.01


def shown(example: Example, number: int) -> tuple[dict[str, Any], str]:
    """The story, and the page that `gateway why` prints."""
    told = story(ended(example, number), NOW, SNAPSHOT)
    out = console()
    with out.capture() as capture:
        _show(told, Page(out))
    return told, capture.get()


def page() -> str:
    """The whole of docs/why.md."""
    stories = [(example, *shown(example, number)) for number, example in enumerate(EXAMPLES, 1)]
    rows = [
        f"| [{example.title}](#{anchor(example.title)}) | {example.status or '-'} | {cell(told['cause'])} | {cell(told['culprit'])} |"
        for example, told, _ in stories
    ]
    parts = [f"## {example.title}\n\n```text\n{text.rstrip()}\n```\n" for example, _, text in stories]
    return HEAD + "\n".join(rows) + "\n\n" + "\n".join(parts)


def anchor(title: str) -> str:
    """GitHub's."""
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return kept.strip().replace(" ", "-")


def cell(text: str) -> str:
    """Fit for a table."""
    return text.replace("|", "\\|")


SNAPSHOT = compiled(load([], texts={"routes.yaml": CONFIG}))

if __name__ == "__main__":
    sys.stdout.write(page())
