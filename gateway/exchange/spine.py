"""The life of a request, on one screen. The numbers are those of `gateway/__init__.py`.

Lifetime: `Spine` is the process's; everything it makes dies with the request.

Only this module and the relay wait; every decision is a plain function elsewhere.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from gateway.exchange import relay
from gateway.exchange.deadlines import Deadlines
from gateway.exchange.downstream import Aborted
from gateway.exchange.exchange import ClientGone, Exchange, TimedOut
from gateway.exchange.facts import ExchangeFacts
from gateway.exchange.head import reply_headers, request_head
from gateway.exchange.hygiene import CHUNKED, NO_BODY, Hygiene, new_request_id
from gateway.http.flags import Flag
from gateway.http.reply import NO_CLUSTER, NO_HEALTHY_UPSTREAM, NO_ROUTE, UPSTREAM_TIMEOUT, Reply
from gateway.http.request import Request
from gateway.upstream.connection import CHUNKED as CHUNKED_BODY
from gateway.upstream.connection import NO_BODY as NO_UPLOAD
from gateway.upstream.connection import sized
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.exchange.downstream import Downstream
    from gateway.routing.route import Destination, Route
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Cluster, Connection, Endpoint


NO_UPLOADS = frozenset({NO_BODY, 0})
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
        self._deadlines = Deadlines(clock)

    async def serve(self, downstream: Downstream) -> None:
        """One request, from its head to its end."""
        started_at = self._clock()
        snapshot = self._snapshot()  # 1
        policy = self._policy
        if policy is None or policy.snapshot is not snapshot:
            policy = self._policy = Policy(snapshot)
        exchange = Exchange(
            snapshot, started_at, downstream.version, downstream.client, downstream.server, downstream.stock
        )
        try:
            reply = policy.hygiene.admit(exchange, downstream)  # 2
            if reply is not None:
                _crude(exchange, downstream)
            else:
                reply = self._decide(exchange, snapshot)  # 3, 4
                if reply is None:
                    reply = await self._forward(exchange, policy, downstream)  # 6 to 9
            if reply is not None:
                pause = self._reply(exchange, downstream, reply, policy)  # 10
                if pause is not None:
                    await pause
        except ClientGone:
            exchange.status, exchange.flags = 0, (*exchange.flags, Flag.CLIENT_GONE)
            exchange.details = "downstream_remote_disconnect"
        except Aborted:
            downstream.abort()
        finally:
            exchange.ended_at = self._clock()
            self._record(exchange)  # 11

    def _decide(self, exchange: Exchange, snapshot: Snapshot) -> Reply | None:
        """Steps 3 and 4: a reply of our own, or None when the exchange has its route and destination."""
        request = exchange.request
        listener = snapshot.listener(request.port)
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
        return NO_CLUSTER if destination.cluster is None else None

    async def _forward(  # noqa: C901, PLR0915 - the order of steps, in one place
        self, exchange: Exchange, policy: Policy, downstream: Downstream
    ) -> Reply | None:
        """Steps 6 to 9: attempts, until one has an answer that is relayed, or the reply when none has."""
        route, destination = exchange.route, exchange.destination
        assert route is not None
        assert destination is not None
        cluster = destination.cluster
        assert cluster is not None
        key = None
        if route.hash_key is not None:
            key = route.hash_key(exchange.request)
            if key is None and route.hash_cookie is not None:
                key, exchange.set_cookie = route.hash_cookie.make(self._rng)
        endpoint = exchange.endpoint = cluster.pick(key)  # 6
        if endpoint is None:
            return NO_HEALTHY_UPSTREAM
        exchange.upload_done = exchange.body in NO_UPLOADS
        downstream.on_disconnect(exchange.client_gone)
        try:
            head = self._request_head(exchange, route, destination)
            while True:
                exchange.attempt_at = self._clock()
                connection = cluster.lease(endpoint)
                if connection is None:
                    connection = await self._connect(exchange, route, cluster, endpoint, downstream)  # 7
                exchange.connection, exchange.leased = connection, True
                try:
                    self._send(exchange, route, connection, head, downstream)
                    response = await connection.response(downstream.resume)
                    break
                except UpstreamError as error:
                    if not _was_stale(exchange, connection, error):
                        raise
                    exchange.failure = error
                    self._next_attempt(exchange)
            exchange.service_time = self._clock() - exchange.waiting_since
            exchange.upstream_status = response.status
            try:
                if exchange.gone:
                    raise ClientGone
                chunk, last = connection.take(), connection.complete  # 8
                pause = relay.respond(exchange, downstream, response, policy.server, chunk, last)
                if not last:
                    await relay.rest(exchange, downstream, connection, pause)
                elif pause is not None:
                    await pause
            except UpstreamError as error:
                if exchange.gone:
                    raise ClientGone from None
                exchange.failure = error
                exchange.flags = (*exchange.flags, error.flag)
                exchange.details = error.details(started=True)
                raise Aborted from error
        except UpstreamError as error:
            exchange.failure = error
            return self._failed(exchange, error)
        finally:
            relay.close(exchange)  # 9
        return None

    def _send(
        self, exchange: Exchange, route: Route, connection: Connection, head: bytes, downstream: Downstream
    ) -> None:
        """Sends the request: its head now, its body, if there is one, beside the response."""
        if exchange.upload_done:
            connection.start(head, method=exchange.request.method, body=NO_UPLOAD)
            self._sent(exchange, route)
            return
        framing = CHUNKED_BODY if exchange.body == CHUNKED else sized(exchange.body)
        connection.start(head, method=exchange.request.method, body=framing)
        upload = relay.upload(exchange, connection, downstream, lambda: self._sent(exchange, route))
        exchange.upload_task = asyncio.get_running_loop().create_task(upload)

    def _sent(self, exchange: Exchange, route: Route) -> None:
        """The client's request is complete: the route's timeout starts, if it does not run already."""
        now = exchange.waiting_since = self._clock()
        if route.timeout is not None and exchange.deadline is None:
            exchange.deadline = self._deadlines.queue(route.timeout)
            exchange.deadline.start(exchange, now)

    async def _connect(
        self, exchange: Exchange, route: Route, cluster: Cluster, endpoint: Endpoint, downstream: Downstream
    ) -> Connection:
        """A connection when none is idle: the one place where only cancelling ends the wait."""
        if downstream.resume is not None:
            await asyncio.sleep(0)  # From here on a task runs us, so that it can be cancelled.
        if exchange.gone:
            raise ClientGone
        exchange.connection = None
        task = exchange.task = asyncio.current_task()
        if exchange.upload_done:
            self._sent(exchange, route)
        try:
            connection = await cluster.connect(endpoint)
        except asyncio.CancelledError:
            timed_out = exchange.deadline is not None and not exchange.deadline.running(exchange)
            if task is not None and (exchange.gone or timed_out):
                task.uncancel()
                if exchange.gone:
                    raise ClientGone from None
                raise TimedOut from None
            raise
        finally:
            exchange.task = None
        exchange.connected_at = self._clock()
        return connection

    def _next_attempt(self, exchange: Exchange) -> None:
        """Writes down the attempt that failed, and gives its connection back."""
        exchange.earlier = (*exchange.earlier, exchange.attempt(self._clock()))
        exchange.failure = None
        exchange.connected_at = 0.0
        connection = exchange.connection
        if exchange.leased and connection is not None:
            exchange.leased = False
            connection.release()

    def _request_head(self, exchange: Exchange, route: Route, destination: Destination) -> bytes:
        """The head sent upstream: header operations, then host, then path (semantics §3.6.5)."""
        request = exchange.request
        headers = request.headers
        headers.append(_FIRST_ATTEMPT)
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
        return request_head(request.method, target, authority, headers, exchange.body)

    def _failed(self, exchange: Exchange, error: UpstreamError) -> Reply:
        """Step 10's table for an exchange that got no answer."""
        if exchange.gone:
            raise ClientGone from None
        if isinstance(error, TimedOut):
            return UPSTREAM_TIMEOUT
        exchange.transport_failure = error.transport_failure
        headers = ((b"x-envoy-overloaded", b"true"),) if error.flag is Flag.UPSTREAM_OVERFLOW else ()
        return Reply(error.status, error.body, error.flag, error.details(), headers)

    def _reply(
        self, exchange: Exchange, downstream: Downstream, reply: Reply, policy: Policy
    ) -> Awaitable[None] | None:
        """Sends an answer of our own; a HEAD request gets no body."""
        exchange.status = reply.status
        headers = reply_headers(reply, exchange.request_id, b"" if exchange.stock else policy.server)
        headers = relay.operated(exchange, headers)
        exchange.details = reply.details
        if reply.flag is not None and reply.flag not in exchange.flags:
            exchange.flags = (*exchange.flags, reply.flag)
        exchange.committed = True
        body = b"" if exchange.request.method == "HEAD" else reply.body
        exchange.bytes_sent = len(body)
        return downstream.respond(reply.status, headers, body, last=True)


_FIRST_ATTEMPT = (b"x-envoy-attempt-count", b"1")


def _crude(exchange: Exchange, downstream: Downstream) -> None:
    """A request for the log, of a head that hygiene refused: as it came, cut to size."""
    raw, query = downstream.raw_path[:2048], downstream.query[:2048]
    exchange.request = Request(downstream.method, downstream.scheme, b"", "", raw or b"/", query, [])
    exchange.request.client_ip = downstream.client[0] if downstream.client else ""
    exchange.request_id = new_request_id()
    exchange.body = NO_BODY


def _was_stale(exchange: Exchange, connection: Connection, error: UpstreamError) -> bool:
    """Whether the backend closed an idle connection just as we wrote to it: then one fresh try is safe.

    Only without a byte of an answer, for an idempotent method, and without a body that is already spent.
    """
    return (
        connection.reused
        and error.flag is Flag.UPSTREAM_TERMINATION
        and exchange.upload_task is None
        and not exchange.gone
        and exchange.request.method in REPEATABLE
    )
