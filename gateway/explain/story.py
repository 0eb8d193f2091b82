"""What happened to a request, as data: the decision, every try with its times, the cause and the remedy.

Lifetime: request (pure functions over exchanges that are over). Credentials are hidden here, where somebody
looks, and nowhere before; what a story says may be pasted into a ticket.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from gateway.explain.causes import Happened, diagnose
from gateway.explain.judging import at_gateway, verdicts
from gateway.explain.plain import choice_json
from gateway.explain.trace import trace_of
from gateway.http.flags import Flag
from gateway.http.secrets import clean, clean_headers, clean_query
from gateway.routing.explain import choose
from gateway.security import folded

if TYPE_CHECKING:
    from gateway.exchange.exchange import Attempt, Exchange
    from gateway.routing import Snapshot
    from gateway.telemetry.recorder import Entry

LONGEST_TARGET = 300
"""Characters of a path with its query in a summary."""


def summary(entry: Entry, at: float) -> dict[str, Any]:
    """One line of a list; `at`: when it ended, in seconds since the epoch."""
    exchange, ended_at = entry
    request, route, destination = exchange.request, exchange.route, exchange.destination
    duration = ended_at - exchange.started_at
    target = _target(exchange)
    return {
        "id": exchange.request_id,
        "at": _moment(at - duration),
        "method": request.method,
        "authority": request.authority.decode("latin-1"),
        "path": target if len(target) <= LONGEST_TARGET else f"{target[:LONGEST_TARGET]}...",
        "status": exchange.status,
        "flags": [str(flag) for flag in exchange.flags],
        "details": exchange.details,
        "route": "" if route is None else route.name or str(route.source),
        "source": "" if route is None else str(route.source),
        "cluster": "" if destination is None else destination.cluster_name,
        "endpoint": "" if exchange.endpoint is None else exchange.endpoint.address,
        "tries": len(exchange.attempts),
        "client": exchange.downstream_remote_address,
        "duration_ms": _ms(duration),
    }


def story(entry: Entry, at: float, snapshot: Snapshot) -> dict[str, Any]:
    """All there is to tell. `snapshot` is the one that serves now: the decision is explained by it."""
    exchange, ended_at = entry
    told = diagnose(_happened(exchange, ended_at))
    request = exchange.request
    return {
        **summary(entry, at),
        "cause": told.cause,
        "culprit": told.culprit,
        "remedy": told.remedy,
        "notes": list(told.notes),
        "protocol": exchange.protocol,
        "scheme": request.scheme,
        "port": request.port,
        "peer": request.peer_ip,
        "identity": "" if request.peer is None else request.peer.principal,
        "request_principal": request.request_principal,
        "request_headers": clean_headers(request.headers),
        "bytes_received": exchange.bytes_received,
        "bytes_sent": exchange.bytes_sent,
        "transport_failure": clean(exchange.transport_failure),
        "generation": exchange.snapshot.generation,
        "trace": trace_of(request.header_map),
        "attempts": _waterfall(exchange, ended_at),
        **_decision(exchange, snapshot),
    }


class Rejected(Protocol):
    """A request that never became one: not valid HTTP, or too large (`gateway.server.refusal`)."""

    at: float
    request_id: str
    reason: str
    status: int
    client: str
    head: bytes
    """First bytes, without credentials."""


def rejected_story(rejected: Rejected) -> dict[str, Any]:
    """What there is to tell of it, in the words of `story`."""
    line = rejected.head.split(b"\r\n", 1)[0].decode("latin-1")
    method, _, rest = line.partition(" ")
    told = diagnose(
        Happened(
            status=rejected.status,
            details=rejected.reason,
            client=rejected.client,
            method=method,
            path=clean(rest.partition(" ")[0]),
        )
    )
    return {
        "id": rejected.request_id,
        "at": _moment(rejected.at),
        "method": method,
        "authority": "",
        "path": clean(rest.partition(" ")[0]),
        "protocol": rest.rpartition(" ")[2],
        "status": rejected.status,
        "flags": [],
        "details": rejected.reason,
        "client": rejected.client,
        "duration_ms": 0.0,
        "cause": told.cause,
        "culprit": told.culprit,
        "remedy": told.remedy,
        "notes": ["It was refused before it became a request; its first bytes are under `head`."],
        "head": clean(rejected.head.decode("latin-1")),
        **dict.fromkeys(
            ("route", "source", "cluster", "endpoint", "transport_failure", "trace", "changed"), ""
        ),
        "attempts": [],
        "policies": [],
        "decision": None,
    }


def _decision(exchange: Exchange, snapshot: Snapshot) -> dict[str, Any]:
    """How the route was chosen; after a reload, whether it still would be."""
    route, request = exchange.route, exchange.request
    if not request.host:
        return {"decision": None, "policies": [], "changed": ""}  # hygiene refused it
    choice = choose(snapshot.listener(request.port), request)
    changed = ""
    looked = route is not None or Flag.NO_ROUTE in exchange.flags
    if looked and choice.route is not route:
        now = "no route" if choice.route is None else str(choice.route.source)
        then = "no route" if route is None else str(route.source)
        if now != then:
            changed = f"the configuration changed since: then {then} took it, now {now} would"
    target = None if exchange.destination is None else exchange.destination.target
    said, (more,) = folded(at_gateway(snapshot, request), [verdicts(snapshot, target, request)])
    return {
        "decision": choice_json(choice),
        "policies": [asdict(verdict) for verdict in (*said, *more)],
        "changed": changed,
    }


def _happened(exchange: Exchange, ended_at: float) -> Happened:
    request, route, destination = exchange.request, exchange.route, exchange.destination
    attempts = exchange.attempts
    policy = route.retries if route is not None else None
    return Happened(
        status=exchange.status,
        flags=tuple(exchange.flags),
        details=exchange.details,
        transport_failure=clean(exchange.transport_failure),
        method=request.method,
        host=request.authority.decode("latin-1"),
        path=clean(request.path.decode("latin-1")),
        client=exchange.downstream_remote_address,
        identity="" if request.peer is None else request.peer.principal,
        route="" if route is None else route.name,
        source="" if route is None else str(route.source),
        cluster="" if destination is None else destination.cluster_name,
        endpoint="" if exchange.endpoint is None else exchange.endpoint.address,
        tries=len(attempts),
        tried=tuple(attempt.endpoint.address for attempt in attempts),
        stale=any(attempt.stale for attempt in attempts),
        duration=ended_at - exchange.started_at,
        timeout=None if route is None else route.timeout,
        per_try_timeout=None if policy is None else policy.per_try_timeout,
        retries_denied=exchange.retries_denied,
        delayed=exchange.delayed,
        sent=exchange.bytes_sent,
    )


def _waterfall(exchange: Exchange, ended_at: float) -> list[dict[str, Any]]:
    """Every try, in milliseconds since the request began; before the first byte of an answer, null."""
    began = exchange.started_at

    def since(at: float | None) -> float | None:
        return None if at is None else _ms(at - began)

    return [
        {
            "endpoint": attempt.endpoint.address,
            "reused": _reused(attempt),
            "stale": attempt.stale,
            "start_ms": since(attempt.started_at),
            "connected_ms": since(attempt.connected_at),
            "headers_ms": since(attempt.headers_at),
            "end_ms": since(attempt.ended_at or ended_at),
            "status": attempt.status,
            "flag": str(attempt.flag or "-"),
            "details": clean(attempt.details),
        }
        for attempt in exchange.attempts
    ]


def _reused(attempt: Attempt) -> bool:
    """Of the last try the connection is gone, but one that was not opened for it was open before."""
    served = attempt.headers_at is not None or attempt.flag in _SENT
    return attempt.reused or (attempt.connected_at is None and served)


_SENT = frozenset({Flag.UPSTREAM_TERMINATION, Flag.UPSTREAM_PROTOCOL_ERROR, Flag.UPSTREAM_REMOTE_RESET})
"""Failures of a request that was sent, so there was a connection."""


def _target(exchange: Exchange) -> str:
    request = exchange.request
    path = clean(request.path.decode("latin-1"))
    return f"{path}?{clean_query(request.query.decode('latin-1'))}" if request.query else path


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
