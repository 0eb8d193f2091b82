"""Keys of consistent hashing, and the cookie that carries one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.routing import request

from gateway.config.load_balancer import ConsistentHashLB
from gateway.http.request import Request
from gateway.routing.hash_key import compile_hash_cookie, compile_hash_key


def policy(**fields: Any) -> ConsistentHashLB:
    return ConsistentHashLB.model_validate(fields)


COOKIE = {"httpCookie": {"name": "s", "ttl": "0s"}}


@pytest.mark.parametrize(
    ("fields", "asked", "expected"),
    [
        ({"httpHeaderName": "X-User"}, request("/", {"x-user": "ann"}), b"ann"),
        ({"httpHeaderName": "x-user"}, request("/"), None),
        ({"httpHeaderName": ":authority"}, request("/", host="shop:80"), b"shop:80"),
        ({"httpHeaderName": ":path"}, request("/a", query="b=1"), b"/a?b=1"),
        ({"useSourceIp": True}, request("/", client_ip="2001:db8::1"), b"2001:db8::1"),
        ({"useSourceIp": True}, request("/", client_ip=""), None),
        ({"httpQueryParameterName": "u"}, request("/", query="u=a%20b&u=c"), b"a%20b"),
        ({"httpQueryParameterName": "u"}, request("/"), None),
        (COOKIE, request("/", {"Cookie": "a=1; s=two; s=3"}), b"two"),
        (COOKIE, request("/", {"Cookie": 's="quoted=x"'}), b"quoted=x"),
        (COOKIE, request("/", [(b"cookie", b"a=1"), (b"cookie", b"s=2")]), b"2"),
        (COOKIE, request("/", {"Cookie": "s=; xs=1; s"}), None),
        (COOKIE, request("/"), None),
    ],
)
def test_the_key_is_what_the_policy_names(
    fields: dict[str, Any], asked: Request, expected: bytes | None
) -> None:
    """None where the request has it not: then any endpoint will do."""
    key = compile_hash_key(policy(**fields))

    assert key is not None
    assert expected == key(asked)


def test_the_order_of_repeated_lines_does_not_move_a_request() -> None:
    """One key for one set of values."""
    key = compile_hash_key(policy(httpHeaderName="x-user"))

    assert key is not None
    assert key(request("/", [(b"x-user", b"b"), (b"x-user", b"a")])) == key(
        request("/", [(b"x-user", b"a"), (b"x-user", b"b")])
    )


@pytest.mark.parametrize(
    ("cookie", "tail"),
    [
        ({"ttl": "0s"}, "; HttpOnly"),
        ({"ttl": "1h", "path": "/a"}, "; Max-Age=3600; Path=/a; HttpOnly"),
        (
            {"ttl": "1s", "attributes": [{"name": "SameSite", "value": "Lax"}, {"name": "Secure"}]},
            "; Max-Age=1; SameSite=Lax; Secure; HttpOnly",
        ),
    ],
)
def test_a_missing_cookie_is_made(cookie: dict[str, Any], tail: str) -> None:
    """The next request with it has the same key as this one."""
    chosen = policy(httpCookie={"name": "s", **cookie})
    maker, key = compile_hash_cookie(chosen), compile_hash_key(chosen)
    assert maker is not None
    assert key is not None

    value, header = maker.make(random.Random(7))

    assert f's="{value.decode()}"{tail}' == header.decode()
    assert value == key(request("/", {"Cookie": header.decode().partition(";")[0]}))
    assert value != maker.make(random.Random(8))[0]


@pytest.mark.parametrize("fields", [{"httpCookie": {"name": "s"}}, {"httpHeaderName": "x"}])
def test_without_ttl_no_cookie_is_made(fields: dict[str, Any]) -> None:
    """The policy only reads what others set."""
    assert compile_hash_cookie(policy(**fields)) is None
