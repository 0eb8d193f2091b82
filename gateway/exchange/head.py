"""Heads of our own making: the request sent upstream, the replies sent downstream.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exchange.hygiene import CHUNKED, NO_BODY

if TYPE_CHECKING:
    from gateway.http.headers import Headers
    from gateway.http.reply import Reply


def request_head(method: str, target: bytes, authority: bytes, headers: Headers, body: int) -> bytes:
    """The request head as sent: our own framing, the canonical target, every other header as decided."""
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method.encode("ascii"), target, authority)]
    lines += map(_COLON.join, headers)
    if body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif body != NO_BODY:
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
    headers.append((b"content-length", b"%d" % len(reply.body)))
    headers.append((b"x-request-id", request_id.encode("ascii")))
    if server:
        headers.append((b"server", server))
    if reply.close:
        headers.append((b"connection", b"close"))
    return headers
