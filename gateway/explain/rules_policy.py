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
    Flag.RATE_LIMIT_STORE: (
        Rule(
            "",
            "the store of shared rate limits does not answer, and requests do not pass uncounted",
            "the Redis of GatewaySettings `rateLimitStore`",
            "`gateway status` says what is wrong with it; `onFailure: LOCAL` would let each process count its"
            " own meanwhile",
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
        r"rbac_access_denied_matched_policy\[ns\[(?P<space>.*?)\]-policy\[(?P<policy>.*?)\]"
        r"-rule\[(?P<rule>\d+)\]",
        "rule {rule} of the DENY policy {space}/{policy} takes {asked} (client {client}, identity {caller})",
        "AuthorizationPolicy {space}/{policy}, or the client",
        "`gateway explain` shows what the rule found; narrow the rule if this request should pass",
    ),
    Rule(
        r"rbac_access_denied",
        "an AuthorizationPolicy denies {asked} (client {client}, identity {caller})",
        "the AuthorizationPolicies, or the client",
        "`gateway explain` shows each policy and what it found",
    ),
    Rule(
        r"peer_authentication_strict_matched_policy\[ns\[(?P<space>.*?)\]-policy\[(?P<policy>.*?)\]",
        "PeerAuthentication {space}/{policy} is STRICT: it wants a verified client certificate, and this"
        " connection has none",
        "the client {client}, or PeerAuthentication {space}/{policy}",
        "let the client connect over TLS with a certificate of a trusted CA (`gateway certs issue`"
        " makes one for"
        " tests), or set mode PERMISSIVE while clients are moved",
    ),
    Rule(
        r"jwt_authn_access_denied\{Jwt_is_expired",
        "the request's token has expired",
        "the client {client}: its token",
        "let it get a new one in time; if tokens look expired too early, compare the clocks of"
        " issuer and gateway",
    ),
    Rule(
        r"jwt_authn_access_denied\{Jwt_not_yet",
        "the request's token is not valid yet",
        "the clock of the issuer, of the client {client} or of this machine",
        "compare the clocks; the token's `nbf` says from when it holds",
    ),
    Rule(
        r"jwt_authn_access_denied\{Audiences",
        "the request's token is meant for somebody else: none of its audiences is allowed here",
        "the client {client}: its token, or the RequestAuthentication",
        "ask the issuer for a token with the right `aud`, or add the audience to `jwtRules.audiences`",
    ),
    Rule(
        r"jwt_authn_access_denied\{Jwt_issuer",
        "no RequestAuthentication knows the issuer of the request's token",
        "the client {client}: its token, or the RequestAuthentication",
        "compare the token's `iss` with `jwtRules.issuer`, character by character",
    ),
    Rule(
        r"jwt_authn_access_denied\{(?:Jwks_remote_fetch|Jwks_doesn't_have_any)",
        "the issuer's keys are not there, so that no token can be checked: {reason}",
        "the issuer's key server, or the network to it",
        "ask for `jwksUri` from this machine; the gateway asks again by itself, and keeps keys it once had",
    ),
    Rule(
        r"jwt_authn_access_denied\{(?:Jwks_doesn't_have_key|Jwt_verification)",
        "the signature of the request's token does not fit the issuer's keys",
        "the client {client}: its token; or the issuer changed its keys",
        "get a new token; `gateway status` tells when the keys were fetched; compare the token's"
        " `kid` with the"
        " issuer's key set",
    ),
    Rule(
        r"jwt_authn_access_denied\{(?P<reason>[^}]*)",
        "the request's token was not accepted: {reason}",
        "the client {client}: its token",
        "get a new token from the issuer; `gateway explain --jwt TOKEN` shows the decision for any token",
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
    Rule(
        r"rate_limiter_error",
        "the store of shared rate limits does not answer, and requests do not pass uncounted",
        "the Redis of GatewaySettings `rateLimitStore`",
        "`gateway status` says what is wrong with it; `onFailure: LOCAL` would let each process count its own"
        " meanwhile",
    ),
)
"""Denials that carry no flag, as in Envoy."""
