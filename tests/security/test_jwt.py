"""RequestAuthentication as a whole: who gets in, as whom, and what the backend sees."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import FakeClock
from support.routing import request
from support.token_check import TokenCheck, bearer
from support.tokens import NOW, b64, jwk, jwks, policy, private_key, raw, rule, token

from gateway.http.request import Request
from gateway.security.jwt import compile_jwt
from gateway.security.state import SecurityState

KEY_B = private_key("RSA", "b")
RULE_B = rule("https://b", jwks=jwks(jwk(KEY_B, "kb")))
GOOD = token()
FROM_B = token(KEY_B, "kb", iss="https://b", sub="bob")
FORGED = token(private_key("RSA", "mallory"))
EXPIRED = token(exp=NOW - 61)


CHECK = TokenCheck(rule())


def test_no_rule_is_no_check() -> None:
    """What is not configured costs nothing."""
    assert compile_jwt([], SecurityState()) is None
    assert compile_jwt([policy()], SecurityState()) is None


def test_a_request_without_token_passes_as_nobody() -> None:
    """That somebody must be there is for an AuthorizationPolicy to demand."""
    asked = request()

    assert (CHECK.ask(asked), asked.claims, asked.request_principal) == (None, None, "")


def test_a_verified_token_says_who_is_calling() -> None:
    """Claims and principal are there for policies and routes; the token goes no further."""
    asked = bearer(token(scope="read write", groups=["a"]))

    assert CHECK.ask(asked) is None
    assert asked.request_principal == "https://a/alice"
    assert asked.claims is not None
    assert (asked.claims["scope"], asked.claims["groups"]) == (["read", "write"], ["a"])
    assert (asked.headers, asked.header_map) == ([], {})


def test_a_principal_has_two_parts() -> None:
    """Without subject there is none, though the token is good."""
    asked = bearer(token(sub=...))

    assert CHECK.ask(asked) is None
    assert (asked.request_principal, asked.claims) == ("", {"iss": "https://a", "exp": NOW + 600})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"),
        ("a" * 10000 + ".b.c", "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"),
        ("e30.e30.AAAA", "401 Jwt header [alg] field is required and must be a string"),
        (FORGED, "401 Jwt verification fails"),
        (token(private_key("secret"), algorithm="HS256"), "401 Jwt verification fails"),
        (token(kid="k2"), "401 Jwks doesn't have key to match kid or alg from Jwt"),
        (token(iss="https://a/"), "401 Jwt issuer is not configured"),
        (token(iss="https://a.evil"), "401 Jwt issuer is not configured"),
        (token(iss="https:/"), "401 Jwt issuer is not configured"),
        (token(iss=""), "401 Jwt issuer is not configured"),
        (token(iss=...), "401 Jwt issuer is not configured"),
        (token(exp=NOW - 61), "401 Jwt is expired"),
        (token(exp=0), "401 Jwt is expired"),
        (token(exp=NOW - 60), "https://a/alice"),
        (token(exp=...), "https://a/alice"),
        (token(nbf=NOW + 61), "401 Jwt not yet valid"),
        (token(nbf=NOW + 60), "https://a/alice"),
        (token(iat=NOW + 9999), "https://a/alice"),
        (token(kid=None), "https://a/alice"),
    ],
)  # fmt: skip
def test_tokens_and_what_is_said_of_them(text: str, expected: str) -> None:
    """Envoy's words; clocks may differ by a minute, and issuers are equal or not (J12, J13)."""
    assert CHECK.says(text) == expected


def test_a_refusal_tells_the_client_how_to_authenticate() -> None:
    """The challenge names the address without its query; the log's details have no blanks."""
    asked = bearer(EXPIRED, '/a"b')
    asked.query = b"access_token=secret"
    refused = CHECK.ask(asked)

    assert refused is not None
    assert (refused.status, refused.flag, refused.close) == (401, None, False)
    reply = CHECK.ask(bearer(EXPIRED, '/a"b' + "c" * 300))
    assert reply is not None
    assert reply.details == "jwt_authn_access_denied{Jwt_is_expired}"
    realm = b'http://reviews/a\\"b' + b"c" * 252
    assert reply.headers == ((b"www-authenticate", b'Bearer realm="%b", error="invalid_token"' % realm),)
    assert not any(b"secret" in value for _, value in refused.headers)


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        ("api", "https://a/alice"),
        (["x", "api"], "https://a/alice"),
        ("https://web/", "https://a/alice"),
        ("http://web", "https://a/alice"),
        ("api2", "403 Audiences in Jwt are not allowed"),
        ([], "403 Audiences in Jwt are not allowed"),
        ("ap", "403 Audiences in Jwt are not allowed"),
        (..., "403 Audiences in Jwt are not allowed"),
    ],
)
def test_audiences(audience: Any, expected: str) -> None:
    """One of them must be ours; scheme and final slash do not count, as in Envoy."""
    assert TokenCheck(rule(audiences=["api", "https://web"])).says(token(aud=audience)) == expected


def test_a_token_may_be_forwarded() -> None:
    """Only when the rule says so."""
    asked = bearer(GOOD)
    asked.query = b"a=1"

    assert TokenCheck(rule(forwardOriginalToken=True)).answer(asked) == "https://a/alice"
    assert (asked.headers, asked.query) == ([(b"authorization", f"Bearer {GOOD}".encode())], b"a=1")


OUTPUTS = rule(
    outputPayloadToHeader="X-Payload",
    outputClaimToHeaders=[
        {"header": f"x-{name}", "claim": claim}
        for name, claim in (("user", "sub"), ("org", "org.name"), ("n", "n"), ("f", "f"), ("b", "b"), ("l", "l"))
    ],
)  # fmt: skip


def test_claims_become_headers() -> None:
    """Text, numbers, booleans, also nested; the payload as it came. Lists and objects do not."""
    text = token(org={"name": "Ä"}, n=-7, f=1.5, b=False, l=["x"])
    asked = bearer(text)

    assert TokenCheck(OUTPUTS).answer(asked) == "https://a/alice"
    assert asked.headers == [
        (b"x-payload", text.split(".")[1].encode()),
        (b"x-user", b"alice"),
        (b"x-org", "Ä".encode()),
        (b"x-n", b"-7"),
        (b"x-f", b"1.500000"),
        (b"x-b", b"false"),
    ]
    assert asked.header_map == dict(asked.headers)


def test_two_outputs_may_share_a_header() -> None:
    """Then it has two lines, and the request says so."""
    shared = {"outputPayloadToHeader": "x-a", "outputClaimToHeaders": [{"header": "X-A", "claim": "sub"}]}
    asked = bearer(GOOD)

    assert TokenCheck(rule(**shared)).ask(asked) is None
    assert asked.header_values(b"x-a") == [GOOD.split(".")[1].encode(), b"alice"]


@pytest.mark.parametrize("value", ["a\r\nx-admin: 1", "a\nb", "\x7f", "", " admin", "admin ", None, [], {}])
def test_claims_that_are_no_header_value_are_left_out(value: Any) -> None:
    """A claim never becomes a second header, nor one that is read as something else (J18)."""
    asked = bearer(token(n=value))

    assert TokenCheck(OUTPUTS).answer(asked) == "https://a/alice"
    assert {name for name, _ in asked.headers} == {b"x-payload", b"x-user"}


@pytest.mark.parametrize("sent", ["x-user", "X-Payload", "x_user", "x-org"])
@pytest.mark.parametrize("with_token", [True, False])
def test_a_client_cannot_write_what_only_we_may(sent: str, with_token: bool) -> None:
    """Its own copies go, also without token, also when the token has no such claim, also spelt for CGI."""
    asked = request(
        "/", {sent: "root", "x-other": "1"} | ({"authorization": f"Bearer {GOOD}"} if with_token else {})
    )

    assert TokenCheck(OUTPUTS).ask(asked) is None
    assert b"root" not in dict(asked.headers).values()
    assert b"root" not in asked.header_map.values()
    assert asked.header_map[b"x-other"] == b"1"


def test_a_client_s_copies_go_in_every_line() -> None:
    """And what is left is one line each again."""
    asked = request("/", [(b"x-user", b"a"), (b"x-user", b"b"), (b"y", b"1")])

    assert TokenCheck(OUTPUTS).ask(asked) is None
    assert (asked.headers, asked.repeated) == ([(b"y", b"1")], False)


def test_a_preflight_passes_without_token() -> None:
    """A browser sends none; still it writes no header of ours, and is nobody."""
    headers = {"origin": "https://web", "access-control-request-method": "GET", "x-user": "root"}
    asked = request("/", headers | {"authorization": f"Bearer {FORGED}"}, method="OPTIONS")

    assert TokenCheck(OUTPUTS).ask(asked) is None
    assert (asked.request_principal, b"x-user" in asked.header_map) == ("", False)


@pytest.mark.parametrize(
    "asked",
    [
        request("/", {"authorization": f"Bearer {FORGED}", "origin": "https://web"}, method="OPTIONS"),
        request(
            "/",
            {"authorization": f"Bearer {FORGED}", "origin": "a", "access-control-request-method": "GET"},
            method="GET",
        ),
    ],
)
def test_what_only_looks_like_a_preflight_is_checked(asked: Request) -> None:
    """OPTIONS alone, or its headers alone, are an ordinary request (J25)."""
    assert CHECK.answer(asked) == "401 Jwt verification fails"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, "https://a/alice"),
        (FROM_B, "https://b/bob"),
        (token(KEY_B, "kb", iss="https://b", exp=5), "401 Jwt is expired"),
        (EXPIRED, "401 Jwt is expired"),
        (token(KEY_B, "kb"), "401 Jwks doesn't have key to match kid or alg from Jwt"),
        (token(KEY_B, "kb", iss="https://a"), "401 Jwks doesn't have key to match kid or alg from Jwt"),
        (token(iss="https://b"), "401 Jwks doesn't have key to match kid or alg from Jwt"),
        (token(iss="https://c"), "401 Jwt issuer is not configured"),
    ],
)
def test_issuers_that_share_a_place(text: str, expected: str) -> None:
    """Each verifies its own tokens, with its own keys; the refusal tells what is most to the point."""
    check = TokenCheck(RULE_B, rule())

    assert check.says(text) == expected
    assert check.says(text) == expected


def test_a_token_of_the_second_issuer_is_remembered() -> None:
    """And not parsed for the first again and again."""
    check = TokenCheck(rule(), RULE_B)
    assert [check.says(FROM_B), check.says(FROM_B)] == ["https://b/bob"] * 2
    (_, second) = check.state.providers

    assert (second["cached_tokens"], second["cache_hits"]) == (1, 1)


A, B = ({"fromHeaders": [{"name": name}]} for name in ("x-a", "x-b"))
APART = (rule(**A), rule("https://b", jwks=RULE_B["jwks"], **B, forwardOriginalToken=True))


@pytest.mark.parametrize(
    ("headers", "expected", "left"),
    [
        ({"x-a": GOOD}, "https://a/alice", []),
        ({"x-b": FROM_B}, "https://b/bob", ["x-b"]),
        ({"x-a": GOOD, "x-b": FROM_B}, "https://a/alice", ["x-b"]),
        ({"x-a": GOOD, "x-b": FORGED}, "401 Jwt issuer is not configured", None),
        ({"x-a": FORGED, "x-b": FROM_B}, "401 Jwt verification fails", None),
        ({"x-a": FROM_B}, "401 Jwt issuer is not configured", None),
    ],
)
def test_issuers_with_places_of_their_own(
    headers: dict[str, str], expected: str, left: list[str] | None
) -> None:
    """Every token that some rule looks for must be good, whoever else is; the first issuer says who calls."""
    asked = request("/", headers)

    assert TokenCheck(*APART).answer(asked) == expected
    if left is not None:
        assert [name.decode() for name, _ in asked.headers] == left


def test_a_rule_without_issuer_takes_any() -> None:
    """Its keys are what counts."""
    check = TokenCheck(rule(None, jwks=jwks(jwk(private_key()))))

    assert check.says(token(iss="https://x")) == "https://x/alice"
    assert check.says(token(iss=...)) == ""
    assert check.says(token(KEY_B)) == "401 Jwt verification fails"


def test_lists_written_as_text() -> None:
    """`scope` and `permission` always, others when the rule says so; the payload header stays as signed."""
    asked = bearer(token(roles="a  b", scope="", permission=["x y"], other="a b"))

    assert TokenCheck(rule(spaceDelimitedClaims=["roles"])).ask(asked) is None
    assert asked.claims is not None
    assert [asked.claims[name] for name in ("roles", "scope", "permission", "other")] == [
        ["a", "b"],
        [],
        ["x y"],
        "a b",
    ]


def test_the_same_rule_is_one_issuer() -> None:
    """Also in two documents, also after a reload: what was verified stays verified."""
    state = SecurityState()
    for _ in range(3):
        check = compile_jwt([policy(rule()), policy(rule())], state, clock=FakeClock(NOW))
        assert check is not None
        assert check(bearer(GOOD), Random(1)) is None
    (known,) = state.providers

    assert (known["cached_tokens"], known["cache_hits"]) == (1, 2)


# -- never an exception ------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        GOOD,
        FORGED,
        EXPIRED,
        FROM_B,
        "Bearer ",
        "access_token=",
        "&",
        ";",
        "sid=",
        " ",
        ".",
        "%",
        '"',
        "é",
        ",",
    ]
)
EVERYWHERE = TokenCheck(
    OUTPUTS,
    RULE_B | {"fromHeaders": [{"name": "x-b"}], "fromParams": ["access_token"], "fromCookies": ["sid"]},
)


@settings(max_examples=200)
@given(*(st.lists(PIECES, max_size=5).map("".join) for _ in range(4)))
def test_any_mixture_gives_an_identity_or_a_refusal(auth: str, other: str, cookie: str, query: str) -> None:
    """Whatever stands where tokens may stand; and whoever gets in is somebody we know, or nobody."""
    headers = {"authorization": auth, "x-b": other, "cookie": cookie, "x-user": "root"}
    asked = request("/", [(name.encode(), value.encode()) for name, value in headers.items()], query=query)
    reply = EVERYWHERE.ask(asked)

    if reply is None:
        assert asked.request_principal in {"", "https://a/alice", "https://b/bob"}
        assert asked.query_value(b"access_token") is None
    else:
        assert reply.status == 401
    assert asked.header(b"x-user") in {None, b"alice"}


def test_refusals_say_nothing_of_the_token() -> None:
    """No part of it is in the body, the details or a header."""
    forged = raw(
        {"alg": "RS256", "kid": "s3cret"},
        json.dumps({"iss": "s3cret", "sub": "s3cret"}).encode(),
        KEY_B,
        "RS256",
    )
    reply = CHECK.ask(bearer(forged))

    assert reply is not None
    assert "s3cret" not in repr(reply)
    assert b64(b"s3cret") not in repr(reply)
