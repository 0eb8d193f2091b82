"""The client's side of an exchange: learning that it left, sending replies, cutting a response off.

Lifetime: request (plain functions over one exchange's ASGI callables).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.exchange.facts import ExchangeFacts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.exchange.exchange import Exchange
    from gateway.http.headers import Headers
    from gateway.http.reply import Reply

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]


class Aborted(Exception):  # noqa: N818 - tells the server to close, blames nobody
    """The response cannot be completed: the server must close the connection, never end it cleanly."""


def watch(exchange: Exchange, scope: dict[str, Any], receive: Receive) -> asyncio.Task[None] | None:
    """Sees to it that `exchange.client_gone` is called when the client leaves.

    Our own server calls back. On others only a pending `receive()` tells; the task that waits for it is
    returned and must be cancelled at the end. With a request body the upload does that waiting.
    """
    extensions = scope.get("extensions")
    connection = extensions.get("gateway") if extensions else None
    if connection is not None:
        connection.on_disconnect(exchange.client_gone)
        return None
    if not exchange.upload_done:
        return None
    return asyncio.get_running_loop().create_task(_wait_for_leaving(exchange, receive))


async def _wait_for_leaving(exchange: Exchange, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.client_gone()


def place(exchange: Exchange, scope: dict[str, Any]) -> None:
    """Notes both ends of the client's connection, and whether the server is ours."""
    exchange.local, exchange.peer = scope.get("server"), scope.get("client")
    exchange.stock = "gateway" not in (scope.get("extensions") or ())


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


def operated(exchange: Exchange, headers: Headers) -> Headers:
    """Response headers after the route's operations and CORS, for relayed answers and for our own alike."""
    exchange.response_headers = headers
    route = exchange.route
    if route is None:
        return headers
    chosen = exchange.destination
    operations = route.response_ops if chosen is None else chosen.response_ops
    if operations is not None:
        headers = operations.apply(headers, ExchangeFacts(exchange))
    if route.cors is not None:
        headers = route.cors(exchange.request, headers)
    return headers


async def send_reply(exchange: Exchange, send: Send, reply: Reply, headers: Headers) -> None:
    """Sends `reply`; a HEAD request gets no body."""
    exchange.status = reply.status
    exchange.details = reply.details
    if reply.flag is not None and reply.flag not in exchange.flags:
        exchange.flags = (*exchange.flags, reply.flag)
    exchange.response_headers = headers
    exchange.committed = True
    body = b"" if exchange.request.method == "HEAD" else reply.body
    exchange.bytes_sent = len(body)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
