"""What policies and tokens make of a request that nobody sent.

Lifetime: request. The checks are the data path's own; nothing is sent, so a provider is not asked and keys
that would have to be fetched are not there: then a token is taken at its word, and that is told.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from gateway.explain.answer import Answer, answer_of
from gateway.http.secrets import HIDDEN, clean, is_secret
from gateway.security import explain as judge
from gateway.security.in_order import checks_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.routing import Destination, Snapshot
    from gateway.routing.listener import Listener
    from gateway.security import Target, Verdict

    Check = Callable[[Request, Random], Reply | None]

UNFETCHED = "jwt_authn_access_denied{Jwks_remote_fetch"
"""Details of a refusal for want of keys."""
_NAMED = re.compile(r"(?:headers|claims)\[([^\]]+)\]")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was said before a request came to its route."""

    answer: Answer | None
    """The refusal; None: it may go on."""
    verdicts: tuple[Verdict, ...]
    """Of every document that is for the gateway."""
    notes: tuple[str, ...]


def at_listener(snapshot: Snapshot, listener: Listener, request: Request) -> Judgement:
    """Token, certificate and policies for every request; sets the request's claims."""
    notes: list[str] = []
    answer = passed(checks_behind(listener.gate, listener.checks), request, "policy", notes)
    told = judge(snapshot.guard, request)
    notes += [f"provider {name} would be asked; that it says yes is assumed" for name in told.asks]
    return Judgement(answer, tuple(_shown(told.verdicts, request)), tuple(notes))


def at_gateway(snapshot: Snapshot, request: Request) -> tuple[Verdict, ...]:
    """What every document for the gateway says about a request whose token has been read."""
    return tuple(_shown(judge(snapshot.guard, request).verdicts, request))


def at_destination(
    snapshot: Snapshot, destination: Destination, request: Request, notes: list[str]
) -> tuple[Answer | None, tuple[Verdict, ...]]:
    """What is said about a request that goes to `destination`, beyond what the listener said."""
    answer = passed(checks_behind(destination.gate, destination.checks), request, "policy", notes)
    return answer, verdicts(snapshot, destination.target, request)


def verdicts(snapshot: Snapshot, target: Target | None, request: Request) -> tuple[Verdict, ...]:
    """Of the documents that are for a destination alone."""
    if target is None:
        return ()
    told = judge(snapshot.guard, request, target).verdicts
    return tuple(_shown((item for item in told if item.place == "destination"), request))


def passed(checks: Iterable[Check], request: Request, by: str, notes: list[str]) -> Answer | None:
    """The first refusal of some checks, in their order; None when there is none."""
    dice = Random(0)  # noqa: S311 - dice, not secrets
    for check in checks:
        reply = check(request, dice)
        if reply is None:
            continue
        if not reply.details.startswith(UNFETCHED) or not _believe(request):
            return answer_of(reply, by)
        notes.append(
            "the token's signature was not checked, for the issuer's keys would have to be fetched; it is"
            f" taken at its word: {request.request_principal}"
        )
    return None


def _believe(request: Request) -> bool:
    """Takes the claims of the token without verifying them; whether it has any."""
    value = request.header(b"authorization") or b""
    parts = value.partition(b" ")[2].strip().split(b".")
    if len(parts) != 3:
        return False
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except ValueError:
        return False
    if not isinstance(claims, dict):
        return False
    request.claims = claims
    request.request_principal = f"{claims.get('iss', '')}/{claims.get('sub', '')}"
    return True


def _shown(told: Iterable[Verdict], request: Request) -> Iterable[Verdict]:
    """Verdicts without credentials, wanted or found."""
    secrets = [
        value.decode("latin-1")
        for name, value in request.headers
        if value and is_secret(name.decode("latin-1"))
    ]
    for verdict in told:
        yield replace(verdict, reasons=tuple(_reason(text, secrets) for text in verdict.reasons))


def _reason(text: str, secrets: list[str]) -> str:
    clauses = []
    for clause in text.split("; "):
        named = _NAMED.search(clause)
        if named is not None and is_secret(named[1]):
            clauses.append(f"{clause[: named.end()]} {HIDDEN}")
            continue
        shown = clause
        for secret in secrets:
            shown = shown.replace(secret, HIDDEN)
        clauses.append(clean(shown))
    return "; ".join(clauses)
