"""Heads on the wire: the request head sent upstream, the response head sent downstream.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exchange.hygiene import CHUNKED, NO_BODY
from gateway.http.headers import HOP_BY_HOP

if TYPE_CHECKING:
    from gateway.http.headers import Headers

_RESPONSE_DROPPED = HOP_BY_HOP | {b"server", b"x-envoy-decorator-operation", b"x-envoy-upstream-service-time"}
MOST_REMEMBERED = 2048
_dropped: dict[bytes, bool] = dict.fromkeys(_RESPONSE_DROPPED, True)


def request_head(method: str, target: bytes, authority: bytes, headers: Headers, body: int) -> bytes:
    """The request head as sent: our own framing, the canonical target, every other header as decided."""
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method.encode("ascii"), target, authority)]
    lines += [name + b": " + value for name, value in headers]
    if body == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif body != NO_BODY:
        lines.append(b"content-length: %d" % body)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def for_stock_server(headers: Headers, status: int) -> Headers:
    """What a stock uvicorn can be given: it repeats `date` and `server`, and fails on a 304 with a length."""
    dropped = {b"date", b"server", b"content-length"} if status == 304 else {b"date", b"server"}
    return [pair for pair in headers if pair[0] not in dropped]


def response_headers(received: Headers, status: int, service_time: float, server: bytes) -> Headers:
    """The upstream's headers as the client may see them: hop-by-hop ones gone, ours added.

    `server` empty: the process adds none. A 204 has no content-length (RFC 9110 8.6).
    """
    sent: Headers = []
    nominated: list[bytes] | None = None
    for pair in received:
        name = pair[0]
        dropped = _dropped.get(name)
        if dropped is None:
            dropped = False
            if len(_dropped) < MOST_REMEMBERED:
                _dropped[name] = False
        if not dropped:
            sent.append(pair)
        elif name == b"connection":
            nominated = [word.strip().lower() for word in pair[1].split(b",")]
    if nominated is not None:
        sent = [pair for pair in sent if pair[0] not in nominated]
    if status == 204:
        sent = [pair for pair in sent if pair[0] != b"content-length"]
    sent.append((b"x-envoy-upstream-service-time", b"%d" % (service_time * 1000.0)))
    if server:
        sent.append((b"server", server))
    return sent
