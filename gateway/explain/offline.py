"""The decision about a request that nobody sent, step by step, without sending anything.

Lifetime: request. Hygiene, match, checks and header operations are the data path's own objects; only their
order is written here again, and a test holds the head that is told against the one that a backend receives.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from gateway.exchange.exchange import Exchange
from gateway.exchange.facts import ExchangeFacts
from gateway.exchange.hygiene import CHUNKED, NO_BODY, Hygiene
from gateway.explain.answer import Answer, answer_of
from gateway.explain.forwarding import Plan, Target, plan_of, target_of
from gateway.http.reply import NO_CLUSTER, NO_HEALTHY_UPSTREAM, NO_ROUTE, Reply
from gateway.http.secrets import clean_headers, clean_query
from gateway.routing.explain import Choice, choose

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.exchange.hygiene import Admitted
    from gateway.explain.asked import Question
    from gateway.http.request import Request
    from gateway.routing import Destination, Route, Snapshot
    from gateway.routing.listener import Listener

EXAMPLE_ID = "(a new one)"
"""Stands for the request id, which a request that is not sent does not get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """The request as every later step sees it."""

    method: str
    scheme: str
    authority: str
    path: str
    query: str
    written: str
    """The path as it was asked for."""
    port: int
    client: str
    """The trusted client address (`remote.ip`)."""
    peer: str
    """The direct peer's address (`source.ip`)."""
    principal: str
    """Of the client's certificate; empty: none."""
    dropped: tuple[str, ...]
    """Names of headers that hygiene took away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that is decided about a request, in the order in which it is decided."""

    generation: int
    listener: str
    request: Canonical | None = None
    """None: hygiene refused it."""
    choice: Choice | None = None
    """None: it did not come to that."""
    plan: Plan | None = None
    """What becomes of a request that is forwarded."""
    targets: tuple[Target, ...] = ()
    """Where it may go, with the chance of each."""
    answer: Answer | None = None
    """The gateway's own answer; None: a backend answers."""

    @property
    def refused(self) -> bool:
        """Whether the gateway itself turns the request away."""
        return self.answer is not None and self.answer.refusal


def explain(snapshot: Snapshot, question: Question) -> Explanation:
    """The decision. BadQuestion when `question` is no request."""
    scope = question.scope(snapshot)
    listener = snapshot.listener(scope["server"][1])
    told = Explanation(generation=snapshot.generation, listener=listener.name)
    admitted = Hygiene(snapshot.config.settings.spec).admit(scope)
    if isinstance(admitted, Reply):
        return replace(told, answer=answer_of(admitted, "hygiene"))
    request = admitted.request
    request.peer = question.peer
    choice = choose(listener, request)
    told = replace(told, request=_canonical(request, scope), choice=choice, answer=_early(listener, request))
    if told.answer is not None:
        return told
    if choice.route is None:
        return replace(told, answer=answer_of(NO_ROUTE, "routing"))
    return _routed(told, choice.route, admitted)


def _routed(told: Explanation, route: Route, admitted: Admitted) -> Explanation:
    request = admitted.request
    answer = _checked(route.checks, request, "route")
    if answer is None and route.answer is not None:
        answer = answer_of(route.answer(request), "route")
    if answer is not None:
        return replace(told, answer=answer)
    targets = tuple(
        target_of(item, route, request, _head(admitted, route, item)) for item in route.destinations
    )
    return replace(told, plan=plan_of(route, request), targets=targets, answer=_nowhere(targets))


def _canonical(request: Request, scope: dict[str, Any]) -> Canonical:
    kept = {name for name, _ in request.headers} | {b"host"}
    return Canonical(
        method=request.method,
        scheme=request.scheme,
        authority=request.authority.decode("latin-1"),
        path=request.path.decode("latin-1"),
        query=clean_query(request.query.decode("latin-1")),
        written=scope["path"],
        port=request.port,
        client=request.client_ip,
        peer=request.peer_ip,
        principal=request.peer.principal if request.peer is not None else "",
        dropped=tuple(
            dict.fromkeys(name.decode("latin-1") for name, _ in scope["headers"] if name not in kept)
        ),
    )


def _early(listener: Listener, request: Request) -> Answer | None:
    """The answer that needs no route."""
    if listener.https_redirect is None:
        return None
    reply = listener.https_redirect(request)
    return None if reply is None else answer_of(reply, "https redirect")


def _checked(
    checks: tuple[Callable[[Request, Random], Reply | None], ...], request: Request, by: str
) -> Answer | None:
    dice = Random(0)  # noqa: S311 - dice, not secrets
    for check in checks:
        reply = check(request, dice)
        if reply is not None:
            return answer_of(reply, by)
    return None


def _nowhere(targets: tuple[Target, ...]) -> Answer | None:
    """The answer when no destination can take the request."""
    if all(not target.known for target in targets):
        return answer_of(NO_CLUSTER, "destination")
    if all(not target.known or target.empty for target in targets):
        return answer_of(NO_HEALTHY_UPSTREAM, "destination")
    return None


def _head(admitted: Admitted, route: Route, destination: Destination) -> tuple[str, ...]:
    """The lines of the head sent upstream on the first try, credentials hidden (spine, step 7)."""
    request = admitted.request
    exchange = Exchange(request, EXAMPLE_ID, "HTTP/1.1", time.monotonic())
    exchange.route, exchange.destination = route, destination
    headers = [pair for pair in request.headers if pair[0] != b"x-request-id"]
    headers.append((b"x-request-id", EXAMPLE_ID.encode()))
    headers.append((b"x-envoy-attempt-count", b"1"))
    if route.timeout is not None:
        headers.append((b"x-envoy-expected-rq-timeout-ms", b"%d" % (route.timeout * 1000.0)))
    if destination.request_ops is not None:
        headers = destination.request_ops.apply(headers, ExchangeFacts(exchange))
    path = request.path if route.rewrite is None else route.rewrite(request.path)
    query = b"?" + request.query if request.query else b""
    if path != request.path:
        headers.append((b"x-envoy-original-path", request.path + query))
    if admitted.body == CHUNKED:
        headers.append((b"transfer-encoding", b"chunked"))
    elif admitted.body != NO_BODY:
        headers.append((b"content-length", b"%d" % admitted.body))
    authority = request.authority if destination.authority is None else destination.authority
    target = path.decode("latin-1")
    if request.query:
        target += "?" + clean_query(request.query.decode("latin-1"))
    lines = [f"{name}: {value}" for name, value in clean_headers(headers)]
    return (f"{request.method} {target} HTTP/1.1", f"host: {authority.decode('latin-1')}", *lines)
