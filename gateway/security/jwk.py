"""JSON Web Keys that verify signatures; each says itself which algorithms it can do (RFC 7517, 7518, 8037).

Lifetime: config (frozen once read).

The algorithm never comes from the token: a key offers those of its type, curve and length, and a token that
names another one is not tried with it. So a public key is never an HMAC secret, and `none` is nobody's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from gateway.security import jwt_failure as why
from gateway.security.jwt_token import decode, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.security.jwt_failure import Failure
    from gateway.security.jwt_token import Token

MOST_KEYS = 64
"""Keys of one set that are read: a token without key id is tried with each."""
RSA_BITS = range(2048, 8193)
"""Shorter keys are weak; longer ones make every forged token expensive."""
RSA_EXPONENTS = frozenset({3, 65537})

_ALGORITHMS: Mapping[str, Any] = get_default_algorithms()
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518 3.2: a secret is as long as the hash."""


class Unusable(ValueError):  # noqa: N818 - what is wrong, as the sentence that is shown
    """A key, or a set of keys, that cannot be used; its text says why."""


class Key:
    """One public key or shared secret."""

    __slots__ = ("_material", "algorithm", "algorithms", "key_id", "kind")

    def __init__(
        self, kind: str, key_id: str, algorithm: str, algorithms: Sequence[str], material: Any
    ) -> None:
        self.kind = kind
        """`RSA`, `EC`, `OKP` or `oct`."""
        self.key_id = key_id
        """Empty: it has none."""
        self.algorithm = algorithm
        """The only algorithm its owner uses it for; empty: not said."""
        self.algorithms = frozenset(algorithms)
        """What it may verify."""
        self._material = material

    def __repr__(self) -> str:
        return f"<Key {self.kind} {self.key_id or '-'} {','.join(sorted(self.algorithms))}>"

    def verifies(self, token: Token) -> bool:
        """Whether this key signed the token. Never raises."""
        if token.algorithm not in self.algorithms:
            return False
        algorithm = _ALGORITHMS[token.algorithm]
        try:
            return bool(algorithm.verify(token.signed, self._material, token.signature))
        except (PyJWTError, ValueError, TypeError):
            return False


class KeySet:
    """The usable keys of a set, and what there is to say about the others."""

    __slots__ = ("keys", "problems")

    def __init__(self, keys: Sequence[Key], problems: Sequence[str] = ()) -> None:
        self.keys = tuple(keys)
        self.problems = tuple(problems)
        """One sentence a key that is left out."""

    def __repr__(self) -> str:
        return f"<KeySet {', '.join(key.key_id or '-' for key in self.keys)}>"

    def check(self, token: Token) -> Failure | None:
        """Why none of the keys signed the token; None: one did."""
        if not self.keys:
            return why.NO_VALID_KEYS
        matched = False
        for key in self.keys:
            if token.key_id and key.key_id and key.key_id != token.key_id:
                continue
            if key.algorithm and key.algorithm != token.algorithm:
                continue
            matched = True
            if key.verifies(token):
                return None
        return why.SIGNATURE if matched else why.NO_KEY


def read_keys(text: str | bytes) -> KeySet:
    """The keys of a JSON Web Key Set; those that cannot be used are left out. `Unusable`: it is not a set."""
    document = read_object(text.encode(errors="replace") if isinstance(text, str) else text)
    if document is None:
        raise Unusable("the key set is not a JSON object")
    members = document.get("keys")
    if not isinstance(members, list):
        raise Unusable("the key set has no list of keys")
    keys, problems = [], []
    for number, member in enumerate(members[:MOST_KEYS], 1):
        try:
            keys.append(read_key(member))
        except Unusable as reason:
            problems.append(f"key {number}: {reason}")
    if len(members) > MOST_KEYS:
        problems.append(f"only the first {MOST_KEYS} of {len(members)} keys are read")
    return KeySet(keys, problems)


def read_key(member: Any) -> Key:
    """One key; private parts are not looked at, except to see that they belong to it."""
    if not isinstance(member, dict):
        raise Unusable("not an object")
    kind, use, operations = member.get("kty"), member.get("use", "sig"), member.get("key_ops", ["verify"])
    if use != "sig":
        raise Unusable("its use is not sig")
    if not isinstance(operations, list) or not {"verify", "sign"}.intersection(map(str, operations)):
        raise Unusable("its key_ops do not let it verify")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise Unusable(f"kty {json.dumps(kind)[:32]} is not known")
    try:
        algorithms, material = reader(member)
    except Unusable:
        raise
    except (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise Unusable(f"not a valid {kind} key") from error
    declared, key_id = member.get("alg", ""), member.get("kid", "")
    if not isinstance(declared, str) or not isinstance(key_id, str):
        raise Unusable("alg and kid are text")
    if declared:
        if declared not in algorithms:
            raise Unusable(f"alg {json.dumps(declared)[:32]} is not one this key can do")
        algorithms = [declared]
    return Key(str(kind), key_id, declared, algorithms, material)


def _member(key: Mapping[str, Any], name: str) -> bytes:
    value = key.get(name)
    decoded = decode(value.encode()) if isinstance(value, str) else None
    if not decoded:
        raise Unusable(f"{name} is missing or not base64url")
    return decoded


def _rsa(key: Mapping[str, Any]) -> tuple[list[str], Any]:
    modulus = int.from_bytes(_member(key, "n"), "big")
    exponent = int.from_bytes(_member(key, "e"), "big")
    if modulus.bit_length() not in RSA_BITS:
        limits = f"{RSA_BITS.start} to {RSA_BITS.stop - 1}"
        raise Unusable(f"an RSA key of {modulus.bit_length()} bits; {limits} are accepted")
    if exponent not in RSA_EXPONENTS or modulus % 2 == 0:
        raise Unusable("not a valid RSA key")
    return list(_RSA), _ALGORITHMS["RS256"].from_jwk({name: key[name] for name in ("kty", "n", "e")})


def _ec(key: Mapping[str, Any]) -> tuple[list[str], Any]:
    curve = key.get("crv")
    algorithm = _CURVES.get(curve) if isinstance(curve, str) else None
    if algorithm is None:
        raise Unusable("its curve is not P-256, P-384 or P-521")
    _member(key, "x"), _member(key, "y")
    return [algorithm], _ALGORITHMS[algorithm].from_jwk({n: key[n] for n in ("kty", "crv", "x", "y")})


def _okp(key: Mapping[str, Any]) -> tuple[list[str], Any]:
    if key.get("crv") != "Ed25519":
        raise Unusable("its curve is not Ed25519")
    _member(key, "x")
    public = {name: key[name] for name in ("kty", "crv", "x")}
    if "d" in key:
        _ALGORITHMS["EdDSA"].from_jwk({**public, "d": key["d"]})  # Refuses halves of different keys.
    return ["EdDSA"], _ALGORITHMS["EdDSA"].from_jwk(public)


def _oct(key: Mapping[str, Any]) -> tuple[list[str], Any]:
    secret = _ALGORITHMS["HS256"].prepare_key(_member(key, "k"))  # Refuses PEM, SSH and JWK texts.
    algorithms = [name for name, least in _HMAC_BYTES.items() if len(secret) >= least]
    if not algorithms:
        raise Unusable(f"a secret of {len(secret)} bytes; HS256 needs 32 (RFC 7518 3.2)")
    return algorithms, secret


_READERS = {"RSA": _rsa, "EC": _ec, "OKP": _okp, "oct": _oct}


def described(keys: KeySet | None) -> Iterator[dict[str, Any]]:
    """The keys as the admin listener shows them; nothing of their material."""
    for key in keys.keys if keys is not None else ():
        yield {"kid": key.key_id, "kty": key.kind, "algorithms": sorted(key.algorithms)}
