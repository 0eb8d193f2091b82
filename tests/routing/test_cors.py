"""CORS: who gets an answer to a preflight, and what responses are marked with (compared with Envoy 1.40)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.routing import request

from gateway.config.http_policies import CorsPolicy
from gateway.http.request import Request
from gateway.routing.cors import Cors

DICE = random.Random(1)
FULL = {
    "allowOrigins": [{"exact": "http://ok"}, {"prefix": "https://a."}, {"regex": "https://[a-z]+\\.test"}],
    "allowMethods": ["GET", "POST"],
    "allowHeaders": ["x-a", "x-b"],
    "exposeHeaders": ["x-e"],
    "maxAge": "1m",
    "allowCredentials": True,
}


def cors(**changes: Any) -> Cors:
    return Cors(CorsPolicy.model_validate({**FULL, **changes}))


def preflight(origin: str = "http://ok", **more: str) -> Request:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x-z",
    }
    return request("/", {**headers, **more}, method="OPTIONS")


def short(pairs: Any) -> dict[str, str]:
    """Header values by the interesting end of their names."""
    return {name.decode().removeprefix("access-control-"): value.decode() for name, value in pairs}


def test_an_allowed_preflight_is_answered_here() -> None:
    """The origin is echoed, the rest is the policy's."""
    reply = cors().preflight(preflight(), DICE)

    assert reply is not None
    assert (reply.status, reply.body, reply.details, reply.operated) == (200, b"", "cors_response", False)
    assert short(reply.headers) == {
        "allow-origin": "http://ok",
        "allow-credentials": "true",
        "allow-methods": "GET,POST",
        "allow-headers": "x-a,x-b",
        "max-age": "60",
        "expose-headers": "x-e",
    }


def test_a_star_echoes_what_is_asked_for() -> None:
    """Never a star: with credentials browsers would not take it."""
    reply = cors(allowOrigins=[{"exact": "*"}], allowMethods=["*"], allowHeaders=["*"]).preflight(
        preflight("http://any"), DICE
    )

    assert reply is not None
    found = short(reply.headers)
    assert (
        found["allow-origin"],
        found["allow-methods"],
        found["allow-headers"],
    ) == ("http://any", "PUT", "x-z")


@pytest.mark.parametrize(
    "asked",
    [
        preflight("http://bad"),
        request("/", {"Origin": "http://ok"}, method="OPTIONS"),
        request("/", {"Access-Control-Request-Method": "PUT"}, method="OPTIONS"),
        request("/", {"Origin": "http://ok", "Access-Control-Request-Method": "PUT"}),
    ],
)
def test_everything_else_goes_to_the_upstream(asked: Request) -> None:
    """Foreign origins too, unless the policy says IGNORE."""
    assert cors().preflight(asked, DICE) is None


def test_unmatched_preflights_may_be_answered_without_permission() -> None:
    """IGNORE: 200 without allow-origin, so the browser refuses."""
    reply = cors(unmatchedPreflights="IGNORE").preflight(preflight("http://bad"), DICE)

    assert reply is not None
    assert {"allow-credentials", "allow-methods", "allow-headers", "max-age"} == short(reply.headers).keys()


@pytest.mark.parametrize("origin", ["http://ok", "https://a.b", "https://xyz.test"])
def test_responses_for_allowed_origins_are_marked(origin: str) -> None:
    """Over what the upstream said; the rest of its headers stays."""
    upstream = [
        (b"access-control-allow-origin", b"*"),
        (b"access-control-allow-methods", b"X"),
        (b"x-up", b"1"),
    ]

    marked = cors().mark(request("/", {"Origin": origin}), upstream)

    assert short(marked) == {
        "allow-origin": origin,
        "allow-credentials": "true",
        "expose-headers": "x-e",
        "allow-methods": "X",
        "x-up": "1",
    }
    assert upstream[0] == (b"access-control-allow-origin", b"*")


def test_what_the_policy_does_not_set_is_the_upstreams() -> None:
    """Without allowCredentials and exposeHeaders those of the upstream pass."""
    upstream = [(b"access-control-allow-credentials", b"true"), (b"access-control-expose-headers", b"x-up")]
    marked = cors(allowCredentials=False, exposeHeaders=[]).mark(
        request("/", {"Origin": "http://ok"}), upstream
    )

    assert short(marked) == {
        "allow-origin": "http://ok",
        "allow-credentials": "true",
        "expose-headers": "x-up",
    }


@pytest.mark.parametrize("headers", [{}, {"Origin": ""}, {"Origin": "http://bad"}, {"Origin": "xhttp://ok"}])
def test_other_responses_pass_unchanged(headers: dict[str, str]) -> None:
    """No origin, or one that is not allowed: the upstream's own headers stay."""
    upstream = [(b"access-control-allow-origin", b"up")]

    assert cors().mark(request("/", headers), upstream) is upstream


def test_the_deprecated_list_counts_when_the_new_one_is_empty() -> None:
    """`allowOrigin` holds exact origins, or a star."""
    policy = CorsPolicy.model_validate({"allowOrigin": ["http://old"]})

    assert Cors(policy).mark(request("/", {"Origin": "http://old"}), []) == [
        (b"access-control-allow-origin", b"http://old")
    ]
    assert Cors(CorsPolicy()).mark(request("/", {"Origin": "http://old"}), []) == []
