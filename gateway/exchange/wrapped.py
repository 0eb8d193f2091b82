"""The spine of a gateway that stands in front of an application in the same process.

Lifetime: `WrappedSpine` is the process's; `AppDownstream` and `Caller` are a request's.

Two things differ from a gateway of its own. A request that no route takes goes to the application, once the
policies that are for every request have let it pass. And what the application raises reaches the server and
the middleware around us, as if we were not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.exchange import Exchange
from gateway.exchange.spine import Spine
from gateway.http.reply import NO_ROUTE, Reply
from gateway.upstream.app import AppConnection, Visit
from gateway.upstream.cluster_config import Resolution

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.exchange.downstream import Downstream, Receive, Send
    from gateway.exchange.spine import Policy
    from gateway.http.headers import Headers
    from gateway.http.peer import Peer
    from gateway.routing.listener import Listener
    from gateway.routing.route import Destination, Route
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Connection
    from gateway.upstream.app import Application

PASS = Reply(200, details="via_upstream")
"""No reply: the request is the application's own."""
_PASSED = "passed"
"""Marks its exchange, which nobody is told of."""
NOT_SUPPORTED = Reply(
    501, b"a WebSocket can only go to the wrapped application", details="websocket_elsewhere"
)


class Caller:
    """What the gateway knows of a request: Starlette's `request.state.gateway`."""

    __slots__ = ("client", "request", "request_id", "route")

    def __init__(self, exchange: Exchange) -> None:
        self.request = exchange.request
        """The canonical request, as policies saw it."""
        self.request_id = exchange.request_id
        self.route = exchange.route.name if exchange.route is not None else ""
        """Name of the route that took it; empty when it has none."""
        peer, address = exchange.place.client, self.request.client_ip
        port = peer[1] if peer is not None and peer[0] == address else 0
        self.client: tuple[str, int] | None = (address, port) if address else None
        """The trusted client; port 0 when it was read from x-forwarded-for."""

    @property
    def scheme(self) -> str:
        """`http` or `https`, as the trusted side sees it."""
        return self.request.scheme

    @property
    def peer(self) -> Peer | None:
        """The TLS side of the direct peer; None without TLS."""
        return self.request.peer

    @property
    def principal(self) -> str:
        """Who the client's certificate says it is (`cluster.local/ns/default/sa/sleep`); empty: nobody."""
        peer = self.request.peer
        return peer.principal if peer is not None and peer.verified else ""

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """Payload of the verified token; None: there was none."""
        return self.request.claims

    @property
    def request_principal(self) -> str:
        """`issuer/subject` of that token; empty: there was none."""
        return self.request.request_principal

    def __repr__(self) -> str:
        return f"<Caller {self.principal or self.request_principal or '-'} {self.request_id}>"


class AppDownstream(AsgiDownstream):
    """A client behind the server that called us; its request may still become the application's own."""

    __slots__ = ("_kept", "visit")

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.switches = False  # the application has no bytes to be spliced with
        self.visit = Visit(scope)
        self._kept: list[dict[str, Any]] = []
        """What was received while we waited for the client's leaving."""

    async def _wait_for_leaving(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            self._kept.append(message)
        self._kept.append(message)
        for callback in self._callbacks:
            callback()

    async def respond(self, status: int, headers: Headers, body: bytes, last: bool) -> None:
        """Starts the response, unless the application's exception will be what the server answers."""
        if self.visit.failure is None:
            await super().respond(status, headers, body, last)

    def abort(self) -> None:
        """The application's own exception cuts the client off as well, and says more."""
        if self.visit.failure is None:
            super().abort()

    async def hand_over(self, app: Application, path: bytes) -> None:
        """Makes the request the application's own, as the server gave it, but for a path that it could
        read otherwise than the policies did.
        """
        self.close()
        await app(with_path(self.visit.scope, self.raw_path, path), self._receive_again, self._send)

    async def _receive_again(self) -> dict[str, Any]:
        return self._kept.pop(0) if self._kept else await self._receive()


def with_path(scope: dict[str, Any], raw: bytes, path: bytes) -> dict[str, Any]:
    """`scope` itself when its path is the canonical one, else a copy with that."""
    if raw == path:
        return scope
    return {**scope, "path": unquote(path.decode("latin-1")), "raw_path": path}


class WrappedSpine(Spine):
    """Carries requests to the application as well as to upstreams."""

    def __init__(
        self, app: Application, snapshot: Callable[[], Snapshot], record: Callable[[Exchange], None]
    ) -> None:
        super().__init__(snapshot, self._note)
        self._app = app
        self._noted = record

    def _note(self, exchange: Exchange) -> None:
        if exchange.details is not _PASSED:
            self._noted(exchange)

    def _decide(self, exchange: Exchange, listener: Listener) -> Reply | None:
        reply = super()._decide(exchange, listener)
        return PASS if reply is NO_ROUTE and exchange.route is None else reply

    def _reply(
        self, exchange: Exchange, downstream: Downstream, reply: Reply, policy: Policy
    ) -> Awaitable[None] | None:
        if reply is PASS:
            assert isinstance(downstream, AppDownstream)
            exchange.details = _PASSED
            return downstream.hand_over(self._app, exchange.request.path)
        return super()._reply(exchange, downstream, reply, policy)

    def _send(self, exchange: Exchange, route: Route, connection: Connection) -> None:
        if isinstance(connection, AppConnection):
            connection.known = Caller(exchange)
        super()._send(exchange, route, connection)

    # -- WebSockets ----------------------------------------------------------------------------

    async def greet(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """A WebSocket: judged as the request that opens it, then the application's own."""
        snapshot = self._snapshot()
        policy = self._policy
        if policy is None or policy.snapshot is not snapshot:
            policy = self._follow(snapshot)
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        downstream = AppDownstream({**scope, "method": "GET", "scheme": scheme}, receive, send)
        exchange = Exchange(snapshot, self._clock(), downstream.place)
        reply = policy.hygiene.admit(exchange, downstream)
        if reply is None:
            reply = await self._judge_handshake(exchange, snapshot.listener(downstream.place.port))
        if reply is None:
            await self._app(with_path(scope, downstream.raw_path, exchange.request.path), receive, send)
        else:
            await _refuse(reply, scope, receive, send)

    async def _judge_handshake(self, exchange: Exchange, listener: Listener) -> Reply | None:
        """The refusal; None: it is the application's."""
        request = exchange.request
        if listener.gate is not None and (reply := await listener.gate(request)) is not None:
            return reply
        if (reply := super()._decide(exchange, listener)) is not None:
            return None if reply is NO_ROUTE and exchange.route is None else reply
        destination, route = exchange.destination, exchange.route
        if route is not None and route.answer is not None:
            return (await route.gate(request) if route.gate is not None else None) or route.answer(request)
        assert destination is not None
        if not _is_app(destination):
            return NOT_SUPPORTED
        if not exchange.waits:
            return None
        if destination.gate is not None and (reply := await destination.gate(request)) is not None:
            return reply
        return self._permit(request, destination.checks)


def _is_app(destination: Destination) -> bool:
    return destination.cluster is not None and destination.cluster.config.resolution is Resolution.APP


async def _refuse(reply: Reply, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Before it is accepted; a server without the extension answers 403, whatever the status."""
    await receive()
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        return
    headers = [*reply.headers, (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})
