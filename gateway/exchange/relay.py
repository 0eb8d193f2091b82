"""Bytes through the gateway: the request body up, the response down, both at once.

Lifetime: request (plain functions over one exchange).

Backpressure is `await`: at most one chunk is in hand each way. The deadline of a route starts when the
client's request is complete (Envoy `timeout`), so an upload is not counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from gateway.exchange.downstream import operated
from gateway.exchange.exchange import ClientGone
from gateway.exchange.head import for_stock_server, response_headers
from gateway.exchange.hygiene import CHUNKED
from gateway.upstream.connection import CHUNKED as CHUNKED_BODY
from gateway.upstream.connection import NO_BODY, sized
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from gateway.exchange.downstream import Receive, Send
    from gateway.exchange.exchange import Exchange
    from gateway.upstream import Connection, ResponseHead


def start(exchange: Exchange, connection: Connection, head: bytes, body: int, receive: Receive) -> None:
    """Sends the head and, when there is a body, starts its upload beside the response."""
    if exchange.upload_done:
        connection.start(head, method=exchange.request.method, body=NO_BODY)
        return
    framing = CHUNKED_BODY if body == CHUNKED else sized(body)
    connection.start(head, method=exchange.request.method, body=framing)
    exchange.upload_task = asyncio.get_running_loop().create_task(_upload(exchange, connection, receive))


async def _upload(exchange: Exchange, connection: Connection, receive: Receive) -> None:
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                exchange.client_gone()
                return
            chunk = message.get("body", b"")
            if chunk:
                exchange.bytes_received += len(chunk)
                await connection.write(chunk)
            if not message.get("more_body", False):
                break
        connection.finish()
    except UpstreamError:
        return  # Whoever reads the response learns of it as well, and decides.
    exchange.upload_done = True
    start_deadline(exchange, time.monotonic())
    if not exchange.committed:
        # Servers that do not call back tell only a pending receive() that the client left.
        while (await receive())["type"] != "http.disconnect":
            pass
        exchange.client_gone()


def start_deadline(exchange: Exchange, now: float) -> None:
    """Starts the route's timeout: the client's request is complete."""
    exchange.waiting_since = now
    route = exchange.route
    if route is not None and route.timeout is not None and exchange.deadline is None:
        loop = asyncio.get_running_loop()
        exchange.deadline = loop.call_later(route.timeout, exchange.time_out)


async def response(
    exchange: Exchange, connection: Connection, head: ResponseHead, server: bytes, send: Send
) -> None:
    """Relays head and body; returns when the last byte was handed to the client's transport."""
    if exchange.gone:
        raise ClientGone
    headers = response_headers(head.headers, head.status, exchange.service_time, server)
    if exchange.set_cookie is not None:
        headers.append((b"set-cookie", exchange.set_cookie))
    exchange.status = head.status
    headers = operated(exchange, headers)
    if exchange.stock:
        headers = for_stock_server(headers, head.status)
    exchange.committed = True
    await send({"type": "http.response.start", "status": head.status, "headers": headers})
    while True:
        chunk = await connection.read()
        last = connection.complete
        exchange.bytes_sent += len(chunk)
        message: dict[str, Any] = {"type": "http.response.body", "body": chunk, "more_body": not last}
        await send(message)
        if last:
            return
        if exchange.gone:
            raise ClientGone


def close(exchange: Exchange, watcher: asyncio.Task[None] | None) -> None:
    """Ends the upstream side: a clean connection goes back to its pool, any other is closed."""
    if exchange.deadline is not None:
        exchange.deadline.cancel()
    if exchange.upload_task is not None:
        exchange.upload_task.cancel()
    if watcher is not None:
        watcher.cancel()
    end_attempt(exchange)


def end_attempt(exchange: Exchange) -> None:
    """Gives the connection back, once."""
    if exchange.leased and exchange.connection is not None:
        exchange.leased = False
        exchange.connection.release()
