"""Redaction: secrets never leave, what is needed to debug stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admin.redact import mark, redact

SECRET = "s3cr3t-v4lue"


@pytest.mark.parametrize(
    "document",
    [
        {"headers": {"request": {"set": {"authorization": f"Bearer {SECRET}"}}}},
        {"headers": {"request": {"add": {"X-Api-Key": SECRET}}}},
        {"headers": {"response": {"set": {"Set-Cookie": f"id={SECRET}"}}}},
        {"match": [{"headers": {"cookie": {"regex": f".*{SECRET}.*"}}}]},
        {"match": [{"queryParams": {"access_token": {"exact": SECRET}}}]},
        {"when": [{"key": "request.headers[x-auth-token]", "values": [SECRET]}]},
        {"when": [{"key": "request.headers[authorization]", "notValues": [SECRET]}]},
        {"jwksUri": f"https://user:{SECRET}@issuer.example/keys"},
        {"jwks": SECRET},
        {"jwks": json.dumps({"keys": [{"kty": "oct", "k": SECRET}]})},
        {"jwks": json.dumps({"keys": [{"kty": "RSA", "n": "public", "d": SECRET, "oth": [{"r": SECRET}]}]})},
        {"credential": {"inline": f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n"}},
        {"tls": {"privateKey": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n"}},
    ],
)
def test_a_credential_is_hidden_wherever_it_stands(document) -> None:
    """Header values, matches on them, policy conditions, keys and URLs."""
    shown = json.dumps(redact({"spec": document}))

    assert SECRET not in shown
    assert "[redacted sha256:" in shown


@pytest.mark.parametrize(
    "document",
    [
        {"headers": {"request": {"set": {"x-version": "v2"}, "remove": ["authorization"]}}},
        {"match": [{"headers": {"user-agent": {"regex": ".*Chrome.*"}}, "uri": {"prefix": "/token"}}]},
        {"corsPolicy": {"allowHeaders": ["authorization"], "allowCredentials": True}},
        {"jwtRules": [{"issuer": "a@b", "fromHeaders": [{"name": "authorization", "prefix": "Bearer "}]}]},
        {"tls": {"privateKey": "/etc/certs/key.pem", "credentialName": "edge-cert"}},
        {"jwksUri": "https://issuer.example/keys", "timeout": 10.0, "weight": 90, "nothing": None},
        {"when": [{"key": "request.auth.claims[group]", "values": ["admin"]}]},
    ],
)
def test_what_is_no_secret_stays_as_it_is(document) -> None:
    """A dump that hides routes, files and names helps nobody."""
    assert redact(document) == document


def test_public_keys_stay_readable() -> None:
    """The modulus tells which key is in use; only the private members go."""
    key = {"kty": "RSA", "kid": "1", "n": "AQAB", "e": "AQAB", "d": SECRET}
    shown = json.loads(redact({"jwks": json.dumps({"keys": [key]})})["jwks"])["keys"][0]

    assert shown == {**key, "d": mark(SECRET)}


def test_equal_secrets_look_equal_and_others_do_not() -> None:
    """That two routes send the same key can be seen without the key."""
    one, same, other = (redact({"authorization": text})["authorization"] for text in ("a", "a", "b"))

    assert (one == same, one == other) == (True, False)


words = st.text(max_size=20)
names = (
    st.sampled_from(["authorization", "x-api-key", "cookie", "jwks", "key", "values", "uri", "set"]) | words
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=150)
def test_any_document_can_be_redacted(document) -> None:
    """The shape stays: a dump is still JSON with the same keys."""
    shown = redact({"spec": document})

    assert json.loads(json.dumps(shown)).keys() == {"spec"}


@given(st.text(min_size=8, max_size=30).filter(lambda text: "redacted" not in text))
@settings(max_examples=100)
def test_no_secret_header_value_survives(secret) -> None:
    """Whatever the value is made of."""
    assert secret not in redact({"set": {"authorization": secret}})["set"]["authorization"]
