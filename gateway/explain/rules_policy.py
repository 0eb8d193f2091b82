"""The sentences about requests that a policy turned away.

Lifetime: config (constants).
"""

from __future__ import annotations

from gateway.explain.rule import Rule
from gateway.http.flags import Flag

POLICY: dict[str, tuple[Rule, ...]] = {
    Flag.EXT_AUTHZ_DENIED: (
        Rule(
            "ext_authz_error",
            "the external authorization service could not be asked, and its policy does not let requests pass"
            " then",
            "the authorization service of the CUSTOM policy",
            "check that it is up and reachable; `failOpen: true` would let requests pass without it",
        ),
        Rule(
            "",
            "the external authorization service said no to {asked}",
            "the rules of that service, or the client {client}",
            "its own log says why; the request id is in the header x-request-id that it was sent",
        ),
    ),
    Flag.RATE_LIMITED: (
        Rule(
            "",
            "the client sent more requests than its rate limit allows",
            "the client {client}, or the limit",
            "let it wait for as long as `retry-after` says, or raise the limit in GatewaySettings"
            " `rateLimits`",
        ),
    ),
}
"""By flag."""

DENIED = (
    Rule(
        r"rbac_access_denied_matched_policy\[none\]",
        "there are ALLOW policies for this place and none of them allows {asked} (client {client}, identity"
        " {caller})",
        "the AuthorizationPolicies, or the client",
        "`gateway explain` shows each policy and what it wanted; add a rule that allows this"
        " request, or let the"
        " client come with the identity or token that one wants",
    ),
    Rule(
        r"rbac_access_denied_matched_policy\[(?P<rule>[^}]*)\]",
        "AuthorizationPolicy {rule} denies {asked} (client {client}, identity {caller})",
        "the AuthorizationPolicy {rule}, or the client",
        "`gateway explain` shows what its rule matched; narrow the rule if this request should pass",
    ),
    Rule(
        r"(?:peer_authentication|mtls|.*strict_mtls).*",
        "PeerAuthentication STRICT wants a verified client certificate, and this connection had none"
        " (identity"
        " {caller})",
        "the client {client}, or the PeerAuthentication",
        "let the client connect over TLS with a certificate of a trusted CA (`gateway certs issue`),"
        " or set mode"
        " PERMISSIVE while clients are moved",
    ),
    Rule(
        r"jwt_authn_access_denied\{(?P<reason>[^}]*)\}",
        "the request's token was not accepted: {reason}",
        "the client {client}: its token",
        "get a new token from the issuer and check issuer, audience and expiry against the"
        " RequestAuthentication; `gateway explain --jwt TOKEN` tells which check fails",
    ),
    Rule(
        r"ext_authz_error",
        "the external authorization service could not be asked, and its policy does not let requests"
        " pass then",
        "the authorization service of the CUSTOM policy",
        "check that it is up and reachable; `failOpen: true` would let requests pass without it",
    ),
    Rule(
        r"ext_authz_denied",
        "the external authorization service said no to {asked}",
        "the rules of that service, or the client {client}",
        "its own log says why; the request id is in the header x-request-id that it was sent",
    ),
    Rule(
        r".*rate_limited",
        "the client sent more requests than its rate limit allows",
        "the client {client}, or the limit",
        "let it wait for as long as `retry-after` says, or raise the limit in GatewaySettings `rateLimits`",
    ),
)
"""Denials that carry no flag, as in Envoy."""
