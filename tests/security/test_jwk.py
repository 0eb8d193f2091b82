"""Keys, and what each may verify."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.tokens import ALGORITHMS, b64, jwk, jwks, key_set, private_key, raw, token

from gateway.security import jwt_failure as why
from gateway.security.jwk import Unusable, described, read_key, read_keys
from gateway.security.jwt_token import Token, parse

CLAIMS = b'{"iss":"https://a","sub":"mallory"}'


def read(text: str) -> Token:
    found = parse(text.encode())
    assert isinstance(found, Token)
    return found


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("RSA", ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]),
        ("P-256", ["ES256"]),
        ("P-384", ["ES384"]),
        ("P-521", ["ES512"]),
        ("Ed25519", ["EdDSA"]),
        ("secret", ["HS256", "HS384", "HS512"]),
    ],
)
def test_a_key_says_itself_what_it_can_do(kind: str, expected: list[str]) -> None:
    """By its type, curve and length, never by what a token asks for."""
    key = read_key(jwk(private_key(kind)))

    assert sorted(key.algorithms) == expected


def test_alg_leaves_one() -> None:
    """A key that is for one algorithm verifies no other, though it could."""
    keys = key_set(jwk(private_key(), alg="RS512"))

    assert keys.check(read(token(algorithm="RS512"))) is None
    assert keys.check(read(token(algorithm="RS256"))) is why.NO_KEY


PUBLIC = private_key().public_key()
PEM = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
DER = PUBLIC.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
SECRETS = [PEM, PEM.strip(), DER, jwks(jwk(private_key())).encode(), b"", b"k1"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_secret(secret: bytes, algorithm: str) -> None:
    """A token signed with the text of a public key is refused (J02, J03)."""
    forged = raw({"alg": algorithm, "kid": "k1"}, CLAIMS, secret, algorithm)

    assert key_set(jwk(private_key())).check(read(forged)) is why.SIGNATURE


@pytest.mark.parametrize("named", ["RS256", "RS384", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("used", ["RS512", "PS384"])
def test_the_named_algorithm_is_the_one_that_verifies(named: str, used: str) -> None:
    """A signature by another algorithm of the same key does not count (J04)."""
    forged = raw({"alg": named}, CLAIMS, private_key(), used)

    assert key_set(jwk(private_key())).check(read(forged)) is why.SIGNATURE


@pytest.mark.parametrize(
    "signature", [bytes(64), bytes(63), b"\x01" * 64, b"", bytes(31) + b"\x01" + bytes(32)]
)
def test_an_ecdsa_signature_of_zeros_is_none(signature: bytes) -> None:
    """r = s = 0 verifies nothing, and lengths are exact (J15)."""
    head = raw({"alg": "ES256"}, CLAIMS, private_key("P-256"), "ES256").rpartition(".")[0]
    forged = parse(f"{head}.{b64(signature)}".encode())

    assert not isinstance(forged, Token) or key_set(jwk(private_key("P-256"))).check(forged) is why.SIGNATURE


def test_keys_are_found_by_kid_or_tried() -> None:
    """A key id chooses; without one, on either side, every key is tried."""
    keys = key_set(jwk(private_key("RSA", "a"), "a"), jwk(private_key("RSA", "b"), "b"))
    nameless = key_set(jwk(private_key("RSA", "b"), None))
    key = private_key("RSA", "b")

    assert keys.check(read(token(key, "b"))) is None
    assert keys.check(read(token(key, None))) is None
    assert keys.check(read(token(key, "a"))) is why.SIGNATURE
    assert keys.check(read(token(key, "c"))) is why.NO_KEY
    assert nameless.check(read(token(key, "c"))) is None


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1", "k1\n", "K1", "http://evil.test/k"])
def test_a_key_id_is_only_compared(kid: str) -> None:
    """It is no path, no query and no address (J08)."""
    assert key_set(jwk(private_key())).check(read(token(kid=kid))) is why.NO_KEY


def test_keys_in_a_token_are_not_read() -> None:
    """`jwk`, `jku`, `x5u` and `x5c` of a header are whatever the sender likes (J07)."""
    mallory = private_key("RSA", "mallory")
    header = {"jwk": jwk(mallory), "jku": "http://evil.test", "x5u": "file:///etc/passwd", "x5c": ["AA=="]}

    assert key_set(jwk(private_key())).check(read(token(mallory, header=header))) is why.SIGNATURE


def _short() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


OTHER = jwk(private_key("Ed25519", "other"))["x"]
PRIVATE = b64(
    private_key("Ed25519").private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
)
RSA = jwk(private_key())
EC = jwk(private_key("P-256"))


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (5, "not an object"),
        ({}, "kty null is not known"),
        ({"kty": ["RSA"]}, "is not known"),
        ({"kty": "RSA1"}, "is not known"),
        (jwk(_short()), "1024 bits"),
        (RSA | {"n": RSA["n"] * 5}, "bits"),
        (RSA | {"e": b64(b"\x01")}, "not a valid RSA key"),
        (RSA | {"e": "AQ=B"}, "e is missing"),
        (RSA | {"n": 5}, "n is missing"),
        (RSA | {"use": "enc"}, "use is not sig"),
        (RSA | {"key_ops": ["encrypt"]}, "key_ops"),
        (RSA | {"key_ops": "verify"}, "key_ops"),
        (RSA | {"alg": "HS256"}, "not one this key can do"),
        (RSA | {"alg": "none"}, "not one this key can do"),
        (RSA | {"alg": 5}, "text"),
        (RSA | {"kid": 5}, "text"),
        (EC | {"crv": "secp256k1"}, "curve"),
        (EC | {"crv": "P-384"}, "not a valid EC key"),
        (EC | {"x": b64(b"\x01" * 32)}, "not a valid EC key"),
        (EC | {"alg": "ES384"}, "not one this key can do"),
        ({"kty": "OKP", "crv": "Ed25519", "x": OTHER, "d": PRIVATE}, "not a valid OKP key"),
        ({"kty": "OKP", "crv": "Ed25519", "x": b64(b"short")}, "not a valid OKP key"),
        ({"kty": "OKP", "crv": "X25519", "x": OTHER}, "curve"),
        ({"kty": "oct", "k": ""}, "k is missing"),
        ({"kty": "oct"}, "k is missing"),
        (jwk(b"short"), "5 bytes"),
        (jwk(PEM), "not a valid oct key"),
    ],
)
def test_keys_that_verify_nothing(member: Any, says: str) -> None:
    """Weak, broken, meant for something else, or no key at all (J10, J14, J15)."""
    with pytest.raises(Unusable, match=says):
        read_key(member)


def test_private_parts_are_not_used() -> None:
    """A key set that was published with its private keys still only verifies."""
    private = ALGORITHMS["RS256"].to_jwk(private_key(), as_dict=True)
    private.pop("key_ops")

    assert key_set(private | {"p": "not a number"}).check(read(token())) is None


def test_bad_keys_of_a_set_are_left_out() -> None:
    """The others go on verifying, and why is said."""
    keys = key_set(jwk(b"short"), jwk(private_key()))

    assert [key.key_id for key in keys.keys] == ["k1"]
    assert [problem.partition(":")[0] for problem in keys.problems] == ["key 1"]
    assert list(described(keys)) == [
        {"kid": "k1", "kty": "RSA", "algorithms": sorted(keys.keys[0].algorithms)}
    ]


def test_a_set_without_usable_key_verifies_nothing() -> None:
    """That is said as Envoy says it."""
    assert key_set(jwk(b"short")).check(read(token())) is why.NO_VALID_KEYS


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": {}}', '{"keys": [], "keys": []}', "\ud800"])
def test_what_is_no_key_set(text: str) -> None:
    """A set is an object with a list of keys, each member once."""
    with pytest.raises(Unusable):
        read_keys(text)
