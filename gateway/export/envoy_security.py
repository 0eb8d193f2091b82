"""The security documents as filters: for every request, and at destinations, where sidecars would be.

Lifetime: config. Where a document is judged is the guard's to say (`gateway.security.guard`); here it is only
said in Envoy's words. What is for destinations stands in filters of their own, which judge nobody until a
route, or one of its destinations, gives them something to judge by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config.http_match import is_claim
from gateway.export.envoy_jwt import envoy_jwt, jwt_filter, jwt_on_route, requirement
from gateway.export.envoy_keys import told
from gateway.export.envoy_rbac import envoy_rbac, rbac, rbac_filter, rbac_on_route
from gateway.security.guard import Guard, enforced
from gateway.security.scope import Target, Workload, distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.config import Config
    from gateway.config.request_authentication import JWTRule
    from gateway.config.security import AuthorizationPolicy, RequestAuthentication
    from gateway.security.policies import CompiledPolicy
    from gateway.upstream import ClusterConfig
    from gateway.upstream.plan import Plan

TOKENS = "gateway.destination.tokens"
AUDIT = "gateway.destination.audit"
DENY = "gateway.destination.deny"
ALLOW = "gateway.destination.allow"
ALLOW_TOO = "gateway.destination.allow_too"
"""For a destination of another namespace than the gateway's: both must allow it."""
_RULES = (AUDIT, DENY, ALLOW, ALLOW_TOO)

Rules = dict[str, dict[str, Any]]
"""Of RBAC filters, by their names."""


class Judges:
    """AuthorizationPolicy and RequestAuthentication of one configuration."""

    def __init__(self, config: Config, plan: Plan, notes: list[str]) -> None:
        targets = {name: _target(cluster) for name, cluster in plan.clusters.items()}
        self._settings = config.settings.spec
        self._policies = {
            f"{item.metadata.namespace}/{item.metadata.name}": item for item in config.authorization_policies
        }
        self._guard = Guard(config, targets.values(), tokens=lambda _: lambda _request, _dice: None)
        self._tokens = {name: self._more_tokens(target) for name, target in targets.items()}
        self._rules = {name: self._more_rules(target) for name, target in targets.items()}
        own = enforced(self._guard.gateway.policies, "ALLOW") if self._guard.deferred else []
        self._usual: Rules = {ALLOW: rbac(self._written(own))["ALLOW"]} if own else {}
        """For requests that go to no destination: ALLOW policies of the gateway that are judged late."""
        self._providers: dict[str, Any] = {}
        self._requirements: dict[str, Any] = {}
        self._names = {name: self._require(tokens) for name, tokens in self._tokens.items()}
        self._routed = any(
            is_claim(name)
            for service in config.virtual_services
            for http in service.spec.http
            for match in http.match
            for name in (*match.headers, *match.without_headers)
        )
        notes.extend(_left_out(config))

    def everywhere(self) -> list[dict[str, Any]]:
        """Filters for every request, tokens before policies, as Istio orders them."""
        gateway = self._guard.gateway
        later = enforced(gateway.policies, "ALLOW") if self._guard.deferred else []
        verified = envoy_jwt(self._verifiable(gateway.tokens), routed=self._routed)
        policies = self._written(distinct(gateway.policies, later))
        return [*([verified] if verified is not None else []), *envoy_rbac(policies)]

    def behind(self) -> list[dict[str, Any]]:
        """Filters for what is judged at destinations, where there is anything."""
        used = {name for rules in (self._usual, *self._rules.values()) for name in rules}
        found = [rbac_filter(name, self._usual.get(name, {})) for name in _RULES if name in used]
        if self._requirements:
            tokens = {"providers": self._providers, "requirement_map": self._requirements}
            found.insert(0, jwt_filter(TOKENS, **tokens))
        return found

    def at(self, cluster: str) -> dict[str, Any]:
        """What a route, or one of several destinations, says for a cluster; nothing for an unknown one."""
        if cluster not in self._rules:
            return {}
        rules, name = self._rules[cluster], self._names[cluster]
        found = {
            item: rbac_on_route(rules.get(item, {}))
            for item in _RULES
            if rules.get(item) != self._usual.get(item)
        }
        return found if name is None else {TOKENS: jwt_on_route(name), **found}

    def alike(self, mirror: ClusterConfig, clusters: Iterable[ClusterConfig]) -> bool:
        """Whether what passes the policies of `clusters` may be copied: nobody judges a copy."""
        wanted = self._guard.destination(_target(mirror))
        if not wanted.checks and wanted.gate is None:
            return True
        return all(self._guard.destination(_target(cluster)) is wanted for cluster in clusters)

    def _written(self, policies: Iterable[CompiledPolicy]) -> list[AuthorizationPolicy]:
        return [self._policies[policy.key] for policy in policies]

    def _verifiable(self, tokens: Iterable[RequestAuthentication]) -> list[JWTRule]:
        return [rule for item in tokens for rule in item.spec.jwt_rules if told(rule, self._settings)]

    def _more_rules(self, target: Target) -> Rules:
        documents = self._guard.documents(target)
        more = distinct(documents.policies, self._guard.gateway.policies)
        found = rbac(self._written(distinct(more, enforced(more, "ALLOW"))))
        rules: Rules = {
            name: found[action] for action, name in (("AUDIT", AUDIT), ("DENY", DENY)) if action in found
        }
        if "ALLOW" in found:
            rules[ALLOW] = found["ALLOW"]
        for name, policies in zip((ALLOW, ALLOW_TOO), self._guard.allow_sets(documents), strict=False):
            rules[name] = {**rules.get(name, {}), **rbac(self._written(policies))["ALLOW"]}
        return rules

    def _more_tokens(self, target: Target) -> tuple[RequestAuthentication, ...]:
        documents = self._guard.documents(target)
        tokens = distinct(documents.tokens, self._guard.gateway.tokens)
        if tokens:
            # A token that the gateway verified and forwards stands there still, and is none of theirs.
            tokens += [item for item in documents.tokens if item not in tokens and _forwards(item)]
        return tuple(tokens)

    def _require(self, tokens: Sequence[RequestAuthentication]) -> str | None:
        """The name of a requirement for these; None when they ask for nothing."""
        name = " ".join(f"{item.metadata.namespace}/{item.metadata.name}" for item in tokens)
        if name in self._requirements:
            return name
        providers, needed = requirement(self._verifiable(tokens), name)
        if not providers:
            return None
        self._providers.update(providers)
        self._requirements[name] = needed
        return name


def _target(cluster: ClusterConfig) -> Target:
    return Target(cluster.namespace, tuple(Workload(item.labels, item.port) for item in cluster.endpoints))


def _forwards(policy: RequestAuthentication) -> bool:
    return all(rule.forward_original_token for rule in policy.spec.jwt_rules)


def _left_out(config: Config) -> Iterable[str]:
    for item in config.request_authentications:
        if not all(told(rule, config.settings.spec) for rule in item.spec.jwt_rules):
            yield f"{item.title}: rules whose keys must be discovered, or come over http, are not exported"
    for policy in config.authorization_policies:
        if policy.spec.action == "CUSTOM":
            yield f"{policy.title}: external authorization is not exported"
    for telemetry in config.telemetries:
        yield f"{telemetry.title}: not exported"
    if config.settings.spec.rate_limits:
        yield f"{config.settings.title}: rateLimits are not exported"
