"""Routes that answer by themselves: redirects and direct responses.

Lifetime: config. A direct response is one reply made beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.http.path import escape_literal
from gateway.http.reply import NO_CLUSTER, Reply
from gateway.routing.rewrite import replace_matched

if TYPE_CHECKING:
    from gateway.config.http_actions import HTTPDirectResponse, HTTPRedirect
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.http.request import Request

Answer = Callable[["Request"], Reply]

_CODES = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}


def compile_direct_response(direct: HTTPDirectResponse) -> Answer:
    """Always the same reply."""
    body = bytes(direct.body.content) if direct.body is not None else b""
    reply = Reply(direct.status, body, details="direct_response")
    return lambda _: reply


def compile_redirect(redirect: HTTPRedirect, match: HTTPMatchRequest | None, *, port: int | None) -> Answer:
    """A reply with a Location made of the request and what the redirect changes.

    `port` is the Gateway server's, for `derivePort: FROM_REQUEST_PORT`; None takes the port the request came
    in on. A code that Envoy has no redirect for leaves a route without action: 503, as for a missing cluster.
    """
    code = redirect.redirect_code or 301
    if code not in _CODES:
        return lambda _: NO_CLUSTER
    place, path = _compile_place(redirect, port), _compile_path(redirect, match)

    def answer(request: Request) -> Reply:
        location = place(request) + path(request)
        return Reply(code, details="direct_response", headers=((b"location", location),))

    return answer


def _compile_path(redirect: HTTPRedirect, match: HTTPMatchRequest | None) -> Callable[[Request], bytes]:
    if redirect.uri and "?" in redirect.uri:
        fixed = escape_literal(redirect.uri)
        return lambda _: fixed
    if redirect.uri:
        path = escape_literal(redirect.uri)
        return lambda request: _with_query(path, request.query)
    if redirect.prefix_rewrite:
        change = replace_matched(redirect.prefix_rewrite, match)
        return lambda request: _with_query(change(request.path), request.query)
    return lambda request: _with_query(request.path, request.query)


def _with_query(path: bytes, query: bytes) -> bytes:
    return path + b"?" + query if query else path


def _compile_place(redirect: HTTPRedirect, port: int | None) -> Callable[[Request], bytes]:
    """`scheme://host[:port]`."""
    derived, explicit = redirect.derive_port == "FROM_REQUEST_PORT", redirect.port
    authority = redirect.authority.encode() if redirect.authority else None

    def place(request: Request) -> bytes:
        scheme = redirect.scheme or request.scheme
        number = (port or request.port) if derived else explicit
        host = authority if authority is not None else _host(request, scheme, keep_port=not number)
        suffix = b":%d" % number if number and number != _DEFAULT_PORTS.get(scheme) else b""
        return b"%s://%s%s" % (scheme.encode(), host, suffix)

    return place


def _host(request: Request, scheme: str, *, keep_port: bool) -> bytes:
    """The request's authority; its port goes when another is written or it is the old scheme's default."""
    host, colon, port = request.authority.rpartition(b":")
    if not colon or not port.isdigit():  # No port; or the colons of an IPv6 literal.
        return request.authority
    default = b"%d" % _DEFAULT_PORTS.get(request.scheme, 0)
    stale = scheme != request.scheme and port == default
    return request.authority if keep_port and not stale else host


def https_redirect(request: Request) -> Reply:
    """The answer of a server with `tls.httpsRedirect` to a plain request (Envoy keeps the Host's port)."""
    location = b"https://%s%s" % (request.authority, _with_query(request.path, request.query))
    return Reply(301, details="direct_response", headers=((b"location", location),))
