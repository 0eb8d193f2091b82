"""Issuers with keys of their own, and tokens: good ones, and ones no library would make."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from gateway.config.request_authentication import RequestAuthentication
from gateway.security.jwk import KeySet, read_keys

NOW = 1_700_000_000
"""Seconds since the epoch at which tests happen."""
ALGORITHMS = get_default_algorithms()


def b64(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@cache
def private_key(kind: str = "RSA", name: str = "a") -> Any:
    """A private key; the same for the same arguments, because RSA keys take a while."""
    del name
    match kind:
        case "RSA":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "P-521":
            return ec.generate_private_key(ec.SECP521R1())
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return kind.encode().ljust(64, b"-")


def jwk(key: Any, kid: str | None = "k1", **members: Any) -> dict[str, Any]:
    """The public half of a key, or a secret, as a JSON Web Key."""
    if isinstance(key, bytes):
        made: dict[str, Any] = {"kty": "oct", "k": b64(key)}
    else:
        family = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
        name = next((alg for kind, alg in family.items() if isinstance(key, kind)), "EdDSA")
        made = ALGORITHMS[name].to_jwk(key.public_key(), as_dict=True)
        made.pop("key_ops", None)
    return made | ({} if kid is None else {"kid": kid}) | members


def jwks(*keys: dict[str, Any]) -> str:
    """A key set."""
    return json.dumps({"keys": list(keys)})


def raw(header: bytes | dict[str, Any], payload: bytes | dict[str, Any], key: Any, algorithm: str) -> str:
    """A token with exactly these parts, signed by `algorithm` whatever the header says."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(map(b64, parts)).encode()
    return signed.decode() + "." + b64(ALGORITHMS[algorithm].sign(signed, key))


def token(
    key: Any = None, kid: str | None = "k1", algorithm: str = "RS256", header: Any = None, **claims: Any
) -> str:
    """A token of https://a for alice that is good for ten minutes; `...` as a value leaves a claim out."""
    made = {"iss": "https://a", "sub": "alice", "exp": NOW + 600, **claims}
    head = {"alg": algorithm, "typ": "JWT", **({} if kid is None else {"kid": kid}), **(header or {})}
    payload = {name: value for name, value in made.items() if value is not ...}
    return raw(head, payload, private_key() if key is None else key, algorithm)


def rule(issuer: str | None = "https://a", **fields: Any) -> dict[str, Any]:
    """A JWT rule; its keys are the RSA key `k1` unless it says otherwise."""
    made = {"issuer": issuer, **fields}
    if not {"jwks", "jwksUri"} & fields.keys() and not fields.pop("discovered", False):
        made["jwks"] = jwks(jwk(private_key()))
    made.pop("discovered", None)
    return {name: value for name, value in made.items() if value is not None}


def policy(*rules: dict[str, Any]) -> RequestAuthentication:
    """A document with these rules."""
    return RequestAuthentication.model_validate(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": {"name": "p"},
            "spec": {"jwtRules": list(rules)},
        }
    )


def key_set(*keys: dict[str, Any]) -> KeySet:
    """The keys as they verify."""
    return read_keys(jwks(*keys))
