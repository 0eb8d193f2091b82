"""The life of a request, on one screen. The numbers are those of `gateway/__init__.py`.

Lifetime: `Spine` is the process's; everything it makes dies with the request.

Only this module and the relay wait; every decision is a plain function elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gateway.exchange import relay, tunnel
from gateway.exchange.answer import crude, failure, unrepeated
from gateway.exchange.deadlines import Deadlines
from gateway.exchange.deciding import Deciding
from gateway.exchange.downstream import Aborted
from gateway.exchange.exchange import ClientGone, Exchange
from gateway.exchange.head import compose, renumber, reply_headers, request_head
from gateway.exchange.hygiene import CHUNKED, NO_BODY, TUNNEL, Hygiene
from gateway.exchange.mirror import Shadows, wanted
from gateway.exchange.patience import patient
from gateway.exchange.replay import replay_for
from gateway.exchange.retry import Outcome, Retries, avoided
from gateway.exchange.trial import Trial
from gateway.exchange.tunnel import SWITCHED, Tunnels
from gateway.exchange.upload import Upload
from gateway.http.flags import Flag
from gateway.http.grpc import for_call, is_call
from gateway.http.parking import parked
from gateway.http.reply import ENDS_WITH_HEAD, NO_HEALTHY_UPSTREAM, Reply
from gateway.http.turn import Turn
from gateway.security.jwt_failure import Undecided
from gateway.upstream.connection import CHUNKED as CHUNKED_BODY
from gateway.upstream.connection import NO_BODY as NO_UPLOAD
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.exchange.downstream import Downstream
    from gateway.http.headers import Headers
    from gateway.http.request import Request
    from gateway.routing.route import Destination, Route
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Cluster, Connection, Endpoint, ResponseHead

    Check = Callable[[Request, random.Random], Reply | None]

T = TypeVar("T")

NO_UPLOADS = frozenset({NO_BODY, 0})


class Policy:
    """What the spine needs of a generation, compiled once: the snapshot, its hygiene, its server header."""

    __slots__ = ("hygiene", "mirror_credentials", "replay_bytes", "server", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        settings = snapshot.config.settings.spec
        self.snapshot = snapshot
        self.replay_bytes = settings.limits.replay_bytes
        self.mirror_credentials = settings.mirror_credentials
        self.hygiene = Hygiene(settings)
        self.server = settings.server_name.encode("latin-1")


class Spine(Deciding):
    """Carries requests from the client to an upstream and back."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        record: Callable[[Exchange], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(rng)
        self._snapshot = snapshot
        self._record = record
        self._clock = clock
        self._policy: Policy | None = None
        self._turn: Turn | None = None
        self._deadlines = Deadlines(clock)
        self.context: Callable[[Exchange, Headers, int], Headers] | None = None
        """Renews the trace context in the headers of a further attempt; None: nothing is traced."""
        self.shadows = Shadows(clock=clock)
        """Copies of requests, on their way to mirrors."""
        self.tunnels = Tunnels(self._deadlines, clock)
        """WebSockets to upstreams."""

    async def serve(self, downstream: Downstream) -> None:
        """One request, from its head to its end."""
        started_at = self._clock()
        snapshot = self._snapshot()  # 1
        policy = self._policy
        if policy is None or policy.snapshot is not snapshot:
            policy = self._follow(snapshot)
        exchange = Exchange(snapshot, started_at, downstream.place)
        try:
            reply = policy.hygiene.admit(exchange, downstream)  # 2
            if reply is not None:
                crude(exchange, downstream)
            else:
                listener = snapshot.listener(downstream.place.port)
                if listener.gate is not None:
                    reply = await patient(exchange, downstream, partial(listener.gate, exchange.request))
                if reply is None:
                    reply = self._decide(exchange, listener)  # 3, 4
                    if exchange.waits or type(reply) is Undecided:
                        reply = await self._decide_later(exchange, downstream, listener, reply)
                    if reply is None:
                        reply = await self._forward(exchange, policy, downstream)  # 4 to 9
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
            if downstream.resume is None or self._turn is None:
                self._record(exchange)  # 11
            else:
                self._turn.record(self._record, exchange)

    async def close(self, grace: float = 0.0) -> None:
        """Lets copies that are on their way finish for `grace` seconds, then ends them."""
        await self.shadows.close(grace)

    def _follow(self, snapshot: Snapshot) -> Policy:
        """Takes over a new generation."""
        limits = snapshot.config.settings.spec.limits
        self.shadows.most_copies, self.shadows.most_bytes = limits.mirror_copies, limits.mirror_bytes
        self.tunnels.most = limits.tunnels
        policy = self._policy = Policy(snapshot)
        self._turn = Turn.of(asyncio.get_running_loop())
        return policy

    async def _forward(  # noqa: C901, PLR0912 - the order of steps, in one place
        self, exchange: Exchange, policy: Policy, downstream: Downstream
    ) -> Reply | None:
        """Steps 6 to 9: attempts, until one has an answer that is relayed, or the reply when none has."""
        route, destination = exchange.route, exchange.destination
        assert route is not None
        assert destination is not None
        cluster = destination.cluster
        assert cluster is not None
        retried = route.retries
        try:
            key = self._prepare(exchange, policy, route, destination, downstream)  # 5
            while True:
                endpoint = cluster.pick(key, exchange.tried)  # 6
                if endpoint is None:
                    return NO_HEALTHY_UPSTREAM
                exchange.endpoint = endpoint
                exchange.attempt_at = self._clock()
                error = response = None
                try:
                    connection = cluster.lease(endpoint)  # 7
                    if connection is None:
                        connection = await self._connect(exchange, route, downstream, cluster, endpoint)
                    self._send(exchange, route, connection)
                    while (response := connection.arrived()) is None:
                        if (resume := downstream.resume) is None:
                            await connection.change()
                        else:
                            connection.resume = resume
                            await parked()
                    exchange.service_time = self._clock() - exchange.waiting_since
                    exchange.upstream_status = response.status
                except UpstreamError as caught:
                    # A traceback holds the frames it went through, and this one holds the error.
                    error = caught.with_traceback(None)
                if cluster.outlier is not None and not exchange.gone:
                    cluster.outlier.record(endpoint, exchange.upstream_status, error, self._clock())  # 9
                if response is not None and (
                    retried is None or not (response.grpc or response.status in retried.suspects)
                ):
                    break
                if not await self._again(exchange, route, cluster, downstream, response, error):
                    break
            if exchange.gone:
                raise ClientGone
            if response is None:
                return failure(exchange, error)
            if response.status == SWITCHED:
                await self._tunnel(exchange, downstream, cluster, response, policy)
                return None
            pause = relay.respond(exchange, downstream, response, policy.server)  # 8
            if not exchange.complete:
                await self._rest(exchange, downstream, cluster, pause)
            elif pause is not None:
                await pause
        except UpstreamError as ended:  # between two attempts: the timeout, or a body that became too long
            return failure(exchange, ended)
        finally:
            relay.close(exchange)
        return None

    def _prepare(
        self,
        exchange: Exchange,
        policy: Policy,
        route: Route,
        destination: Destination,
        downstream: Downstream,
    ) -> bytes | None:
        """What all attempts have in common; returns the key for consistent hashing."""
        if not exchange.watched:
            exchange.watched = True
            downstream.on_disconnect(exchange.client_gone)
        exchange.parts = compose(exchange, route, destination)
        mirrored = bool(route.mirrors) and wanted(route.mirrors, exchange.draw, destination.cluster)
        if exchange.body in NO_UPLOADS:
            if mirrored:
                self._mirror(exchange, policy, route, ())
        elif exchange.body == TUNNEL:
            exchange.upload = self.tunnels.begin()  # No copies: nobody would talk with a mirror.
        elif (
            0 < exchange.body <= policy.replay_bytes
            and (carried := downstream.whole_body())
            and len(carried) == exchange.body
        ):
            exchange.carried, exchange.bytes_received = carried, len(carried)
            if mirrored:
                self._mirror(exchange, policy, route, (carried,))
        else:
            length = None if exchange.body == CHUNKED else exchange.body
            replay = replay_for(
                route.retries, exchange.request.method, length, mirrored=mirrored, limit=policy.replay_bytes
            )
            exchange.upload = Upload(exchange, downstream.receive, replay)
            exchange.upload_done = False
            exchange.uploaded = partial(self._uploaded, exchange, policy, route, mirrored)
        if route.hash_key is None:
            return None
        key = route.hash_key(exchange.request)
        if key is None and route.hash_cookie is not None:
            key, exchange.set_cookie = route.hash_cookie.make(self._rng)
        return key

    def _send(self, exchange: Exchange, route: Route, connection: Connection) -> None:
        """Sends the request: its head now, its body, if there is one, beside the response."""
        exchange.connection, exchange.leased, exchange.reused = connection, True, connection.reused
        request, body, upload = exchange.request, exchange.body, exchange.upload
        head = request_head(request.method, *exchange.parts, body)
        exchange.request_head = len(head)
        if upload is None:
            message = head + exchange.carried if exchange.carried else head
            connection.start(message, method=request.method, body=NO_UPLOAD)
            self._sent(exchange, route)
            return
        connection.start(
            head, method=request.method, body=CHUNKED_BODY if body == CHUNKED else max(body, NO_UPLOAD)
        )
        if upload.complete:
            self._sent(exchange, route)
        upload.attach(connection)

    def _uploaded(self, exchange: Exchange, policy: Policy, route: Route, mirrored: bool) -> None:
        """The whole request body was read from the client."""
        self._sent(exchange, route)
        if mirrored and exchange.upload is not None:
            replay = exchange.upload.replay
            if replay is None:
                self.shadows.decline(route.mirrors, exchange.draw)
            else:
                self._mirror(exchange, policy, route, replay.chunks())

    def _mirror(self, exchange: Exchange, policy: Policy, route: Route, body: Sequence[bytes]) -> None:
        method = exchange.request.method
        exchange.mirrors = self.shadows.offer(
            route.mirrors,
            exchange.draw,
            request_head(method, *exchange.parts, exchange.body),
            body,
            method=method,
            timeout=route.timeout,
            credentials=policy.mirror_credentials,
        )

    def _sent(self, exchange: Exchange, route: Route) -> None:
        """The client's request is complete: the route's timeout starts, if it does not run already."""
        now = exchange.waiting_since = self._clock()
        if route.timeout is not None and exchange.deadline is None:
            exchange.deadline = self._deadlines.queue(route.timeout)
            exchange.deadline.start(exchange, now)
        retried = route.retries
        if retried is not None and retried.per_try_timeout is not None and exchange.leased:
            exchange.trial = Trial(exchange, self._deadlines.queue(retried.per_try_timeout), now)

    async def _connect(
        self, exchange: Exchange, route: Route, downstream: Downstream, cluster: Cluster, endpoint: Endpoint
    ) -> Connection:
        """A new connection, when none is idle. The route's timeout covers it."""
        exchange.connection = None
        if exchange.upload_done:
            self._sent(exchange, route)
        connection = await patient(exchange, downstream, lambda: cluster.connect(endpoint))
        exchange.connected_at = self._clock()
        return connection

    async def _again(
        self,
        exchange: Exchange,
        route: Route,
        cluster: Cluster,
        downstream: Downstream,
        response: ResponseHead | None,
        error: UpstreamError | None,
    ) -> bool:
        """After an attempt that failed: whether there is another; then it has waited, and all is ready."""
        exchange.failure = error
        if exchange.gone or (response is None and exchange.ended is not None):
            return False
        retries, upload = exchange.retries, exchange.upload
        if retries is None:
            retries = exchange.retries = Retries(route.retries, cluster.pool, exchange.request.method)
        connection = exchange.connection
        reused = exchange.leased and connection is not None and connection.reused
        verdict = retries.judge(
            Outcome(error=error, reused=reused)
            if response is None
            else Outcome(response.status, response.headers),
            replayable=upload is None or upload.replayable,
            untouched=not exchange.carried if upload is None else upload.untouched,
        )
        exchange.retries_denied = verdict.denied
        if verdict.denied:
            exchange.details = unrepeated(exchange.details, verdict.denied)
        if verdict.flag is not None:
            exchange.flags = (*exchange.flags, verdict.flag)
        if not verdict.again:
            return False
        ended = exchange.attempt(self._clock())
        exchange.earlier = (*exchange.earlier, ended._replace(stale=True) if verdict.at_once else ended)
        exchange.failure = None
        exchange.connected_at = 0.0
        exchange.reused = False
        exchange.upstream_status = 0
        if upload is not None:
            upload.pause()
        relay.end_attempt(exchange)
        exchange.tried = avoided(route.retries, exchange, cluster, retries.made)
        if not verdict.at_once:
            seconds = retries.wait(self._dice)
            await patient(exchange, downstream, lambda: asyncio.sleep(seconds))
        renumber(exchange, route, retries.made + 1)
        if self.context is not None:
            target, authority, headers = exchange.parts
            exchange.parts = target, authority, self.context(exchange, headers, retries.made + 1)
        return True

    async def _rest(
        self, exchange: Exchange, downstream: Downstream, cluster: Cluster, pause: Awaitable[None] | None
    ) -> None:
        """The body behind its first piece. What fails now can only be cut off."""
        if exchange.upload is not None:
            exchange.upload.forget()
        try:
            await relay.rest(exchange, downstream, pause)
        except UpstreamError as error:
            error.__traceback__ = None  # as in `_forward`
            if exchange.gone:
                raise ClientGone from None
            self._broken(exchange, cluster, error)
            raise Aborted from error

    async def _tunnel(
        self,
        exchange: Exchange,
        downstream: Downstream,
        cluster: Cluster,
        response: ResponseHead,
        policy: Policy,
    ) -> None:
        """What comes behind a 101, until both sides are gone."""
        try:
            await tunnel.run(exchange, downstream, response, policy.server, self.tunnels)
        except UpstreamError as error:
            if not exchange.committed:
                raise
            self._broken(exchange, cluster, error)
            raise Aborted from error

    def _broken(self, exchange: Exchange, cluster: Cluster, error: UpstreamError) -> None:
        """The upstream failed when its answer had begun."""
        exchange.failure = error
        exchange.flags = (*exchange.flags, error.flag)
        exchange.details = error.details(started=True)
        if cluster.outlier is not None and exchange.endpoint is not None and error is not exchange.ended:
            cluster.outlier.record(exchange.endpoint, exchange.upstream_status, error, self._clock())

    def _reply(
        self, exchange: Exchange, downstream: Downstream, reply: Reply, policy: Policy
    ) -> Awaitable[None] | None:
        """Sends an answer of our own; a HEAD request gets no body."""
        if is_call(exchange.request):
            reply = for_call(reply)
        exchange.status = reply.status
        exchange.details = reply.details
        if reply.flag is not None and reply.flag not in exchange.flags:
            exchange.flags = (*exchange.flags, reply.flag)
        headers = reply_headers(reply, exchange.request_id, b"" if exchange.place.stock else policy.server)
        ours = not (reply.headers or reply.close or reply.status in ENDS_WITH_HEAD)
        if reply.operated and not relay.untouched(exchange):
            headers, ours = relay.operated(exchange, headers), False
        exchange.response_headers = headers
        exchange.committed = True
        body = b"" if exchange.request.method == "HEAD" else reply.body
        exchange.bytes_sent = len(body)
        if ours:  # nothing in them that anybody else has written
            return downstream.relay(reply.status, headers, len(reply.body), False, body, last=True)
        return downstream.respond(reply.status, headers, body, last=True)
