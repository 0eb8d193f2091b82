"""From how a request ended to why, whose fault that is, and what to do.

Lifetime: config (the tables) and plain functions.

There is a sentence for every response flag and every details string. A rule is found by the flag that stands
for the failure and by the details; the first that fits is taken, so particular ones stand before general
ones. Texts are formats over `Happened`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gateway.explain.names import short
from gateway.explain.rules import ANSWERS, RULES
from gateway.explain.rules_client import LEFT_TUNNEL
from gateway.http.flags import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.explain.rule import Rule

BESIDE = (Flag.UPSTREAM_OVERFLOW, Flag.RETRIES_EXHAUSTED, Flag.DELAY_INJECTED)
"""Flags that say something about the request, but not why it failed when there is another one; the first of
these says most. Beside another flag, an overflow is that of a retry which was refused."""

DENIED = {
    "method": "its method is not idempotent and the backend may have acted on it; name the event in `retryOn`"
    " if it may be repeated all the same",
    "body": "its body was too large to be kept, or only a part of it was there",
    "overloaded": "the backend said that it has too much to do",
    "attempts": "every retry that the route allows was used",
    "budget": "as many retries as the cluster may have were already under way",
    "allowance": "the cluster's retries had already used up their share of its requests"
    " (`retryBudget.overTime` of GatewaySettings)",
}
"""Why a failed attempt is not repeated, as the retry policy calls it."""

HELD = {
    "budget": (
        "as many retries as {} may have were already under way",
        "`maxRetries` or `retryBudget` of its DestinationRule",
    ),
    "allowance": (
        "the retries of {} had already used up their share of its requests",
        "`retryBudget.overTime` of GatewaySettings",
    ),
}
"""How many retries there were, and what limits them, when that is what denied one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """How a request ended, as far as the sentences need it. All text is fit to be shown."""

    status: int = 0
    flags: tuple[str, ...] = ()
    details: str = ""
    transport_failure: str = ""
    method: str = "GET"
    host: str = ""
    path: str = "/"
    client: str = ""
    identity: str = ""
    """Principal of the client's certificate; empty: it showed none."""
    route: str = ""
    source: str = ""
    """Where the route is written."""
    cluster: str = ""
    endpoint: str = ""
    tries: int = 0
    tried: tuple[str, ...] = ()
    """Endpoints, in the order of the attempts."""
    stale: bool = False
    """One of these met a connection that had been closed while it was idle."""
    duration: float = 0.0
    """Seconds."""
    timeout: float | None = None
    """The route's."""
    per_try_timeout: float | None = None
    retries_denied: str = ""
    """Why a failed attempt was not repeated; empty: it was, or there was nothing to repeat."""
    delayed: float = 0.0
    """Seconds of an injected delay."""
    sent: int = 0
    """Response body bytes that reached the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why, who, and what to do: a sentence each."""

    cause: str
    culprit: str
    remedy: str
    notes: tuple[str, ...] = ()
    """What else is worth knowing."""


def diagnose(happened: Happened) -> Diagnosis:
    """The cause of how a request ended. There always is one, if only a general one."""
    rule, groups = _found(RULES, happened)
    words = {**_words(happened), **groups}
    return Diagnosis(
        cause=rule.cause.format_map(words),
        culprit=rule.culprit.format_map(words),
        remedy=rule.remedy.format_map(words),
        notes=tuple(_notes(happened)),
    )


def rule_of(flags: Sequence[str], details: str) -> Rule:
    """The rule that explains an end with these flags and details."""
    return _found(RULES, Happened(flags=tuple(flags), details=details))[0]


def principal_flag(flags: Sequence[str]) -> str:
    """The flag that says why; empty when there is none."""
    if Flag.CLIENT_GONE in flags:
        return Flag.CLIENT_GONE
    own = [flag for flag in flags if flag not in BESIDE]
    return own[0] if own else min(flags, key=BESIDE.index, default="")


def _found(rules: dict[str, tuple[Rule, ...]], happened: Happened) -> tuple[Rule, dict[str, str]]:
    flag = principal_flag(happened.flags)
    for rule in rules.get(flag, rules[""]):
        match = re.match(rule.details, happened.details)
        if match is not None:
            given = {key: value.replace("_", " ") for key, value in match.groupdict().items() if value}
            return _by_status(rule, happened), given
    raise AssertionError("the last rule of a flag takes every details string")


def _by_status(rule: Rule, happened: Happened) -> Rule:
    """A backend's own answer is good or bad by its status, and so is it that a client leaves."""
    if happened.status == HTTPStatus.SWITCHING_PROTOCOLS and Flag.CLIENT_GONE in happened.flags:
        return LEFT_TUNNEL
    if not (rule.details == "via_upstream" and not happened.flags):
        return rule
    return next(answer for least, answer in ANSWERS if happened.status >= least)


def _words(happened: Happened) -> dict[str, Any]:
    words: dict[str, Any] = {field.name: getattr(happened, field.name) for field in fields(happened)}
    words["where"] = f"{happened.source or 'the route'}"
    words["place"] = happened.endpoint or "the backend"
    words["service"] = short(happened.cluster) or "the cluster"
    words["limit"] = "no limit" if happened.timeout is None else f"{happened.timeout:g} s"
    words["per_try"] = "its limit" if happened.per_try_timeout is None else f"{happened.per_try_timeout:g} s"
    words["took"] = f"{happened.duration:.3g} s"
    words["asked"] = f"{happened.method} {happened.host}{happened.path}"
    words["why"] = happened.transport_failure.replace("_", " ") or "the connection could not be made"
    words["caller"] = happened.identity or "none"
    words["rule"] = "a policy"
    words["reason"] = happened.details
    held, words["lever"] = HELD.get(happened.retries_denied, HELD["budget"])
    words["held"] = held.format(words["service"])
    return words


def _notes(happened: Happened) -> list[str]:
    notes = []
    if happened.tries > 1:
        places = ", ".join(dict.fromkeys(happened.tried))
        notes.append(f"It was tried {happened.tries} times ({places}); this is about the last one.")
    if happened.stale:
        notes.append(
            "One try met a connection that the backend closed while it was idle. Such a request is sent again"
            " at once; the retry budget does not limit that."
        )
    if happened.retries_denied:
        notes.append(
            f"It was not tried again: {DENIED.get(happened.retries_denied, happened.retries_denied)}."
        )
    exhausted = Flag.RETRIES_EXHAUSTED in happened.flags and happened.retries_denied != "attempts"
    if exhausted and principal_flag(happened.flags) != Flag.RETRIES_EXHAUSTED:
        notes.append("Every retry that the route allows was used.")
    if happened.delayed or (Flag.DELAY_INJECTED in happened.flags and len(happened.flags) > 1):
        wait = f"{happened.delayed:.3g} s" if happened.delayed else "A part"
        notes.append(f"{wait} of the time was a delay that the route injects on purpose.")
    return notes
