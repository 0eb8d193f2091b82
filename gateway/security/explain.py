"""What the policies say of one request, document by document: for `gateway explain`.

Lifetime: config; plain functions that count nothing, log nothing and ask nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.security.guard import enforced
from gateway.security.mutual_tls import refusal
from gateway.security.policies import denied, not_allowed
from gateway.security.scope import distinct
from gateway.security.verdicts import Decision, of_mode, of_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.security.guard import Guard
    from gateway.security.mutual_tls import Mode
    from gateway.security.policies import CompiledPolicy
    from gateway.security.scope import Target
    from gateway.security.verdicts import Verdict

GATEWAY, DESTINATION = "gateway", "destination"


def explain(guard: Guard, request: Request, target: Target | None = None) -> Decision:
    """Every verdict, and what comes of them. `target` None: the request goes to no destination.

    Tokens are not verified here: `request.claims` and `request_principal` are taken as they are.
    """
    policies = [(policy, GATEWAY) for policy in guard.gateway.policies]
    if target is not None:
        more = distinct(guard.documents(target).policies, guard.gateway.policies)
        policies += [(policy, DESTINATION) for policy in more]
    told = {id(policy): of_policy(policy, request, place) for policy, place in policies}
    modes = list(_modes(guard, request, target))
    asks = [
        policy.provider for policy, _ in policies if policy.action == "CUSTOM" and told[id(policy)].matched
    ]
    verdicts = [
        *told.values(),
        *(verdict for mode, place in modes for verdict in of_mode(mode, request, place)),
    ]
    reply = _Judge(guard, request, target, told, [mode for mode, _ in modes]).reply()
    return Decision(tuple(verdicts), reply, tuple(dict.fromkeys(asks)))


def _modes(guard: Guard, request: Request, target: Target | None) -> Iterable[tuple[Mode, str]]:
    """The PeerAuthentications that count: the gateway's where nothing overrides it."""
    own = guard.gateway_mode(request.port)
    if target is None:
        yield own, GATEWAY
        return
    if own.strict and not guard.overrides(target, own):
        yield own, GATEWAY
    yield guard.modes.of(target), DESTINATION


class _Judge:
    def __init__(
        self,
        guard: Guard,
        request: Request,
        target: Target | None,
        told: dict[int, Verdict],
        modes: Sequence[Mode],
    ) -> None:
        self._guard = guard
        self._target = target
        self._told = told
        peer = request.peer
        self._demanded = None
        if peer is None or not peer.verified:
            self._demanded = next((mode for mode in reversed(modes) if mode.strict), None)

    def reply(self) -> Reply | None:
        """The first refusal, in the order in which the checks run."""
        guard, target = self._guard, self._target
        own = enforced(guard.gateway.policies, "ALLOW")
        early = [] if guard.deferred else [own]
        found = self._denied(guard.gateway.policies) or self._not_allowed(early)
        if found is not None:
            return found
        if self._demanded is not None:
            return refusal(self._demanded)
        if target is None:
            return self._not_allowed([own] if guard.deferred else [])
        documents = guard.documents(target)
        more = distinct(documents.policies, guard.gateway.policies)
        return self._denied(more) or self._not_allowed(guard.allow_sets(documents))

    def _denied(self, policies: Sequence[CompiledPolicy]) -> Reply | None:
        names = [
            policy.identifier(rule)
            for policy in enforced(policies, "DENY")
            if (rule := self._told[id(policy)].rule) is not None
        ]
        return denied(min(names)) if names else None

    def _not_allowed(self, sets: Sequence[Sequence[CompiledPolicy]]) -> Reply | None:
        for policies in sets:
            if policies and not any(self._told[id(policy)].matched for policy in policies):
                return not_allowed(policies)
        return None
