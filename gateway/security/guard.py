"""The policies of a generation, put where they belong: on every request, and on every destination.

Lifetime: config.

Theory. This process stands for Istio's gateway and for the sidecars of the backends behind it, so there are
two places where a request is judged: the gateway's, by the documents that are for the gateway (its namespace
or the root namespace; no selector, or one that matches its labels), and the destination's, by the documents
that are for the destination. At each: CUSTOM, tokens, AUDIT, DENY, ALLOW, and every document only once.

A document for the whole namespace is for the gateway and for its destinations. If a destination has ALLOW
policies (or token rules) beyond the gateway's, all of them are judged together, there, as at a sidecar:
otherwise the `allow-nothing` that everybody starts with would refuse what a policy with a selector allows.
Requests that go to no destination are then judged by the gateway's own (`own`). A destination that the
gateway's ALLOW policies are not for, being in another namespace, is judged by both.

PeerAuthentication is judged where a request is answered, not before: a redirect to https must come in plain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.security.counts import PolicyCounts
from gateway.security.enforcement import Allow, Audit, Deny, Shadow
from gateway.security.enforcement import note as write
from gateway.security.external import Gate as Ask
from gateway.security.external import Provider
from gateway.security.in_order import InOrder
from gateway.security.index import Joined, compile_find
from gateway.security.mutual_tls import GatewayMode, Mode, PeerModes, Strict, refusal
from gateway.security.policies import CompiledPolicy, not_allowed
from gateway.security.rate_limit import NO_LIMITS, Limits
from gateway.security.scope import Document, Scope, Target, Workload, distinct, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.config import Config
    from gateway.config.security import RequestAuthentication
    from gateway.http.request import Request
    from gateway.security.in_order import Check, Gate
    from gateway.security.index import Find

    Tokens = Callable[[Sequence[RequestAuthentication]], Check | None]
    """Makes the check of some RequestAuthentications."""


class Checks(NamedTuple):
    """What is run for a request at one place: first the gate, which waits, then the checks, in order."""

    checks: tuple[Check, ...] = ()
    gate: Gate | None = None
    policies: tuple[str, ...] = ()
    """What they enforce, for people: `DENY default/no-writes`, `STRICT default/default`."""


NOTHING = Checks()


def with_limits(checks: Checks, limits: Limits) -> Checks:
    """What is run at a place, and its rate limits behind it."""
    if limits.gate is not None:
        return checks._replace(checks=(), gate=InOrder(checks.gate, checks.checks, limits.gate))
    return checks if limits.check is None else checks._replace(checks=(*checks.checks, limits.check))


class Guard:
    """Everything `security.istio.io` of one generation."""

    __slots__ = (
        "_cache",
        "_counts",
        "_finds",
        "_mode",
        "_note",
        "_policies",
        "_providers",
        "_token_rules",
        "_tokens",
        "deferred",
        "everywhere",
        "gateway",
        "modes",
        "own",
        "redirecting",
        "target",
    )

    def __init__(  # noqa: PLR0913 - what the process lends a generation
        self,
        config: Config,
        destinations: Iterable[Target] = (),
        *,
        providers: Mapping[str, Provider] | None = None,
        tokens: Tokens | None = None,
        counts: PolicyCounts | None = None,
        last: Limits = NO_LIMITS,
        note: Callable[[str, Request], None] = write,
    ) -> None:
        """`destinations`: all that requests may go to, to know where judging can be done early.

        `tokens`: None verifies none. `last`: the rate limits for every request, asked after everything else.
        """
        settings = config.settings.spec
        self._counts = counts or PolicyCounts()
        self._note = note
        self._providers = providers or {}
        self._tokens = tokens
        self._cache: dict[tuple[object, ...], Checks] = {}
        self._finds: dict[tuple[int, ...], Find] = {}
        self._policies, self._token_rules = _scopes(config, self._counts)
        self.modes = PeerModes(config.peer_authentications, settings.root_namespace)
        self.target = Target(settings.namespace, (Workload(settings.labels),))
        """The gateway itself."""
        self.gateway = Documents(self._policies.of(self.target), self._token_rules.of(self.target))
        self._mode = GatewayMode(self.modes, settings.namespace, settings.labels, self._counts)
        self.deferred = any(self._judges_later(self.documents(target)) for target in destinations)
        """Whether ALLOW policies of the gateway are judged at the destinations."""
        allowing = enforced(self.gateway.policies, "ALLOW")
        allow = (self._allow(allowing),) if allowing else ()
        self.everywhere: Checks = with_limits(
            Checks(
                (
                    *self._token_check(self.gateway.tokens),
                    *self._checks(self.gateway.policies),
                    *(() if self.deferred else allow),
                ),
                self._gate(self.gateway.policies),
                _told(self.gateway, ()),
            ),
            last,
        )
        """For every admitted request."""
        self.redirecting: tuple[Check, ...] = allow if self.deferred else ()
        """Before a redirect to https: what of the gateway's own was not judged yet, certificates apart."""
        self.own: tuple[Check, ...] = (
            *_check(self._mode.strict()),
            *self.redirecting,
        )
        """For requests that go to no destination: redirects, direct responses, no route."""

    @property
    def counts(self) -> PolicyCounts:
        """What was decided so far."""
        return self._counts

    def destination(self, target: Target) -> Checks:
        """For requests to a destination, after `everywhere`."""
        documents = self.documents(target)
        mode = self.modes.of(target)
        key = (target.namespace, mode, *map(id, documents.policies), *map(id, documents.tokens))
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = self._compile(target, documents, mode)
        return found

    def _compile(self, target: Target, documents: Documents, mode: Mode) -> Checks:
        more = distinct(documents.policies, self.gateway.policies)
        tokens = distinct(documents.tokens, self.gateway.tokens)
        if tokens:
            # A token that the gateway verified and forwards stands there still, and is none of theirs.
            tokens += [item for item in documents.tokens if item not in tokens and _forwards(item)]
        sets = self.allow_sets(documents)
        checks = (
            *self._strict_checks(target, mode),
            *self._token_check(tokens),
            *self._checks(more),
            *map(self._allow, sets),
        )
        allowing = [policy for policies in sets for policy in policies]
        judged = Documents((*more, *distinct(allowing, more)), tuple(tokens))
        modes = (f"STRICT {mode.policy}",) if mode.strict else ()
        return Checks(checks, self._gate(more), _told(judged, modes)) if checks or more else NOTHING

    def documents(self, target: Target) -> Documents:
        """What is for a target."""
        return Documents(self._policies.of(target), self._token_rules.of(target))

    # -- what a place is made of -----------------------------------------------------------------

    def _token_check(self, rules: Sequence[RequestAuthentication]) -> tuple[Check, ...]:
        check = self._tokens(rules) if self._tokens is not None and rules else None
        return () if check is None else (check,)

    def _checks(self, policies: Sequence[CompiledPolicy]) -> tuple[Check, ...]:
        """AUDIT, what dry-run policies would do, DENY; ALLOW stands apart."""
        audits, denies = enforced(policies, "AUDIT"), enforced(policies, "DENY")
        dry_denies = [policy for policy in policies if policy.dry_run and policy.action == "DENY"]
        dry_allows = [policy for policy in policies if policy.dry_run and policy.action == "ALLOW"]
        checks: list[Check] = []
        if audits:
            checks.append(Audit(self._find(audits), self._counts, self._note).check)
        if dry_denies or dry_allows:
            allows = self._find(dry_allows) if dry_allows else None
            checks.append(Shadow(self._find(dry_denies), allows, self._counts, self._note).check)
        if denies:
            checks.append(Deny(self._find(denies), self._counts).check)
        return tuple(checks)

    def _allow(self, policies: Sequence[CompiledPolicy]) -> Check:
        return Allow(self._find(policies), self._counts, not_allowed(policies)).check

    def _find(self, policies: Sequence[CompiledPolicy]) -> Find:
        """Their rules as one; what is for whole namespaces is compiled once for all destinations."""
        selecting = [policy for policy in policies if policy.selects]
        whole = distinct(policies, selecting)
        parts = [self._part(part) for part in (whole, selecting) if part]
        return Joined(*parts).find if len(parts) == 2 else parts[0] if parts else compile_find(())

    def _part(self, policies: Sequence[CompiledPolicy]) -> Find:
        key = tuple(map(id, policies))
        found = self._finds.get(key)
        if found is None:
            found = compile_find([taker for policy in policies for taker in policy.takers])
            self._finds[key] = found
        return found

    def _gate(self, policies: Sequence[CompiledPolicy]) -> Gate | None:
        custom = enforced(policies, "CUSTOM")
        return Ask(custom, self._providers, self._counts) if custom else None

    def _judges_later(self, documents: Documents) -> bool:
        """Whether the gateway's ALLOW policies are judged at this destination, with its own."""
        own, there = enforced(self.gateway.policies, "ALLOW"), enforced(documents.policies, "ALLOW")
        if not own or distinct(own, there):
            return False
        return bool(distinct(there, own) or distinct(documents.tokens, self.gateway.tokens))

    def allow_sets(self, documents: Documents) -> list[list[CompiledPolicy]]:
        """Sets of ALLOW policies that are judged at a destination; of each, one must match."""
        own, there = enforced(self.gateway.policies, "ALLOW"), enforced(documents.policies, "ALLOW")
        sets: list[list[CompiledPolicy]] = []
        if own and self.deferred and (distinct(own, there) or not distinct(there, own)):
            sets.append(own)
        if there and distinct(there, own):
            sets.append(there)
        return sets

    def _strict_checks(self, target: Target, mode: Mode) -> tuple[Check, ...]:
        if mode.strict:
            return _check(Strict(refusal(mode), self._counts))
        # What is for the gateway by its labels holds for all that passes it. What is for a namespace or the
        # mesh is a destination's own there, and may be overridden.
        return _check(self._mode.strict(inherited=not self.overrides(target, self._mode.usual)))

    def gateway_mode(self, port: int) -> Mode:
        """What the gateway itself demands of requests that come in on a port."""
        return self.modes.of(self.target._replace(workloads=(self.target.workloads[0]._replace(port=port),)))

    def overrides(self, target: Target, mode: Mode) -> bool:
        """Whether a destination's own mode stands in the place of a mode of the gateway."""
        return mode.level == "mesh" or (
            mode.level == "namespace" and target.namespace == self.target.namespace
        )


def _check(strict: Strict | None) -> tuple[Check, ...]:
    return () if strict is None else (strict.check,)


class Documents(NamedTuple):
    """What is for one place."""

    policies: tuple[CompiledPolicy, ...]
    tokens: tuple[RequestAuthentication, ...]


def _scopes(
    config: Config, counts: PolicyCounts
) -> tuple[Scope[CompiledPolicy], Scope[RequestAuthentication]]:
    """Policies and token rules, by whom they are for."""
    root = config.settings.spec.root_namespace
    policies = (
        Document(item.metadata.namespace, labels_of(item.spec.selector), CompiledPolicy(item, counts))
        for item in config.authorization_policies
    )
    tokens = (
        Document(item.metadata.namespace, labels_of(item.spec.selector), item)
        for item in config.request_authentications
    )
    return Scope(policies, root), Scope(tokens, root)


def _told(documents: Documents, modes: tuple[str, ...]) -> tuple[str, ...]:
    """Documents for people."""
    tokens = (f"JWT {item.metadata.namespace}/{item.metadata.name}" for item in documents.tokens)
    policies = (
        f"{policy.action} {policy.key}{' (dry run)' if policy.dry_run else ''}"
        for policy in documents.policies
    )
    return (*modes, *tokens, *policies)


def enforced(policies: Iterable[CompiledPolicy], action: str) -> list[CompiledPolicy]:
    """Those with an action, dry runs left out."""
    return [policy for policy in policies if policy.action == action and not policy.dry_run]


def _forwards(policy: RequestAuthentication) -> bool:
    return all(rule.forward_original_token for rule in policy.spec.jwt_rules)
