"""AuthorizationPolicies, compiled: their rules with what becomes of a request one of them takes.

Lifetime: config; the counts a rule points to are the process's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.http.reply import Reply
from gateway.security.rules import CompiledRule, compile_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.authorization_policy import AuthorizationPolicy
    from gateway.security.counts import Count, PolicyCounts

BODY = b"RBAC: access denied"
"""What every refused client reads; which policy refused it is told to the log alone."""


def denied(matched: str) -> Reply:
    """The answer of a policy that refuses; `matched` goes to the log (Envoy's response code details)."""
    return Reply(403, BODY, None, f"rbac_access_denied_matched_policy[{matched}]")


NOT_ALLOWED = denied("none")
"""No ALLOW policy matched; also what is said when a policy could not be evaluated."""
NAMED = 3
"""Rules of ALLOW policies that the log names when none of them allowed."""


class Taker(NamedTuple):
    """A rule in its policy: the unit that is ordered, indexed, counted and named in the log."""

    identifier: str
    """`ns[default]-policy[allow-read]-rule[0]`, as Istio names it to Envoy."""
    rule: CompiledRule
    reply: Reply
    """What a client gets when the rule is a DENY rule."""
    tally: Count
    provider: str = ""
    """Who is asked when it is a CUSTOM rule."""


class CompiledPolicy:
    """One document."""

    __slots__ = ("action", "dry_run", "name", "namespace", "provider", "rules", "selects", "takers")

    def __init__(self, policy: AuthorizationPolicy, counts: PolicyCounts) -> None:
        self.namespace, self.name = policy.metadata.namespace, policy.metadata.name
        self.action = policy.spec.action
        # The annotation means nothing on the two others (Istio).
        self.dry_run = policy.dry_run and self.action in {"ALLOW", "DENY"}
        self.selects = policy.spec.selector is not None
        self.provider = policy.spec.provider.name if policy.spec.provider is not None else ""
        lean = self.action != "ALLOW"
        self.rules = tuple(
            compile_rule(number, rule, self.namespace, lean=lean)
            for number, rule in enumerate(policy.spec.rules)
        )
        """None for a rule that takes nothing."""
        self.takers = tuple(
            Taker(identifier, rule, denied(identifier), counts.of(self.key, rule.number), self.provider)
            for rule in self.rules
            if rule is not None and (identifier := self.identifier(rule.number))
        )

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def identifier(self, number: int) -> str:
        """How the log names a rule."""
        return f"ns[{self.namespace}]-policy[{self.name}]-rule[{number}]"

    def __repr__(self) -> str:
        return f"<CompiledPolicy {self.action} {self.key} rules {len(self.rules)}>"


def not_allowed(policies: Sequence[CompiledPolicy]) -> Reply:
    """The answer when none of these ALLOW policies takes a request: the log names their first rules."""
    rules = sorted(taker.identifier for policy in policies for taker in policy.takers)
    names = rules or sorted(f"ns[{policy.namespace}]-policy[{policy.name}]" for policy in policies)
    more = f",+{len(names) - NAMED}" if len(names) > NAMED else ""
    return Reply(403, BODY, None, f"{NOT_ALLOWED.details}_of[{','.join(names[:NAMED])}{more}]")
