"""Why policies say what they say about a request, for `gateway explain`.

Lifetime: request; nothing here runs while requests are served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.security.mutual_tls import Mode
    from gateway.security.policies import CompiledPolicy
    from gateway.security.rules import Alternatives, CompiledRule
    from gateway.security.terms import Term


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one document says about one request."""

    kind: str
    """`AuthorizationPolicy` or `PeerAuthentication`."""
    policy: str
    """`namespace/name`."""
    action: str
    """ALLOW, DENY, AUDIT or CUSTOM; STRICT or PERMISSIVE of a PeerAuthentication."""
    place: str
    """`gateway`, when the document is for this gateway itself, `destination`, or `both`."""
    matched: bool
    """Whether one of its rules takes the request; of STRICT, whether the certificate it wants is there."""
    rule: int | None = None
    """Index of the first rule that takes the request."""
    dry_run: bool = False
    """Only counted and logged."""
    reasons: tuple[str, ...] = ()
    """One sentence a rule: why it takes the request, or what of it does not hold."""


def folded(
    gateway: Sequence[Verdict], destinations: Sequence[Sequence[Verdict]]
) -> tuple[tuple[Verdict, ...], tuple[tuple[Verdict, ...], ...]]:
    """The same without what is said twice: a verdict for the gateway that every destination repeats is one
    for `both`, and theirs no more.
    """
    repeated = {
        verdict
        for verdict in gateway
        if destinations and all(replace(verdict, place="destination") in said for said in destinations)
    }
    left = {replace(verdict, place="destination") for verdict in repeated}
    return (
        tuple(replace(verdict, place="both") if verdict in repeated else verdict for verdict in gateway),
        tuple(tuple(verdict for verdict in said if verdict not in left) for said in destinations),
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What all documents together say."""

    verdicts: tuple[Verdict, ...]
    reply: Reply | None
    """What the client gets; None: the request passes. A CUSTOM provider is not asked."""
    asks: tuple[str, ...] = ()
    """Providers that would be asked, by name."""

    @property
    def allowed(self) -> bool:
        """Whether the request passes, providers apart."""
        return self.reply is None


def of_policy(policy: CompiledPolicy, request: Request, place: str) -> Verdict:
    """The verdict of an AuthorizationPolicy."""
    taken: int | None = None
    reasons = []
    for number, rule in enumerate(policy.rules):
        takes, reason = _of_rule(rule, request)
        reasons.append(f"rule[{number}]: {reason}")
        if takes:
            taken = number
            break
    if not policy.rules:
        reasons.append("it has no rules, so it takes no request")
    return Verdict(
        "AuthorizationPolicy",
        policy.key,
        policy.action,
        place,
        taken is not None,
        taken,
        policy.dry_run,
        tuple(reasons),
    )


def of_mode(mode: Mode, request: Request, place: str) -> Iterable[Verdict]:
    """The verdict of the PeerAuthentication that counts, if there is one."""
    if not mode.policy:
        return
    peer = request.peer
    verified = peer is not None and peer.verified
    action = "STRICT" if mode.strict else "PERMISSIVE"
    if verified:
        reason = "the client showed a verified certificate"
    else:
        reason = "the connection has no TLS" if peer is None else "the client showed no certificate"
    yield Verdict(
        "PeerAuthentication", mode.policy, action, place, verified or not mode.strict, reasons=(reason,)
    )


def _of_rule(rule: CompiledRule | None, request: Request) -> tuple[bool, str]:
    if rule is None:
        return False, "it cannot be translated, so it takes nothing"
    lacking = [
        *_lacking("from", rule.sources, request),
        *_lacking("to", rule.operations, request),
        *(_told(term, request) for term in rule.conditions if not _holds(term, request)),
    ]
    # Both ways of evaluating a rule are the same terms; the compiled one decides.
    takes = _matches(rule, request)
    if takes:
        return True, "takes the request"
    return False, "; ".join(lacking) or "cannot be evaluated"


def _matches(rule: CompiledRule, request: Request) -> bool:
    try:
        return rule.matches(request)
    except Exception:  # noqa: BLE001 - what cannot be evaluated is told as such
        return False


def _holds(term: Term, request: Request) -> bool:
    try:
        return bool(term.check(request))
    except Exception:  # noqa: BLE001 - as above
        return False


def _lacking(name: str, part: Alternatives, request: Request) -> Iterable[str]:
    """What does not hold of an alternative each, when none holds."""
    failed = [next((term for term in terms if not _holds(term, request)), None) for terms in part]
    if not part or None in failed:
        return
    for index, term in enumerate(failed):
        assert term is not None
        yield f"{name}[{index}] {_told(term, request)}"


def _told(term: Term, request: Request) -> str:
    return f"{term.written}: the request has {_had(term, request)}"


def _had(term: Term, request: Request) -> str:
    try:
        readings: Sequence[object] | None = term.read(request)
    except Exception:  # noqa: BLE001 - as above
        readings = None
    if readings is None:
        return "one that cannot be read"
    texts = [item.decode("latin-1") if isinstance(item, bytes) else str(item) for item in readings]
    return ", ".join(texts) if texts else "none"
