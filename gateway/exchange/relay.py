"""Bytes through the gateway: the request body up, the response down, both at once.

Lifetime: request (plain functions over one exchange).

Backpressure is `await`: at most one chunk is in hand each way. The deadline of a route starts when the
client's request is complete (Envoy `timeout`), so an upload is not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exchange.downstream import UNKNOWN_LENGTH
from gateway.exchange.exchange import ClientGone
from gateway.exchange.facts import ExchangeFacts
from gateway.upstream.response import SIZED

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.http.headers import Headers
    from gateway.routing.header_ops import HeaderOps
    from gateway.routing.route import Route
    from gateway.upstream import ResponseHead


def respond(
    exchange: Exchange, downstream: Downstream, head: ResponseHead, server: bytes
) -> Awaitable[None] | None:
    """Starts the response downstream, with what has come of its body: the point of no return."""
    connection = exchange.connection
    assert connection is not None
    chunk, last = connection.take(), connection.complete
    exchange.complete = last
    headers = head.headers
    headers.append((b"x-envoy-upstream-service-time", b"%d" % (exchange.service_time * 1000.0)))
    if server:
        headers.append((b"server", server))
    if exchange.set_cookie is not None:
        headers.append((b"set-cookie", exchange.set_cookie))
    exchange.status = head.status
    exchange.response_head = head.size
    exchange.committed = True
    exchange.bytes_sent = len(chunk)
    destination, route = exchange.destination, exchange.route
    assert destination is not None
    assert route is not None
    if destination.response_ops is None and route.cors is None:
        exchange.response_headers = headers
        length = head.length if head.framing is SIZED else UNKNOWN_LENGTH
        return downstream.relay(head.status, headers, length, head.dated, chunk, last)
    return downstream.respond(head.status, operated(exchange, headers), chunk, last)


def untouched(exchange: Exchange) -> bool:
    """Whether the route leaves response headers as they are."""
    route = exchange.route
    return route is None or (_operations(exchange, route) is None and route.cors is None)


def operated(exchange: Exchange, headers: Headers) -> Headers:
    """Response headers after the route's operations and CORS, for relayed answers and for our own alike."""
    exchange.response_headers = headers
    route = exchange.route
    if route is None:
        return headers
    operations = _operations(exchange, route)
    if operations is not None:
        headers = operations.apply(headers, ExchangeFacts(exchange))
    if route.cors is not None:
        headers = route.cors(exchange.request, headers)
    exchange.response_headers = headers
    return headers


def _operations(exchange: Exchange, route: Route) -> HeaderOps | None:
    """The destination's, or the route's own before one is chosen."""
    chosen = exchange.destination
    return route.response_ops if chosen is None else chosen.response_ops


async def rest(exchange: Exchange, downstream: Downstream, pause: Awaitable[None] | None) -> None:
    """Relays the body behind its first piece; returns when its last byte was handed to the client."""
    connection = exchange.connection
    assert connection is not None
    while True:
        if pause is not None:
            await pause
        if exchange.gone:
            raise ClientGone
        chunk = await connection.read(downstream.resume)
        last = connection.complete
        exchange.bytes_sent += len(chunk)
        pause = downstream.send_body(chunk, last)
        if last:
            exchange.complete = True
            if pause is not None:
                await pause
            return


def close(exchange: Exchange) -> None:
    """Ends the upstream side of an exchange."""
    if exchange.deadline is not None:
        exchange.deadline.end(exchange)
    if exchange.upload is not None:
        exchange.upload.close()
        exchange.upload = exchange.uploaded = None
    if exchange.retries is not None:
        exchange.retries.close()
    end_attempt(exchange)


def end_attempt(exchange: Exchange) -> None:
    """Gives the connection back, once: a clean one goes to its pool, any other is closed."""
    if exchange.trial is not None:
        exchange.trial.end()
        exchange.trial = None
    connection = exchange.connection
    if exchange.leased and connection is not None:
        exchange.leased = False
        connection.resume = None  # Nobody is woken who is ending.
        connection.release()
