"""The security documents that are for the gateway itself, as filters; and what is left out.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gateway.export.envoy_jwt import envoy_jwt
from gateway.export.envoy_rbac import envoy_rbac
from gateway.security.scope import Document, Scope, Target, Workload, labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import Config
    from gateway.config.security import AuthorizationPolicy, RequestAuthentication

    Selecting = TypeVar("Selecting", AuthorizationPolicy, RequestAuthentication)


def envoy_security(config: Config, notes: list[str]) -> list[dict[str, Any]]:
    """Filters for every request, tokens before policies, as Istio orders them."""
    tokens = _own(config, config.request_authentications, notes)
    policies = _own(config, config.authorization_policies, notes)
    notes.extend(
        f"{item.title}: rules whose keys must be fetched are not exported"
        for item in tokens
        if any(not rule.jwks for rule in item.spec.jwt_rules)
    )
    notes.extend(
        f"{item.title}: external authorization is not exported"
        for item in policies
        if item.spec.action == "CUSTOM"
    )
    notes.extend(f"{item.title}: not exported" for item in config.telemetries)
    if config.settings.spec.rate_limits:
        notes.append(f"{config.settings.title}: rateLimits are not exported")
    verified = envoy_jwt(tokens)
    return [*([verified] if verified is not None else []), *envoy_rbac(policies)]


def _own(config: Config, documents: Sequence[Selecting], notes: list[str]) -> list[Selecting]:
    """Those that are for the gateway; of the others it is noted that only sidecars could enforce them."""
    settings = config.settings.spec
    filed = [Document(item.metadata.namespace, labels_of(item.spec.selector), item) for item in documents]
    scope = Scope(filed, settings.root_namespace)
    own = scope.of(Target(settings.namespace, (Workload(settings.labels),)))
    notes.extend(
        f"{item.title}: it is for destinations, which is not exported"
        for item in documents
        if not any(item is other for other in own)
    )
    return list(own)
