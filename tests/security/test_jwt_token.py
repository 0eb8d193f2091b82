"""Reading tokens: strict, and never with an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tokens import NOW, b64, jwk, key_set, private_key, raw, token

from gateway.security import jwt_failure as why
from gateway.security.jwt_failure import Failure
from gateway.security.jwt_token import MOST_BYTES, Token, decode, encode, parse, read_object

HEAD = {"alg": "RS256"}
GOOD = token()


def read(header: Any = HEAD, payload: Any = b"{}") -> Token | Failure:
    """A token with these parts, read."""
    return parse(raw(header, payload, private_key(), "RS256").encode())


def test_a_token_is_read_into_its_parts() -> None:
    """Claims that decide are there by name; the payload is there as it came, too."""
    read = parse(token(aud=["a", "b"], nbf=5).encode())

    assert isinstance(read, Token)
    assert (read.algorithm, read.key_id, read.issuer, read.subject) == ("RS256", "k1", "https://a", "alice")
    assert (read.audiences, read.expires_at, read.valid_from) == (("a", "b"), NOW + 600, 5)
    assert json.loads(decode(read.payload_text) or b"") == read.payload


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a.b", GOOD + ".", "." + GOOD, GOOD.replace(".", "..", 1), GOOD + ".x.y", "a..b",
     GOOD.rpartition(".")[0] + ".", "." + GOOD.partition(".")[2]],
)  # fmt: skip
def test_a_token_has_three_parts(text: str) -> None:
    """Not two, not five (JWE), and none of them is empty."""
    assert parse(text.encode()) is why.FORM


def test_a_long_token_is_not_read() -> None:
    """Its length alone refuses it, before anything is decoded."""
    assert parse(b"a" * MOST_BYTES + b".b.c") is why.FORM
    assert read(HEAD | {"kid": "k" * 65536}) is why.FORM


@pytest.mark.parametrize(
    "text", [GOOD + "=", GOOD + " ", GOOD.replace(".", ".+", 1), "é." + GOOD[10:], GOOD[:-1] + "B"]
)
def test_base64url_is_canonical(text: str) -> None:
    """No padding, no blanks, no other alphabet: each token has one spelling."""
    assert isinstance(parse(text.encode()), Failure)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"[]", why.HEADER_JSON),
        (b"{", why.HEADER_JSON),
        (b'{"alg":"RS256","alg":"none"}', why.HEADER_JSON),
        (b'\xef\xbb\xbf{"alg":"RS256"}', why.HEADER_JSON),
        (b'{"alg":"\xff"}', why.HEADER_JSON),
        ({}, why.ALG_MISSING),
        ({"alg": 5}, why.ALG_MISSING),
        ({"alg": None}, why.ALG_MISSING),
        *(({"alg": name}, why.ALG_UNKNOWN) for name in ("none", "None", "NONE", "nOnE", "", "ES256K", "RS1", "rs256")),
        (HEAD | {"kid": 7}, why.KID_TYPE),
        (HEAD | {"kid": ["a"]}, why.KID_TYPE),
        (HEAD | {"crit": ["exp2"], "exp2": 1}, why.CRITICAL),
        (HEAD | {"crit": []}, why.CRITICAL),
        (HEAD | {"b64": False}, why.UNENCODED),
        (HEAD | {"b64": "true"}, why.UNENCODED),
        (HEAD | {"typ": "logout+jwt"}, why.OTHER_KIND),
        (HEAD | {"typ": "application/DPoP+jwt"}, why.OTHER_KIND),
    ],
)  # fmt: skip
def test_headers_that_are_refused(header: Any, expected: Failure) -> None:
    """An algorithm is named and known; nothing must be understood that is not (J01, J05, J06, J08, J19)."""
    assert read(header) is expected


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "jwt", "application/okta-internal-at+jwt", 5, None])
def test_ordinary_types_are_read(kind: Any) -> None:
    """`typ` names nothing that is not a credential."""
    assert isinstance(read(HEAD | {"typ": kind}), Token)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"[1]", "Jwt payload is an invalid JSON"),
        (b'{"sub":"a","sub":"b"}', "Jwt payload is an invalid JSON"),
        (b'{"a":{"b":1,"b":2}}', "Jwt payload is an invalid JSON"),
        (b'{"exp":1e400}', "Jwt payload is an invalid JSON"),
        (b'{"exp":NaN}', "Jwt payload is an invalid JSON"),
        (b'{"exp":' + b"9" * 5000 + b"}", "Jwt payload is an invalid JSON"),
        (b'{"sub":"a\\u0000b"}', "Jwt payload is an invalid JSON"),
        (b'{"a\\u0000b":1}', "Jwt payload is an invalid JSON"),
        (b'{"sub":"\\ud800"}', "Jwt payload is an invalid JSON"),
        (b'{"sub":"\xff"}', "Jwt payload is an invalid JSON"),
        (b'{"a":' + b"[" * 2500 + b"]" * 2500 + b"}", "Jwt payload is an invalid JSON"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "Jwt payload is an invalid JSON"),
        (b'{"iss":1}', "Jwt payload [iss] field is not a string"),
        (b'{"sub":{}}', "Jwt payload [sub] field is not a string"),
        (b'{"jti":1}', "Jwt payload [jti] field is not a string"),
        (b'{"exp":"1"}', "Jwt payload [exp] field is not an integer"),
        (b'{"exp":true}', "Jwt payload [exp] field is not an integer"),
        (b'{"exp":null}', "Jwt payload [exp] field is not an integer"),
        (b'{"exp":1.5}', "Jwt payload [exp] field is not an integer"),
        (b'{"exp":-1}', "Jwt payload [exp] field is not a positive 64 bit integer"),
        (b'{"exp":18446744073709551616}', "Jwt payload [exp] field is not a positive 64 bit integer"),
        (b'{"nbf":"x"}', "Jwt payload [nbf] field is not an integer"),
        (b'{"iat":"x"}', "Jwt payload [iat] field is not an integer"),
        (b'{"aud":5}', "Jwt payload [aud] field is not a string or string list"),
        (b'{"aud":["a",5]}', "Jwt payload [aud] field is not a string or string list"),
    ],
)
def test_payloads_that_are_refused(payload: bytes, text: str) -> None:
    """What two readers may read differently is read by none (J12, J16)."""
    failure = read(payload=payload)

    assert isinstance(failure, Failure)
    assert (failure.text, failure.status) == (text, 401)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(alphabet="aA1-_.=\n é", max_size=60).map(str.encode))
def test_nothing_makes_reading_raise(text: bytes) -> None:
    """Any bytes give a token or a failure."""
    assert isinstance(parse(text), Token | Failure)


@settings(max_examples=200)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(min_size=1, max_size=8))
def test_any_json_or_none_gives_a_token_or_a_failure(header: bytes, payload: bytes, signature: bytes) -> None:
    """Also when the parts are well encoded."""
    text = ".".join(map(b64, (header, payload, signature)))

    assert isinstance(parse(text.encode()), Token | Failure)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("iss", "sub", "exp", "nbf", "iat", "aud", "jti", "x"), JSON)
    )
)
def test_claims_of_any_type_give_a_token_or_a_failure(claims: dict[str, Any]) -> None:
    """A token that is read has claims of the types that decisions rely on."""
    made = raw(HEAD, json.dumps(claims).encode(), b"-" * 32, "HS256")
    read = parse(made.encode())
    if isinstance(read, Token):
        assert isinstance(read.issuer, str)
        assert isinstance(read.subject, str)
        assert type(read.valid_from) is int
        assert read.expires_at is None or type(read.expires_at) is int
        assert all(isinstance(audience, str) for audience in read.audiences)


KEYS = {
    name: (private_key(name), algorithm)
    for name, algorithm in (
        ("RSA", "RS256"), ("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512"), ("Ed25519", "EdDSA"),
        ("secret", "HS256"),
    )
}  # fmt: skip
SIGNED = {name: token(key, algorithm=algorithm) for name, (key, algorithm) in KEYS.items()}
SETS = {name: key_set(jwk(key)) for name, (key, _) in KEYS.items()}


@pytest.mark.parametrize("name", KEYS)
def test_each_kind_of_key_verifies_its_tokens(name: str) -> None:
    """And no other kind's."""
    for other, text in SIGNED.items():
        read = parse(text.encode())
        assert isinstance(read, Token)
        assert (SETS[name].check(read) is None) is (other == name)


@settings(max_examples=300)
@given(st.sampled_from(sorted(SIGNED)), st.data())
def test_a_token_with_one_character_changed_is_refused(name: str, data: Any) -> None:
    """Wherever that character stands, in whichever kind of token."""
    text = SIGNED[name]
    at = data.draw(st.integers(0, len(text) - 1))
    to = data.draw(st.sampled_from("ABCDabcd0189-_.=").filter(lambda char: char != text[at]))
    read = parse((text[:at] + to + text[at + 1 :]).encode())

    assert isinstance(read, Failure) or SETS[name].check(read) is not None


@settings(max_examples=100)
@given(st.binary(max_size=40))
def test_base64url_goes_there_and_back(value: bytes) -> None:
    """Every value has exactly one text; nothing is no value."""
    assert decode(encode(value)) == (value or None)


def test_an_object_is_read_once() -> None:
    """Members of the same name are refused at every depth; a list is no object."""
    assert read_object(b'{"a": {"b": 1}, "b": 1}') == {"a": {"b": 1}, "b": 1}
    assert read_object(b'{"a": [{"b": 1, "b": 1}]}') is None
    assert read_object(b"[]") is None
