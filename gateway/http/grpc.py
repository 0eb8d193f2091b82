"""gRPC as far as a gateway must know it: which requests are calls, and how they are refused.

Lifetime: config (constants) and plain functions. A call is answered with status 200 and a `grpc-status`; a
client that gets anything else cannot tell what happened (Envoy `sendLocalReply`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.http.reply import Reply
    from gateway.http.request import Request

UNKNOWN = 2
_STATUSES = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_CONTENT_TYPE = b"application/grpc"
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("%")}


def is_call(request: Request) -> bool:
    """Whether the request is a gRPC call: `application/grpc`, alone or with `+proto` and the like."""
    kind = request.header_map.get(b"content-type")
    return kind is not None and kind.startswith(_CONTENT_TYPE) and kind[16:17] in {b"", b"+"}


def grpc_status(status: int) -> int:
    """The gRPC status that stands for an HTTP status."""
    return _STATUSES.get(status, UNKNOWN)


def for_call(reply: Reply, status: int | None = None) -> Reply:
    """`reply` as a gRPC client understands it; `status`: a gRPC status to be told instead of its own.

    A reply that was made for a call stays as it is.
    """
    if any(name == b"grpc-status" for name, _ in reply.headers):
        return reply
    code = grpc_status(reply.status) if status is None else status
    headers = [(b"content-type", b"application/grpc"), (b"grpc-status", b"%d" % code)]
    if reply.body:
        headers.append((b"grpc-message", percent_encode(reply.body)))
    others = (pair for pair in reply.headers if pair[0] != b"content-type")
    return replace(reply, status=200, body=b"", headers=(*headers, *others))


def percent_encode(message: bytes) -> bytes:
    """A message as the `grpc-message` header carries it (gRPC over HTTP2, "Status-Message")."""
    return b"".join(b"%c" % byte if byte in _PLAIN else b"%%%02X" % byte for byte in message)
