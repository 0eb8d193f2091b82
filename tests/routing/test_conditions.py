"""Every field of HTTPMatchRequest."""

from __future__ import annotations

from typing import Any

import pytest
from support.routing import request

from gateway.config.http_match import HTTPMatchRequest
from gateway.http.request import Request
from gateway.routing.conditions import compile_conditions


def takes(match: dict[str, Any], asked: Request, *, port: int | None = None) -> bool:
    """Whether all conditions of a match entry hold."""
    return all(c.check(asked) for c in compile_conditions(HTTPMatchRequest.model_validate(match), port=port))


@pytest.mark.parametrize(
    "match",
    [None, {}, {"name": "x"}, {"uri": {"prefix": "/"}}, {"uri": {"regex": ".*"}}, {"uri": {"prefix": ""}}],
)
def test_a_match_of_everything_has_no_condition(match: dict[str, Any] | None) -> None:
    """What always holds costs nothing."""
    entry = None if match is None else HTTPMatchRequest.model_validate(match)

    assert compile_conditions(entry, port=None) == ()


@pytest.mark.parametrize(
    ("match", "asked", "expected"),
    [
        ({"uri": {"prefix": "/foo"}}, request("/foobar"), True),
        ({"uri": {"prefix": "/foo/"}}, request("/foo"), False),
        ({"uri": {"exact": "/foo"}}, request("/foo", query="q=1"), True),
        ({"uri": {"exact": "/foo"}}, request("/Foo"), False),
        ({"uri": {"exact": "/foo"}, "ignoreUriCase": True}, request("/FOO"), True),
        ({"uri": {"prefix": "/FOO"}, "ignoreUriCase": True}, request("/fooBar"), True),
        ({"uri": {"regex": "/foo"}, "ignoreUriCase": True}, request("/FOO"), False),
        ({"uri": {"regex": "/v[0-9]"}}, request("/v1/x"), False),
        ({"method": {"exact": "GET"}}, request(), True),
        ({"method": {"regex": "POST|PUT"}}, request(method="PUT"), True),
        ({"method": {"exact": "get"}}, request(), False),
        ({"scheme": {"exact": "https"}}, request(scheme="https"), True),
        ({"scheme": {"exact": "https"}}, request(), False),
        ({"authority": {"exact": "shop:80"}}, request(host="shop:80"), True),
        ({"authority": {"exact": "shop"}}, request(host="shop:80"), False),
        ({"authority": {"prefix": "shop"}}, request(host="Shop"), False),
    ],
)
def test_the_request_line_is_compared(match: dict[str, Any], asked: Request, expected: bool) -> None:
    """Path without query, method and authority as received; case counts unless told otherwise."""
    assert expected is takes(match, asked)


@pytest.mark.parametrize(
    ("headers", "sent", "expected"),
    [
        ({"X-V": {"exact": "1"}}, {"x-v": "1"}, True),
        ({"x-v": {"exact": "1"}}, {}, False),
        ({"x-v": {"exact": ""}}, {}, False),
        ({"x-v": {"exact": ""}}, {"x-v": ""}, True),
        ({"x-v": {}}, {"x-v": ""}, True),
        ({"x-v": {}}, {"x-w": "1"}, False),
        ({"x-v": {"prefix": "a"}, "x-w": {"exact": "b"}}, {"x-v": "ab", "x-w": "b"}, True),
        ({"x-v": {"prefix": "a"}, "x-w": {"exact": "b"}}, {"x-v": "ab"}, False),
        ({":method": {"exact": "GET"}, "host": {"exact": "reviews"}, ":path": {"exact": "/?a=1"}}, {}, True),
    ],
)
def test_headers_must_all_match(headers: dict[str, Any], sent: dict[str, str], expected: bool) -> None:
    """A missing header matches no value, not even the empty one; pseudo headers work as names."""
    assert expected is takes({"headers": headers}, request("/", sent, query="a=1"))


def test_one_line_of_a_repeated_header_is_enough() -> None:
    """Lines are not joined: Envoy compares each."""
    asked = request("/", [(b"x-v", b"a"), (b"x-v", b"b")])

    assert takes({"headers": {"x-v": {"exact": "a"}}}, asked)
    assert takes({"headers": {"x-v": {"exact": "b"}}}, asked)
    assert not takes({"headers": {"x-v": {"exact": "a,b"}}}, asked)
    assert not takes({"withoutHeaders": {"x-v": {"exact": "a"}}}, asked)


@pytest.mark.parametrize(
    ("without", "sent", "expected"),
    [
        ({"x-v": {}}, {}, True),
        ({"x-v": None}, {"x-v": ""}, False),
        ({"x-v": {"regex": "*"}}, {"x-v": "1"}, False),
        ({"x-v": {"exact": "1"}}, {"x-v": "2"}, True),
        ({"x-v": {"exact": "1"}}, {"x-v": "1"}, False),
        ({"x-v": {"exact": "1"}}, {}, True),
        ({"x-v": {"exact": ""}}, {}, False),
        ({"x-v": {"regex": "[0-9]*"}}, {}, False),
        ({"x-v": {"regex": ".*"}}, {}, False),
        ({"x-v": {"regex": ".*"}}, {"x-v": "1"}, False),
        ({":method": {"exact": "GET"}}, {}, False),
        ({":method": {"exact": "PUT"}}, {}, True),
    ],
)
def test_headers_to_be_without(without: dict[str, Any], sent: dict[str, str], expected: bool) -> None:
    """A missing header counts as an empty one, unless presence is asked for."""
    assert expected is takes({"withoutHeaders": without}, request("/", sent))


@pytest.mark.parametrize(
    ("wanted", "query", "expected"),
    [
        ({"q": {"exact": "1"}}, "q=1", True),
        ({"q": {"exact": "1"}}, "q=2&q=1", False),
        ({"q": {"exact": "a b"}}, "q=a%20b", False),
        ({"q": {"exact": "a%20b"}}, "q=a%20b", True),
        ({"a b": {"exact": "1"}}, "a%20b=1", False),
        ({"q": {"exact": "1"}}, "%71=1&q=1", True),
        ({"q": {"prefix": "v"}}, "x=1&q=v2", True),
        ({"q": {"regex": "[0-9]+"}}, "q=12", True),
        ({"q": {"regex": ".*2"}}, "q=1%0a2", True),
        ({"q": {}}, "q", True),
        ({"q": None}, "q=", True),
        ({"q": {"regex": "*"}}, "x=1", False),
        ({"q": {}}, "", False),
    ],
)
def test_query_parameters(wanted: dict[str, Any], query: str, expected: bool) -> None:
    """The first value of a name counts, as the client wrote it: escapes are not decoded."""
    assert expected is takes({"queryParams": wanted}, request(query=query))


def test_a_port_is_compared_where_no_gateway_says_it() -> None:
    """On a Gateway's listener it has been decided before."""
    assert takes({"port": 8080}, request(port=8080))
    assert not takes({"port": 80}, request(port=8080))
    assert compile_conditions(HTTPMatchRequest(port=80), port=80) == ()


class Verified(Request):
    """A request whose token was verified."""

    __slots__ = ("claims",)


def verified(claims: object) -> Verified:
    asked = Verified(
        "GET", "http", b"reviews", "reviews", b"/", b"", [(b"@request.auth.claims.group", b"admin")]
    )
    asked.claims = claims  # type: ignore[attr-defined]
    return asked


@pytest.mark.parametrize(
    ("name", "claims", "expected"),
    [
        ("@request.auth.claims.group", {"group": "admin"}, True),
        ("@request.auth.claims.group", {"group": ["dev", "admin"]}, True),
        ("@request.auth.claims.group", {"group": "administrator"}, False),
        ("@request.auth.claims.group", {"group": 1}, False),
        ("@request.auth.claims.group", {}, False),
        ("@request.auth.claims[realm][roles]", {"realm": {"roles": ["admin"]}}, True),
        ("@request.auth.claims.realm.roles", {"realm": "admin"}, False),
        ("@request.auth.claims.memberOf", {"memberOf": "admin", "memberof": "guest"}, True),
        ("@request.auth.claims.memberOf", {"memberof": "admin"}, False),
        ("@request.auth.claims[https://a.test/Roles]", {"https://a.test/Roles": ["admin"]}, True),
    ],
)
def test_claims_of_a_verified_token(name: str, claims: object, expected: bool) -> None:
    """The text of a claim, or membership in its list; a header of that name means nothing."""
    assert expected is takes({"headers": {name: {"exact": "admin"}}}, verified(claims))
    assert expected is not takes({"withoutHeaders": {name: {"exact": "admin"}}}, verified(claims))


def test_claims_never_match_before_a_token_was_verified() -> None:
    """A request that nobody looked at has no claims, whatever its headers say."""
    asked = request("/", {"@request.auth.claims.group": "admin"})

    assert not takes({"headers": {"@request.auth.claims.group": {"exact": "admin"}}}, asked)
    assert not takes({"headers": {"@request.auth.claims.group": {}}}, asked)


def test_conditions_read_like_the_configuration() -> None:
    """Explanations show the pattern as it is written."""
    match = HTTPMatchRequest.model_validate(
        {
            "uri": {"prefix": "/A"},
            "ignoreUriCase": True,
            "headers": {"user-agent": {"regex": ".*Chrome.*"}},
            "withoutHeaders": {"x-v": {}},
        }
    )

    assert [str(condition) for condition in compile_conditions(match, port=None)] == [
        'path prefix "/A" (any case)',
        'header user-agent regex ".*Chrome.*"',
        "header x-v not present",
    ]
