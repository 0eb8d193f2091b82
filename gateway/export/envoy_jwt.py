"""RequestAuthentication as Envoy's jwt_authn filter, the way Istio writes it.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.export.envoy_keys import keys
from gateway.export.envoy_match import JWT
from gateway.export.envoy_policies import typed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config.request_authentication import JWTRule

_SPLIT = ("permission", "scope")
"""Claims that are always lists written as text."""


def envoy_jwt(rules: Iterable[JWTRule], *, routed: bool = False) -> dict[str, Any] | None:
    """The filter for these rules; None when there are none.

    `routed`: some route is chosen by claims, so one must be chosen again when there are any.
    """
    providers, needed = requirement(rules)
    if routed:
        providers = {name: {**item, "clear_route_cache": True} for name, item in providers.items()}
    if not providers:
        return None
    always = [{"match": {"prefix": "/"}, "requires": needed}]
    return jwt_filter(JWT, providers=providers, rules=always)


def jwt_filter(name: str, **fields: Any) -> dict[str, Any]:
    """A filter that verifies tokens."""
    config = typed("filters.http.jwt_authn.v3.JwtAuthentication", **fields, bypass_cors_preflight=True)
    return {"name": name, "typed_config": config}


def jwt_on_route(name: str | None) -> dict[str, Any]:
    """The requirement of that name instead of the filter's own, on one route; None: no token is looked at."""
    fields = {"disabled": True} if name is None else {"requirement_name": name}
    return typed("filters.http.jwt_authn.v3.PerRouteConfig", **fields)


def requirement(rules: Iterable[JWTRule], prefix: str = "origins") -> tuple[dict[str, Any], dict[str, Any]]:
    """Providers by name, and what is asked for: a rule must verify the token, or none may find one, which is
    `any(P1, ..., Pn, all(P1 or missing, ...))`. Empty without rules.
    """
    rules = sorted(rules, key=lambda rule: rule.issuer or "")
    if not rules:
        return {}, {}
    names = [f"{prefix}-{index}" for index in range(len(rules))]
    each = [{"requires_any": {"requirements": [{"provider_name": n}, {"allow_missing": {}}]}} for n in names]
    needed: dict[str, Any] = each[0]
    if len(names) > 1:
        every = {"requires_all": {"requirements": each}}
        needed = {"requires_any": {"requirements": [*({"provider_name": n} for n in names), every]}}
    return dict(zip(names, map(_provider, rules), strict=True)), needed


def _provider(rule: JWTRule) -> dict[str, Any]:
    provider: dict[str, Any] = {
        **keys(rule),
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {
            "space_delimited_claims": sorted({*rule.space_delimited_claims, *_SPLIT})
        },
        "forward": bool(rule.forward_original_token),
    }
    optional = {
        "issuer": rule.issuer,
        "audiences": list(rule.audiences),
        "from_params": list(rule.from_params),
        "from_cookies": list(rule.from_cookies),
        "forward_payload_header": rule.output_payload_to_header,
        "from_headers": [
            {"name": header.name, **({"value_prefix": header.prefix} if header.prefix else {})}
            for header in rule.from_headers
        ],
        "claim_to_headers": [
            {"header_name": item.header, "claim_name": item.claim} for item in rule.output_claim_to_headers
        ],
    }
    return provider | {name: value for name, value in optional.items() if value}
