"""Heads of our own making: the request sent upstream, the replies sent downstream.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.exchange.facts import ExchangeFacts
from gateway.exchange.hygiene import CHUNKED

if TYPE_CHECKING:
    from gateway.exchange.exchange import Exchange, Parts
    from gateway.http.headers import Headers
    from gateway.http.reply import Reply
    from gateway.routing.route import Destination, Route


_ATTEMPT, _EXPECTED = b"x-envoy-attempt-count", b"x-envoy-expected-rq-timeout-ms"
_OF_ATTEMPT = frozenset({_ATTEMPT, _EXPECTED})
_FIRST_ATTEMPT = (_ATTEMPT, b"1")


def compose(exchange: Exchange, route: Route, destination: Destination) -> Parts:
    """What is sent upstream: header operations, then host, then path."""
    request = exchange.request
    headers = request.headers
    headers.append(_FIRST_ATTEMPT)
    patience = route.patience
    if patience is not None:
        headers.append((_EXPECTED, b"%d" % (patience * 1000.0)))
    if destination.request_ops is not None:
        headers = destination.request_ops.apply(headers, ExchangeFacts(exchange))
    path = request.path
    if route.rewrite is not None:
        path = route.rewrite(path)
        if path != request.path:
            original = request.path + b"?" + request.query if request.query else request.path
            headers.append((b"x-envoy-original-path", original))
    target = path + b"?" + request.query if request.query else path
    authority = destination.authority
    if authority is None:
        return target, request.authority, headers
    headers.append((b"x-envoy-original-host", request.authority))
    return target, authority, headers


def renumber(exchange: Exchange, route: Route, number: int) -> None:
    """Readies the parts of `exchange` for attempt `number`: the number, and the time that is left."""
    target, authority, headers = exchange.parts
    headers = [pair for pair in headers if pair[0] not in _OF_ATTEMPT]
    headers.append((_ATTEMPT, b"%d" % number))
    limits = [] if route.retries is None else [route.retries.per_try_timeout]
    if route.timeout is not None and exchange.deadline is not None:
        limits.append(max(exchange.deadline.left(exchange), 0.001))
    left = min((limit for limit in limits if limit is not None), default=None)
    if left is not None:
        headers.append((_EXPECTED, b"%d" % (left * 1000.0)))
    exchange.parts = target, authority, headers


def request_head(method: str, target: bytes, authority: bytes, headers: Headers, body: int) -> bytes:
    """The request head as sent: our own framing, the canonical target, every other header as decided."""
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method.encode("ascii"), target, authority)]
    lines += map(_COLON.join, headers)
    if body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif body >= 0:
        lines.append(b"content-length: %d" % body)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


_COLON = b": "


def reply_headers(reply: Reply, request_id: str, server: bytes) -> Headers:
    """Headers of an answer the gateway makes itself; the request id is on every one of them."""
    headers = list(reply.headers)
    if reply.body:
        names = {name for name, _ in headers}
        if b"content-type" not in names:
            headers.append((b"content-type", b"text/plain"))
    if reply.status != HTTPStatus.NOT_MODIFIED:  # It would be the length of what was not modified.
        headers.append((b"content-length", b"%d" % len(reply.body)))
    headers.append((b"x-request-id", request_id.encode("ascii")))
    if server:
        headers.append((b"server", server))
    if reply.close:
        headers.append((b"connection", b"close"))
    return headers
