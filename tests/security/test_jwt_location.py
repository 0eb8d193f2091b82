"""Where tokens may stand, and that they are taken out again."""

from __future__ import annotations

from typing import Any

import pytest
from support.routing import request
from support.token_check import TokenCheck, bearer
from support.tokens import private_key, rule, token

from gateway.http.request import Request
from gateway.security.jwt import MOST_TOKENS

GOOD = token()
FORGED = token(private_key("RSA", "mallory"))
CHECK = TokenCheck(rule())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": f"bearer {GOOD}"}, ""),
        ({"authorization": f"BEARER {GOOD}"}, ""),
        ({"authorization": "Basic YTpi"}, ""),
        ({"authorization": "Bearer"}, ""),
        ({"authorization": GOOD}, ""),
        ({"authorization": f"Bearer   {GOOD}  "}, "https://a/alice"),
        ({"authorization": f"Basic YTpi, Bearer {GOOD}"}, "https://a/alice"),
        ({"authorization": f"Bearer {GOOD}, Bearer {GOOD}"}, "401"),
        ({"authorization": f"Bearer {GOOD} {GOOD}"}, "401"),
        ({"authorization": f'Bearer "{GOOD}"'}, "401"),
        ({"authorization": "Bearer !"}, "401"),
        ({"x-token": GOOD, "cookie": f"access_token={GOOD}"}, ""),
    ],
)
def test_bearer_headers(headers: dict[str, str], expected: str) -> None:
    """What is not `Bearer` is no token; after it stands exactly one (J17)."""
    assert CHECK.answer(request("/", headers)).startswith(expected)
    if not expected:
        assert CHECK.answer(request("/", headers)) == ""


def test_two_authorization_lines_must_both_be_good() -> None:
    """A backend might read either; and they are one person's."""
    lines = [(b"authorization", f"Bearer {text}".encode()) for text in (GOOD, FORGED)]

    assert CHECK.answer(request("/", lines)) == "401 Jwt verification fails"
    assert CHECK.answer(request("/", lines[::-1])) == "401 Jwt verification fails"
    other = [lines[0], (b"authorization", f"Bearer {token(sub='bob')}".encode())]
    assert CHECK.answer(request("/", other)) == "401 Found multiple Jwt tokens"
    same = request("/", [lines[0], lines[0], (b"x", b"1")])
    assert CHECK.answer(same) == "https://a/alice"
    assert same.headers == [(b"x", b"1")]


def test_many_tokens_are_not_looked_at() -> None:
    """Each costs a signature."""
    lines = [(b"authorization", f"Bearer {FORGED}".encode())] * (MOST_TOKENS + 1)

    assert CHECK.answer(request("/", lines)) == "401 Found multiple Jwt tokens"


@pytest.mark.parametrize(
    ("query", "expected", "rest"),
    [
        (f"access_token={GOOD}", "https://a/alice", ""),
        (f"b=%20+&access_token={GOOD}&a=&c", "https://a/alice", "b=%20+&a=&c"),
        (f"access%5Ftoken={GOOD.replace('.', '%2E')}&a", "https://a/alice", "a"),
        (f"x_access_token={GOOD}", "", f"x_access_token={GOOD}"),
        ("access_token=", "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections", None),
        (f"access_token={GOOD}&access_token={FORGED}", "401 Jwt verification fails", None),
        (f"access_token={FORGED}&access_token={GOOD}", "401 Jwt verification fails", None),
    ],
)  # fmt: skip
def test_a_token_in_the_query(query: str, expected: str, rest: str | None) -> None:
    """It is taken out, in whatever spelling; the other parameters stay as they are."""
    asked = request("/", query=query)

    assert CHECK.answer(asked) == expected
    if rest is not None:
        assert asked.query == rest.encode()


def test_a_bad_token_beside_a_good_one_is_refused() -> None:
    """Wherever each of them stands."""
    for first, second in ((GOOD, FORGED), (FORGED, GOOD)):
        asked = bearer(first)
        asked.query = f"access_token={second}".encode()
        assert CHECK.answer(asked) == "401 Jwt verification fails"


@pytest.mark.parametrize(
    "asked", [bearer(GOOD), request(query=f"access_token={GOOD}"), request("/", {"x-other": f"Token {GOOD}"})]
)
def test_named_places_replace_the_usual_ones(asked: Request) -> None:
    """A token elsewhere is nobody's business, and stays."""
    check = TokenCheck(rule(fromHeaders=[{"name": "X-Token", "prefix": "Token "}]))
    before = list(asked.headers), asked.query

    assert check.answer(asked) == ""
    assert (asked.headers, asked.query) == before


@pytest.mark.parametrize(
    ("places", "asked", "left"),
    [
        ({"fromHeaders": [{"name": "X-Token"}]}, request("/", {"x-token": GOOD}), []),
        ({"fromHeaders": [{"name": "X-T", "prefix": "T "}]}, request("/", {"x-t": f"T {GOOD}"}), []),
        ({"fromParams": ["t"]}, request("/", query=f"t={GOOD}"), []),
        (
            {"fromCookies": ["sid"]},
            request("/", {"cookie": f'a=b; sid="{GOOD}"'}),
            [(b"cookie", f'a=b; sid="{GOOD}"'.encode())],
        ),
    ],
)
def test_places(places: dict[str, Any], asked: Request, left: list[Any]) -> None:
    """Header, parameter, cookie; cookies are not taken apart."""
    assert TokenCheck(rule(**places)).answer(asked) == "https://a/alice"
    assert (asked.headers, asked.query) == (left, b"")


def test_every_cookie_of_the_name_is_read() -> None:
    """Backends disagree on which of two counts."""
    check = TokenCheck(rule(fromCookies=["sid"]))

    assert check.answer(request("/", {"cookie": f"sid={GOOD};sid={FORGED}"})) == "401 Jwt verification fails"
    assert check.answer(request("/", {"cookie": f"asid={FORGED}; sid={GOOD}"})) == "https://a/alice"
    assert check.answer(request("/", {"cookie": "a=b"})) == ""


def test_a_header_without_prefix_is_all_token() -> None:
    """Empty is a bad token, not none."""
    check = TokenCheck(rule(fromHeaders=[{"name": "x-token"}]))

    assert check.answer(request("/", {"x-token": ""})).startswith("401")
    assert check.answer(request("/", {"x-token": f"{GOOD},{GOOD}"})).startswith("401")
