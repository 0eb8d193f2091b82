"""RequestAuthentication: issuers, keys, and where tokens stand."""

from __future__ import annotations

import json
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import config_of, validated

from gateway.config import load
from gateway.config.request_authentication import check_url

HEAD = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: p}\nspec:\n  jwtRules:\n  - "
SECRET = "k" * 43
"""Of 32 bytes."""
RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}


def rule(text: str) -> list[tuple[str, int, int, str]]:
    """Findings of one JWT rule; its first line is line 1 and its first column 1."""
    found = validated(HEAD + textwrap.indent(textwrap.dedent(text), "    ")[4:])
    return [(code, line - 5, column - 4, severity) for code, line, column, severity, _ in found]


def jwks(document: object) -> list[tuple[str, int, int, str]]:
    return rule(f"jwks: '{json.dumps(document)}'")


def test_names_are_istio_s_in_snake_case() -> None:
    """Every field is read under its own name; a duration is seconds."""
    (policy,) = config_of(
        HEAD
        + """issuer: https://a
    audiences: [b]
    jwksUri: https://a/keys
    fromHeaders: [{name: x-jwt, prefix: "Token "}]
    fromParams: [token]
    fromCookies: [session]
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{header: x-group, claim: realm.group}]
    forwardOriginalToken: true
    timeout: 1s
    spaceDelimitedClaims: [roles]
"""
    ).request_authentications
    (read,) = policy.spec.jwt_rules

    assert (read.issuer, read.audiences, read.jwks_uri) == ("https://a", ("b",), "https://a/keys")
    assert (read.from_headers[0].name, read.from_headers[0].prefix) == ("x-jwt", "Token ")
    assert (read.from_params, read.from_cookies) == (("token",), ("session",))
    assert (read.output_payload_to_header, read.output_claim_to_headers[0].claim) == (
        "x-payload",
        "realm.group",
    )
    assert (read.forward_original_token, read.timeout) == (True, 1.0)
    assert read.space_delimited_claims == ("roles",)


def test_somebody_must_have_signed() -> None:
    """Without issuer and keys every token would do."""
    assert rule("audiences: [a]") == [("GW032", 1, 1, "error")]


def test_keys_need_a_place() -> None:
    """An issuer that is no URL has no discovery document; with keys it is fine."""
    assert rule("issuer: me") == [("GW068", 1, 9, "warning")]
    assert rule("issuer: me\njwksUri: http://localhost:8000/k") == []


@pytest.mark.parametrize(
    "url", ["ftp://a/k", "a/k", "https://", "https://a:0/", "https://a:x/", "https://u@a/k", "file:///k"]
)
def test_keys_are_fetched_over_http(url: str) -> None:
    """No other scheme, no file, no credentials."""
    assert rule(f"jwksUri: '{url}'") == [("GW067", 1, 10, "error")]


def test_there_is_one_source_of_keys() -> None:
    """jwks or jwksUri."""
    assert rule(f"jwksUri: https://a/k\njwks: '{json.dumps({'keys': [RSA]})}'") == [("GW040", 2, 7, "error")]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"keys": []},
        {"keys": [1]},
        {"keys": [{"kty": 1}]},
        {"keys": [{"kty": "RSA", "n": "A"}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "A"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519"}]},
        {"keys": [{"kty": "oct", "k": ""}]},
        [RSA],
    ],
)
def test_keys_without_material_are_refused(document: object) -> None:
    """An empty secret would verify what anybody signs."""
    assert jwks(document) == [("GW064", 1, 7, "error")]


def test_keys_are_json() -> None:
    """Text that is none, and text nested without end, are findings."""
    assert rule("jwks: '{'") == [("GW064", 1, 7, "error")]
    assert [item[0] for item in rule(f"jwks: '{'[' * 200_000}'")] == ["GW064"]


def test_private_keys_are_named() -> None:
    """A signing key in a policy is a warning; a shared secret has no public half."""
    assert jwks({"keys": [RSA, {**RSA, "d": "A"}]}) == [("GW065", 1, 7, "warning")]
    assert jwks({"keys": [{"kty": "oct", "k": SECRET}]}) == []


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({"k": SECRET[:-1]}, "a secret of 31 bytes; HS256 needs 32"),
        ({"k": SECRET, "alg": "HS384"}, "a secret of 32 bytes; HS384 needs 48"),
        ({"k": SECRET, "alg": "HS512"}, "a secret of 32 bytes; HS512 needs 64"),
        ({"k": SECRET, "alg": ["HS512"]}, ""),
        ({"k": SECRET + SECRET, "alg": "HS512"}, ""),
        ({"k": "c2VjcmV0"}, "a secret of 6 bytes"),
        ({"k": SECRET + "="}, "k is not base64url"),
        ({"k": "a secret of more than 32 bytes, as it is"}, "k is not base64url"),
    ],
)
def test_a_secret_is_as_long_as_its_hash(key: dict[str, object], says: str) -> None:
    """RFC 7518 3.2: a shorter one is found by trying, with one token and no question to anybody."""
    text = HEAD + f"jwks: '{json.dumps({'keys': [{'kty': 'oct', **key}]})}'\n"
    found = load([], texts={"f": text}).findings
    assert [(item.code, says in item.message, item.fatal) for item in found] == [
        ("GW064", True, True)
    ] * bool(says)


@pytest.mark.parametrize("header", ["Host", "content-length", "Transfer-Encoding", "connection"])
def test_a_claim_cannot_become_framing(header: str) -> None:
    """Headers that carry the message are not for what a token says."""
    found = rule(f"issuer: https://a\noutputClaimToHeaders:\n- header: {header}\n  claim: a")

    assert found == [("GW039", 3, 11, "error")]


def test_headers_of_claims_are_plain_words() -> None:
    """Istio's character set, each header once."""
    assert rule("issuer: https://a\noutputClaimToHeaders:\n- {header: a.b, claim: a}") == [
        ("GW039", 3, 12, "error")
    ]
    twice = "issuer: https://a\noutputClaimToHeaders:\n- {header: X-a, claim: a}\n- {header: x-A, claim: b}"
    assert rule(twice) == [("GW043", 4, 12, "error")]
    assert rule("issuer: https://a\noutputPayloadToHeader: 'a b'") == [("GW039", 2, 24, "error")]


def test_places_of_tokens_have_names() -> None:
    """An empty name is no place."""
    assert rule("issuer: https://a\nfromHeaders:\n- name: ''") == [("GW032", 3, 9, "error")]
    assert rule("issuer: https://a\nfromHeaders:\n- name: 'a b'") == [("GW039", 3, 9, "error")]
    assert rule("issuer: https://a\nfromParams: ['']") == [("GW032", 2, 14, "error")]


@given(st.text(alphabet=st.sampled_from("htps:/@.[]#?%a1 \\\n"), max_size=24))
@settings(max_examples=300)
def test_any_text_is_a_url_or_refused(text: str) -> None:
    """No text makes the check raise, and what passes has a scheme and a host."""
    if check_url(text) is None:
        assert text.lower().startswith(("http://", "https://"))
        assert "@" not in text.split("/")[2]
