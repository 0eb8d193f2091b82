"""The decision about a request that nobody sent, step by step, without sending anything.

Lifetime: request. Hygiene, match, checks and the head are the data path's own; only their order is written
here again, and a test holds the head that is told against the one that a backend receives.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.exchange import Exchange
from gateway.exchange.head import compose
from gateway.exchange.hygiene import CHUNKED, Hygiene
from gateway.explain.answer import Answer, answer_of
from gateway.explain.causes import Diagnosis, Happened, diagnose
from gateway.explain.forwarding import Plan, Target, plan_of, target_of
from gateway.explain.judging import at_destination, at_listener, passed
from gateway.http.reply import NO_CLUSTER, NO_HEALTHY_UPSTREAM
from gateway.http.secrets import clean_headers, clean_query, clean_target
from gateway.routing.explain import Choice, choose
from gateway.security import folded
from gateway.security.in_order import checks_behind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from gateway.explain.asked import Question
    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.routing import Destination, Route, Snapshot
    from gateway.security import Verdict

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
    token: str
    """`issuer/subject` of the client's token; empty: none."""
    dropped: tuple[str, ...]
    """Names of headers that hygiene took away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that is decided about a request, in the order in which it is decided."""

    generation: int
    listener: str
    method: str
    """As it was asked with; `request` has what became of the rest."""
    request: Canonical | None = None
    """None: hygiene refused it."""
    choice: Choice | None = None
    """None: it did not come to that."""
    plan: Plan | None = None
    """What becomes of a request that is forwarded."""
    targets: tuple[Target, ...] = ()
    """Where it may go, with the chance of each."""
    verdicts: tuple[Verdict, ...] = ()
    """What each policy for the gateway says; those for a destination are its own."""
    notes: tuple[str, ...] = ()
    """What could not be known without sending anything."""
    answer: Answer | None = None
    """The gateway's own answer; None: a backend answers."""

    @property
    def diagnosis(self) -> Diagnosis:
        """Why the gateway answers itself, and what to do."""
        request, answer = self.request, self.answer
        assert answer is not None
        taken = self.choice.route if self.choice is not None else None
        told = diagnose(
            Happened(
                status=answer.status,
                flags=() if answer.flag == "-" else (answer.flag,),
                details=answer.details,
                method=self.method,
                host=request.authority if request is not None else "",
                path=request.path if request is not None else "",
                client=request.client if request is not None else "",
                identity=request.principal if request is not None else "",
                source="" if taken is None else str(taken.source),
                cluster=self.targets[0].cluster if self.targets else "",
            )
        )
        return replace(told, remedy=_but_explain(told.remedy))

    @property
    def refused(self) -> bool:
        """Whether the gateway itself turns the request away."""
        return self.answer is not None and self.answer.refusal


def _but_explain(remedy: str) -> str:
    """`remedy` without the advice to ask for what is just being told."""
    clauses = remedy.split("; ")
    return "; ".join(each for each in clauses if not each.startswith("`gateway explain")) or remedy


def explain(snapshot: Snapshot, question: Question) -> Explanation:
    """The decision. BadQuestion when `question` is no request."""
    scope = question.scope(snapshot)
    listener = snapshot.listener(scope["server"][1])
    told = Explanation(generation=snapshot.generation, listener=listener.name, method=question.method)
    exchange, refused = _admitted(snapshot, scope)
    if refused is not None:
        return replace(told, answer=answer_of(refused, "hygiene"))
    request = exchange.request
    request.peer = question.peer
    judgement = at_listener(snapshot, listener, request)
    choice = choose(listener, request)
    told = replace(
        told,
        request=_canonical(request, scope),
        choice=choice,
        verdicts=judgement.verdicts,
        notes=judgement.notes,
        answer=judgement.answer,
    )
    if told.answer is None and listener.https_redirect is not None:
        redirect = listener.https_redirect(request)
        told = replace(told, answer=None if redirect is None else answer_of(redirect, "https redirect"))
    if told.answer is not None:
        return told
    if choice.route is None:
        return replace(told, answer=answer_of(listener.unrouted(request), "routing"))
    return _routed(told, snapshot, choice.route, exchange)


def _admitted(snapshot: Snapshot, scope: dict[str, Any]) -> tuple[Exchange, Reply | None]:
    downstream = AsgiDownstream(scope, _nothing, _nowhere)
    downstream.switches = True  # as behind our own server
    exchange = Exchange(snapshot, time.monotonic(), downstream.place)
    return exchange, Hygiene(snapshot.config.settings.spec).admit(exchange, downstream)


async def _nothing() -> dict[str, Any]:
    raise AssertionError("nothing is received")


async def _nowhere(_: dict[str, Any]) -> None:
    raise AssertionError("nothing is sent")


def _routed(told: Explanation, snapshot: Snapshot, route: Route, exchange: Exchange) -> Explanation:
    request, notes = exchange.request, list(told.notes)
    if route.answer is not None:
        refused = passed(checks_behind(route.gate, ()), request, "policy", notes)
        return replace(told, answer=refused or answer_of(route.answer(request), "route"), notes=tuple(notes))
    targets = []
    for item in route.destinations:
        refused, verdicts = at_destination(snapshot, item, request, notes)
        target = target_of(item, route, request, _head(exchange, route, item))
        targets.append(replace(target, refused=refused, verdicts=verdicts))
    answer = _ended(targets) or passed(route.checks, request, "route", notes)
    said, more = folded(told.verdicts, [target.verdicts for target in targets])
    return replace(
        told,
        plan=plan_of(route, request),
        verdicts=said,
        targets=tuple(replace(target, verdicts=own) for target, own in zip(targets, more, strict=True)),
        answer=answer,
        notes=tuple(notes),
    )


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
        token=request.request_principal,
        dropped=tuple(
            dict.fromkeys(name.decode("latin-1") for name, _ in scope["headers"] if name not in kept)
        ),
    )


def _ended(targets: Sequence[Target]) -> Answer | None:
    """The answer when no destination takes the request; of several reasons the first one's."""
    ends = [
        target.refused
        or (None if target.known else answer_of(NO_CLUSTER, "destination"))
        or (answer_of(NO_HEALTHY_UPSTREAM, "destination") if target.empty else None)
        for target in targets
    ]
    return ends[0] if ends and None not in ends else None


def _head(exchange: Exchange, route: Route, destination: Destination) -> tuple[str, ...]:
    """The lines of the head sent upstream on the first try, credentials hidden."""
    request, body = exchange.request, exchange.body
    exchange.route, exchange.destination = route, destination
    kept = request.headers
    request.headers = [pair for pair in kept if pair[0] != b"x-request-id"]
    request.headers.append((b"x-request-id", EXAMPLE_ID.encode()))
    target, authority, headers = compose(exchange, route, destination)
    request.headers = kept
    lines = [f"{name}: {value}" for name, value in clean_headers(headers)]
    if body == CHUNKED:
        lines.append("transfer-encoding: chunked")
    elif body >= 0:
        lines.append(f"content-length: {body}")
    shown = clean_target(target.decode("latin-1"))
    return (f"{request.method} {shown} HTTP/1.1", f"host: {authority.decode('latin-1')}", *lines)
