"""The kinds of `security.istio.io`: who is calling, and whether they may.

Lifetime: config. Importing this registers the kinds and the codes of their rules.
"""

from __future__ import annotations

from gateway.config.authorization_policy import (
    AuthorizationPolicy,
    AuthorizationPolicySpec,
    Condition,
    Operation,
    Rule,
    Source,
)
from gateway.config.codes import define
from gateway.config.peer_authentication import MutualTLS, PeerAuthentication, PeerAuthenticationSpec
from gateway.config.request_authentication import (
    ClaimToHeader,
    JWTHeader,
    JWTRule,
    RequestAuthentication,
    RequestAuthenticationSpec,
)
from gateway.config.selector import PolicyTargetReference, WorkloadSelector

__all__ = [
    "AuthorizationPolicy",
    "AuthorizationPolicySpec",
    "ClaimToHeader",
    "Condition",
    "JWTHeader",
    "JWTRule",
    "MutualTLS",
    "Operation",
    "PeerAuthentication",
    "PeerAuthenticationSpec",
    "PolicyTargetReference",
    "RequestAuthentication",
    "RequestAuthenticationSpec",
    "Rule",
    "Source",
    "WorkloadSelector",
]

define(
    "GW060",
    "empty condition",
    "error",
    "A list without values, or an empty value, says nothing about whom it is for. In a policy it is more"
    " likely a value that got lost than a wish, so it is refused. Leave the field out to mean any.",
)
define(
    "GW061",
    "unknown condition key",
    "error",
    "A condition compares one attribute of the request: request.headers[NAME], request.auth.claims[NAME],"
    " request.auth.principal, request.auth.audiences, request.auth.presenter, source.ip, remote.ip,"
    " source.principal, source.namespace, source.serviceAccount, source.trustDomain, destination.ip,"
    " destination.port or connection.sni. A key that does not exist would leave a policy without effect.",
)
define(
    "GW062",
    "not an address block",
    "error",
    "Write an IP address or a CIDR: 10.1.2.3, 10.0.0.0/8, 2001:db8::/32. Netmasks and zones are not read.",
)
define(
    "GW063",
    "not a path template",
    "error",
    "In a path {*} stands for one whole segment and {**} for any number of them, once, and after it no other"
    " template. A template has no further wildcard. Braces mean nothing else.",
)
define(
    "GW064",
    "not a key set",
    "error",
    'jwks is a JSON Web Key Set: {"keys": [{"kty": "RSA", "n": "...", "e": "AQAB"}]}. A key without its'
    " parameters, or with an empty secret, would accept what nobody signed.",
)
define(
    "GW065",
    "private key in a policy",
    "warning",
    "To verify a token its public key is enough. Whoever reads this file can sign tokens: make new keys.",
)
define(
    "GW066",
    "spelt so that it never matches",
    "warning",
    "The value is valid, but no request has it: principals are written without spiffe://, and methods are"
    " upper-case. A DENY rule spelt like this denies nobody.",
)
define(
    "GW067",
    "not a URL",
    "error",
    "Keys are fetched from an absolute URL, https://HOST/PATH or http://HOST/PATH, without user or fragment.",
)
define(
    "GW068",
    "no way to find the keys",
    "warning",
    "Without jwksUri and jwks the keys are looked up at <issuer>/.well-known/openid-configuration, and this"
    " issuer is not a URL. Every token of it is refused.",
)
