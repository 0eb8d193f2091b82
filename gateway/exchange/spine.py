"""The life of a request, on one screen. The numbers are those of `gateway/__init__.py`.

Lifetime: `Spine` is the process's; everything it makes dies with the request.

Only this module and the relay wait; every decision is a plain function elsewhere.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from gateway.exchange import relay
from gateway.exchange.downstream import Aborted, operated, place, reply_headers, send_reply, watch
from gateway.exchange.exchange import ClientGone, Exchange, TimedOut
from gateway.exchange.facts import ExchangeFacts
from gateway.exchange.head import request_head
from gateway.exchange.hygiene import NO_BODY, Hygiene, new_request_id
from gateway.http.flags import Flag
from gateway.http.reply import NO_CLUSTER, NO_HEALTHY_UPSTREAM, NO_ROUTE, UPSTREAM_TIMEOUT, Reply
from gateway.http.request import Request
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.exchange.downstream import Receive, Send
    from gateway.exchange.hygiene import Admitted
    from gateway.routing.route import Destination, Route
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Connection


NO_UPLOAD = frozenset({NO_BODY, 0})


REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Idempotent methods (RFC 9110 9.2.2): to do it twice is to do it once."""


class Policy:
    """What the spine needs of a generation, compiled once: the snapshot, its hygiene, its server header."""

    __slots__ = ("hygiene", "server", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        settings = snapshot.config.settings.spec
        self.snapshot = snapshot
        self.hygiene = Hygiene(settings)
        self.server = settings.server_name.encode("latin-1")


class Spine:
    """Carries requests from the client to an upstream and back."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        record: Callable[[Exchange], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._record = record
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._policy: Policy | None = None
        self._draw = random.Random(self._rng.getrandbits(64)).getrandbits  # noqa: S311 - dice, not secrets

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request, from its head to its end."""
        started_at = self._clock()
        snapshot = self._snapshot()  # 1
        policy = self._policy
        if policy is None or policy.snapshot is not snapshot:
            policy = self._policy = Policy(snapshot)
        admitted = policy.hygiene.admit(scope)  # 2
        if isinstance(admitted, Reply):
            await self._refuse(scope, send, admitted, policy, started_at)
            return
        exchange = Exchange(
            admitted.request, admitted.request_id, f"HTTP/{scope['http_version']}", started_at
        )
        place(exchange, scope)
        try:
            reply = await self._answer(exchange, admitted, policy, scope, receive, send)
            if reply is not None:  # 10
                await self._reply(exchange, send, reply, policy)
        except ClientGone:
            exchange.status, exchange.flags = 0, (*exchange.flags, Flag.CLIENT_GONE)
            exchange.details = "downstream_remote_disconnect"
        finally:
            self._record(exchange)  # 11

    async def _answer(
        self,
        exchange: Exchange,
        admitted: Admitted,
        policy: Policy,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
    ) -> Reply | None:
        """Steps 3 to 9: a reply of our own, or None when an upstream's answer was relayed."""
        request = exchange.request
        listener = policy.snapshot.listener(request.port)
        if listener.https_redirect is not None and (redirect := listener.https_redirect(request)) is not None:
            return redirect
        route = exchange.route = listener.match(request)  # 3
        if route is None:
            return NO_ROUTE
        for check in route.checks:  # 4
            reply = check(request, self._rng)
            if reply is not None:
                return reply
        if route.answer is not None:
            return route.answer(request)
        destination = exchange.destination = route.choose(self._draw(32))
        cluster = destination.cluster
        if cluster is None:
            return NO_CLUSTER
        key = None
        if route.hash_key is not None:
            key = route.hash_key(request)
            if key is None and route.hash_cookie is not None:
                key, exchange.set_cookie = route.hash_cookie.make(self._rng)
        endpoint = exchange.endpoint = cluster.pick(key)  # 6
        if endpoint is None:
            return NO_HEALTHY_UPSTREAM
        exchange.upload_done = admitted.body in NO_UPLOAD
        return await self._forward(exchange, admitted.body, policy, scope, receive, send)

    async def _forward(
        self,
        exchange: Exchange,
        body: int,
        policy: Policy,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
    ) -> Reply | None:
        """Steps 7 to 9 for the endpoint that was picked; once more when its idle connection was stale."""
        route, destination, endpoint = exchange.route, exchange.destination, exchange.endpoint
        assert route is not None
        assert destination is not None
        assert endpoint is not None
        cluster = destination.cluster
        assert cluster is not None
        watcher = watch(exchange, scope, receive)
        try:
            idle = cluster.lease(endpoint)
            connection = idle or await self._connect(exchange, route, cluster, endpoint)  # 7
            exchange.connection, exchange.leased = connection, True
            head = self._request_head(exchange, route, destination, body)
            try:
                await self._attempt(exchange, connection, head, body, policy, receive, send)  # 7, 8
            except UpstreamError as error:
                if idle is None or not _was_stale(exchange, error):
                    raise
                relay.end_attempt(exchange)
                connection = await self._connect(exchange, route, cluster, endpoint)
                exchange.connection, exchange.leased = connection, True
                await self._attempt(exchange, connection, head, body, policy, receive, send)
        except UpstreamError as error:
            return self._failed(exchange, error)
        finally:
            relay.close(exchange, watcher)  # 9
        return None

    async def _connect(self, exchange: Exchange, route: Route, cluster: Any, endpoint: Any) -> Connection:
        """A connection when none is idle: the one place where only cancelling ends the wait."""
        exchange.task = asyncio.current_task()
        handle = None
        if route.timeout is not None and exchange.upload_done:
            handle = asyncio.get_running_loop().call_later(route.timeout, exchange.time_out)
        try:
            connection: Connection = await cluster.connect(endpoint)
        except asyncio.CancelledError:
            task = exchange.task
            if exchange.gone:
                if task is not None:
                    task.uncancel()
                raise ClientGone from None
            if handle is not None and handle.when() <= asyncio.get_running_loop().time():
                if task is not None:
                    task.uncancel()
                raise TimedOut from None
            raise
        finally:
            exchange.task = None
            if handle is not None:
                handle.cancel()
        return connection

    def _request_head(self, exchange: Exchange, route: Route, destination: Destination, body: int) -> bytes:
        """The head sent upstream: header operations, then host, then path (semantics §3.6.5)."""
        request = exchange.request
        headers = request.headers
        headers.append((b"x-envoy-attempt-count", b"1"))
        timeout = route.timeout
        if timeout is not None:
            headers.append((b"x-envoy-expected-rq-timeout-ms", b"%d" % (timeout * 1000.0)))
        if destination.request_ops is not None:
            headers = destination.request_ops.apply(headers, ExchangeFacts(exchange))
        path = request.path
        if route.rewrite is not None:
            path = route.rewrite(path)
            if path != request.path:
                original = request.path + b"?" + request.query if request.query else request.path
                headers.append((b"x-envoy-original-path", original))
        target = path + b"?" + request.query if request.query else path
        authority = request.authority if destination.authority is None else destination.authority
        return request_head(request.method, target, authority, headers, body)

    async def _attempt(  # noqa: PLR0913, PLR0917 - the parts of an exchange
        self,
        exchange: Exchange,
        connection: Connection,
        head: bytes,
        body: int,
        policy: Policy,
        receive: Receive,
        send: Send,
    ) -> None:
        """Sends the request, relays the response; raises UpstreamError while nothing is committed."""
        relay.start(exchange, connection, head, body, receive)
        if exchange.upload_done:
            relay.start_deadline(exchange, self._clock())
        response = await connection.response()
        exchange.service_time = self._clock() - exchange.waiting_since
        try:
            await relay.response(exchange, connection, response, policy.server, send)  # 8
        except UpstreamError as error:
            if exchange.gone:
                raise ClientGone from None
            exchange.flags = (*exchange.flags, error.flag)
            exchange.details = error.details(started=True)
            raise Aborted from error

    def _failed(self, exchange: Exchange, error: UpstreamError) -> Reply:
        """Step 10's table for an attempt that got no answer."""
        if exchange.gone:
            raise ClientGone from None
        if isinstance(error, TimedOut):
            return UPSTREAM_TIMEOUT
        exchange.transport_failure = error.transport_failure
        headers = ((b"x-envoy-overloaded", b"true"),) if error.flag is Flag.UPSTREAM_OVERFLOW else ()
        return Reply(error.status, error.body, error.flag, error.details(), headers)

    async def _reply(self, exchange: Exchange, send: Send, reply: Reply, policy: Policy) -> None:
        headers = reply_headers(reply, exchange.request_id, b"" if exchange.stock else policy.server)
        exchange.status = reply.status
        headers = operated(exchange, headers)
        await send_reply(exchange, send, reply, headers)

    async def _refuse(
        self, scope: dict[str, Any], send: Send, reply: Reply, policy: Policy, started_at: float
    ) -> None:
        """Answers what hygiene refused; the log shows the head as it came, cut to size."""
        raw = (scope.get("raw_path") or b"/")[:2048]
        request = Request(scope["method"], scope["scheme"], b"", "", raw, scope["query_string"][:2048], [])
        client = scope.get("client")
        request.client_ip = client[0] if client else ""
        exchange = Exchange(request, new_request_id(), f"HTTP/{scope['http_version']}", started_at)
        place(exchange, scope)
        try:
            await self._reply(exchange, send, reply, policy)
        finally:
            self._record(exchange)


def _was_stale(exchange: Exchange, error: UpstreamError) -> bool:
    """Whether the backend closed an idle connection just as we wrote to it: then one fresh try is safe.

    Only without a byte of an answer, for an idempotent method, and without a body that is already spent.
    """
    return (
        error.flag is Flag.UPSTREAM_TERMINATION
        and exchange.upload_task is None
        and not exchange.gone
        and exchange.request.method in REPEATABLE
    )
