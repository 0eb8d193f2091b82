"""Redirects and direct responses; Locations as Envoy 1.40 writes them."""

from __future__ import annotations

from typing import Any

import pytest
from support.routing import request

from gateway.config.http_actions import HTTPDirectResponse, HTTPRedirect
from gateway.config.http_match import HTTPMatchRequest
from gateway.http.request import Request
from gateway.routing.answers import compile_direct_response, compile_redirect, https_redirect

PREFIX = {"uri": {"prefix": "/old"}}


def location(
    redirect: dict[str, Any], asked: Request, match: dict[str, Any] | None = None, port: int | None = None
) -> str:
    """The Location of the answer."""
    entry = None if match is None else HTTPMatchRequest.model_validate(match)
    reply = compile_redirect(HTTPRedirect.model_validate(redirect), entry, port=port)(asked)
    ((name, value),) = reply.headers
    assert name == b"location"
    return value.decode()


@pytest.mark.parametrize(
    ("redirect", "host", "expected"),
    [
        ({"authority": "n.com"}, "h:81", "http://n.com/old/x?q=1"),
        ({"uri": "/new"}, "h:80", "http://h:80/new?q=1"),
        ({"uri": "/new?a=b"}, "h", "http://h/new?a=b"),
        ({"uri": "/a b\u00e9"}, "h", "http://h/a%20b%C3%A9?q=1"),
        ({"prefixRewrite": "/new"}, "h", "http://h/new/x?q=1"),
        ({"scheme": "https"}, "h", "https://h/old/x?q=1"),
        ({"scheme": "https"}, "h:80", "https://h/old/x?q=1"),
        ({"scheme": "https"}, "h:443", "https://h:443/old/x?q=1"),
        ({"scheme": "https"}, "h:81", "https://h:81/old/x?q=1"),
        ({"scheme": "https"}, "[::1]:80", "https://[::1]/old/x?q=1"),
        ({"scheme": "https"}, "[::1]", "https://[::1]/old/x?q=1"),
        ({"port": 8443}, "h", "http://h:8443/old/x?q=1"),
        ({"port": 8443}, "h:80", "http://h:8443/old/x?q=1"),
        ({"port": 8443}, "[::1]", "http://[::1]:8443/old/x?q=1"),
        ({"port": 80}, "h:8080", "http://h/old/x?q=1"),
        ({"port": 443, "scheme": "https"}, "h:8080", "https://h/old/x?q=1"),
        ({"derivePort": "FROM_REQUEST_PORT"}, "b", "http://b:85/old/x?q=1"),
        ({"derivePort": "FROM_PROTOCOL_DEFAULT", "uri": "/n"}, "b:85", "http://b:85/n?q=1"),
    ],
)
def test_a_redirect_changes_what_it_names(redirect: dict[str, Any], host: str, expected: str) -> None:
    """Everything else is the request's: path, query, host and its port."""
    assert expected == location(redirect, request("/old/x", query="q=1", host=host), PREFIX, port=85)


def test_without_gateway_the_port_is_the_one_the_request_came_in_on() -> None:
    """The listener without Gateway document may listen anywhere."""
    assert location({"derivePort": "FROM_REQUEST_PORT"}, request(port=8080)) == "http://reviews:8080/"
    assert location({"derivePort": "FROM_REQUEST_PORT"}, request(port=80)) == "http://reviews/"


@pytest.mark.parametrize(
    ("given", "code"), [({}, 301), ({"redirectCode": 0}, 301), ({"redirectCode": 307}, 307)]
)
def test_a_redirect_has_a_code(given: dict[str, int], code: int) -> None:
    """301 unless it says another; no body, and details as Envoy logs them."""
    reply = compile_redirect(HTTPRedirect.model_validate({"uri": "/x", **given}), None, port=None)(request())

    assert (code, b"", None, "direct_response") == (reply.status, reply.body, reply.flag, reply.details)


def test_an_upgrade_to_https_keeps_host_and_target() -> None:
    """With its port, even where that leads nowhere: so does Envoy."""
    reply = https_redirect(request("/a", query="b=1", host="h:80"))

    assert (reply.status, reply.headers) == (301, ((b"location", b"https://h:80/a?b=1"),))


@pytest.mark.parametrize(
    ("direct", "status", "body"),
    [
        ({"status": 503, "body": {"string": "caf\u00e9"}}, 503, "caf\u00e9".encode()),
        ({"status": 200, "body": {"bytes": "AAEC"}}, 200, b"\x00\x01\x02"),
        ({"status": 204}, 204, b""),
    ],
)
def test_a_direct_response_is_always_the_same(direct: dict[str, Any], status: int, body: bytes) -> None:
    """Made once, when the route is compiled."""
    answer = compile_direct_response(HTTPDirectResponse.model_validate(direct))
    reply = answer(request())

    assert (status, body, None, "direct_response") == (reply.status, reply.body, reply.flag, reply.details)
    assert reply is answer(request("/other"))
