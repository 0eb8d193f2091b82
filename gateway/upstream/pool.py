"""The connections of one cluster: who may open one, who waits, what lies idle, and when it is too much.

Lifetime: process. Shared by every generation of the cluster; the limits are the newest one's. As in Envoy
they are per cluster: a subset has its own.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from gateway.upstream.breaker import Breaker, breaker, overflow
from gateway.upstream.budget import RetryBudget
from gateway.upstream.cluster_config import UNLIMITED
from gateway.upstream.connect import open_connection
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.errors import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.tls import Origination
    from gateway.upstream.cluster_config import ClusterConfig
    from gateway.upstream.connection import Connection


class Pool:
    """Counts, endpoints and waiters of one cluster. Everything runs on the loop, so nothing locks."""

    __slots__ = (
        "_arrivals", "_former", "_leaving", "_waiting", "clock", "connections", "endpoints", "limit",
        "max_pending", "max_requests", "name", "open", "overflows", "pending", "retries", "tls",
    )  # fmt: skip

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.clock = clock
        self.endpoints: dict[tuple[str, int], Endpoint] = {}
        """In use, by address and port; retired ones are gone from here."""
        self.connections = 0
        """Open connections and those being opened, retired endpoints included."""
        self.open: set[Connection] = set()
        """The open ones."""
        self.pending = 0
        """Requests without a connection yet: one is being opened for them, or `limit` is reached."""
        self.overflows = 0
        """Requests refused because a limit was reached."""
        self.limit = UNLIMITED
        """`maxConnections`. As in Envoy an endpoint without any connection may always open one, or its
        requests would wait for other endpoints' connections that they cannot use."""
        self.max_pending = UNLIMITED
        """`http1MaxPendingRequests`: more are refused. As in Envoy a request counts while its connection is
        being opened, so a burst can overflow it far below `maxConnections`."""
        self.max_requests = UNLIMITED
        """`http2MaxRequests`: requests that hold a connection; more are refused when they get theirs."""
        self.retries = RetryBudget()
        """`maxRetries` or `retryBudget`."""
        self.tls: Origination | None = None
        """How connections are secured; None: plain text."""
        self._arrivals = self._waiting = 0
        self._former = 0
        """Attempts at endpoints that are retired."""
        self._leaving: list[Endpoint] = []

    def __repr__(self) -> str:
        return f"<Pool {self.name} connections {self.connections}, pending {self.pending}>"

    def endpoint(self, host: str, port: int) -> Endpoint:
        """The endpoint at this address: the same object as long as nobody retires it."""
        found = self.endpoints.get((host, port))
        if found is None:
            found = self.endpoints[host, port] = Endpoint(self, host, port)
        return found

    def retire(self, endpoint: Endpoint) -> None:
        """Forgets an endpoint; its connections close as they become idle."""
        self.endpoints.pop((endpoint.host, endpoint.port), None)
        endpoint.retire()
        self._former += endpoint.requests
        if endpoint.active:
            self._leaving.append(endpoint)

    def lease(self, endpoint: Endpoint, config: ClusterConfig) -> Connection | None:
        """A clean idle connection, the youngest first; None when there is none.

        Raises UpstreamError (UO) when `max_requests` hold a connection already.
        """
        idle = endpoint.idle
        while idle:
            if self.connections >= self.max_requests:
                self._admit()
            connection, _ = idle.popitem()
            if connection.enlist(config):
                endpoint.active += 1
                endpoint.requests += 1
                return connection
        return None

    async def connect(self, endpoint: Endpoint, config: ClusterConfig) -> Connection:
        """A connection for one request: a new one, or at the limit the first that comes free.

        Raises UpstreamError: UF when it cannot be opened, UO beyond `max_pending` or `max_requests`, SI when
        none came free for `stream_idle`.
        Cancelling it at any moment leaks nothing.
        """
        if self.pending >= self.max_pending:
            self.overflows += 1
            raise overflow()
        endpoint.active += 1
        endpoint.requests += 1
        self.pending += 1
        try:
            while True:
                connection: Connection | None = None
                if endpoint.idle:  # It came free since `lease` looked.
                    connection, _ = endpoint.idle.popitem()
                elif self._may_open(endpoint):
                    self._reserve(endpoint)
                else:
                    connection = await self._wait(endpoint, self.clock() + config.stream_idle)
                if connection is None:
                    connection = await self._open(endpoint, config)
                elif not connection.enlist(config):
                    continue
                if self.connections >= self.max_requests:
                    self._admit(connection)
                return connection
        except BaseException:
            endpoint.active -= 1
            raise
        finally:
            self.pending -= 1

    def _admit(self, connection: Connection | None = None) -> None:
        """Refuses a request when `max_requests` hold a connection; the one it was to get goes to the pool.

        Only asked when there are so many connections: counting is dear, and without them there cannot be.
        """
        if self.active() - self.pending >= self.max_requests:
            if connection is not None:
                connection.park()
            self.overflows += 1
            raise overflow()

    def active(self) -> int:
        """Requests that hold a connection, or are `pending`; retired endpoints included."""
        if self._leaving:
            self._leaving = [endpoint for endpoint in self._leaving if endpoint.active]
        busy = sum(endpoint.active for endpoint in self._leaving)
        return busy + sum(endpoint.active for endpoint in self.endpoints.values())

    def attempts(self) -> int:
        """All that ever were, retired endpoints included. Added up when asked, so that no request pays.

        May be asked from another thread.
        """
        return self._former + sum(endpoint.requests for endpoint in tuple(self.endpoints.values()))

    def try_retry(self) -> str:
        """Takes a place for a retry, to be given back with `retries.give_back()`: "", or what refuses it."""
        return self.retries.take(self.active(), self.attempts(), self.clock())

    def forgives(self) -> bool:
        """Whether a retry after a failed connect needs no place: no backend has seen the request, and some
        endpoint does accept connections. Only with the default budget; Envoy counts every retry.
        """
        share = self.retries.share
        opening = self.pending - self._waiting
        return share is not None and share.burst > 0.0 and self.connections > opening

    def breakers(self) -> Iterator[Breaker]:
        """Each limit, whether it is open, and what remains."""
        active, retries = self.active(), self.retries
        yield breaker("max_connections", self.connections, self.limit)
        yield breaker("max_pending_requests", self.pending, self.max_pending)
        yield breaker("max_requests", active - self.pending, self.max_requests)
        yield breaker("max_retries", retries.in_flight, retries.most(active))
        left = self.retries_left(active)
        if left is not None:
            yield Breaker("retries_over_time", left < 1, left)

    def retries_left(self, active: int) -> int | None:
        """How many retries may be begun now, however few are in flight; None: there is no such limit.

        May be asked from another thread.
        """
        retries = self.retries
        allowance = retries.allowance
        if allowance is None:
            return None
        return int(allowance.left(active, retries.begun(self.attempts()), self.clock()))

    async def _open(self, endpoint: Endpoint, config: ClusterConfig) -> Connection:
        """Opens a connection into a reserved slot."""
        try:
            connection = await open_connection(endpoint, config)
        except BaseException:
            self.free(endpoint)
            raise
        if connection.closed:  # Accepted and dropped at once: its slot has nobody to give it back.
            self.free(endpoint)
        else:
            self.join(connection)
        return connection

    async def _wait(self, endpoint: Endpoint, until: float) -> Connection | None:
        """The next clean connection of the endpoint, or None for a slot that is reserved now.

        Raises Stalled at the first `look` after `until`.
        """
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        endpoint.waiters[waiter] = self._arrivals, until
        self._waiting += 1
        try:
            return await waiter
        except asyncio.CancelledError:
            granted = waiter.done() and not waiter.cancelled() and waiter.exception() is None
            if granted:  # And cancelled in the same moment.
                connection = waiter.result()
                if connection is None:
                    self.free(endpoint)
                else:
                    connection.park()
            raise
        finally:
            endpoint.waiters.pop(waiter, None)
            self._waiting -= 1

    def hand_over(self, connection: Connection) -> bool:
        """Gives a clean connection to the first request waiting for its endpoint, if there is one."""
        waiter = _first(connection.endpoint)
        if waiter is None:
            return False
        waiter.set_result(connection)
        return True

    def join(self, connection: Connection) -> None:
        """Takes an open connection into a reserved slot."""
        connection.counted = True
        self.open.add(connection)

    def leave(self, connection: Connection) -> None:
        """Takes the slot of a connection back that has closed."""
        self.open.discard(connection)
        self.free(connection.endpoint)

    def free(self, endpoint: Endpoint) -> None:
        """Takes back the slot of a connection that closed or never opened."""
        self.connections -= 1
        endpoint.connections -= 1
        if self._waiting:
            self._grant(endpoint)

    def follow(self, config: ClusterConfig) -> None:
        """Takes over the limits of a new configuration."""
        self.max_pending = config.max_pending_requests
        self.max_requests = config.max_requests
        self.retries.follow(config.retry_budget, config.max_retries)
        self.set_limit(config.max_connections)

    def set_limit(self, limit: int) -> None:
        """Follows a reload; a raised limit lets waiting requests connect at once."""
        self.limit = limit
        while self._waiting and self.connections < limit and self._grant(None):
            pass

    def secure(self, tls: Origination | None) -> None:
        """Follows a change of credentials: a connection made with others gets no further request."""
        if tls != self.tls:
            self.tls = tls
            for endpoint in self.endpoints.values():
                for connection in tuple(endpoint.idle):
                    connection.close()

    def sweep(self, config: ClusterConfig) -> None:
        """Closes connections that were idle for too long, or are too old."""
        now = self.clock()
        unused_since = now - config.idle_timeout if config.idle_timeout is not None else -inf
        made_at = now - config.max_connection_duration if config.max_connection_duration is not None else -inf
        for endpoint in self.endpoints.values():
            for connection in tuple(endpoint.idle):
                if connection.idle_at <= unused_since or connection.opened_at <= made_at:
                    connection.close()
        self.look(now)

    def look(self, now: float) -> None:
        """Ends requests of which nothing moves: their response is awaited (`Connection.look`), or for
        `stream_idle` no connection came free.
        """
        for connection in tuple(self.open):
            connection.look(now)
        if self._waiting:
            for endpoint in (*self.endpoints.values(), *self._leaving):
                for waiter, (_, until) in endpoint.waiters.items():
                    if until <= now and not waiter.done():
                        waiter.set_exception(Stalled())

    def _may_open(self, endpoint: Endpoint) -> bool:
        return self.connections < self.limit or not endpoint.connections

    def _reserve(self, endpoint: Endpoint) -> None:
        self.connections += 1
        endpoint.connections += 1

    def _grant(self, endpoint: Endpoint | None) -> bool:
        """Lets one waiting request connect: of the freed endpoint if it has none left, else the oldest."""
        if endpoint is not None and not endpoint.connections and (waiter := _first(endpoint)) is not None:
            self._reserve(endpoint)
            waiter.set_result(None)
            return True
        if self.connections >= self.limit:
            return False
        waiting = [
            (item.waiters[waiter], waiter, item)
            for item in self.endpoints.values()
            if (waiter := _first(item)) is not None
        ]
        if not waiting:
            return False
        _, waiter, item = min(waiting, key=lambda entry: entry[0])
        self._reserve(item)
        waiter.set_result(None)
        return True


def _first(endpoint: Endpoint) -> asyncio.Future[Connection | None] | None:
    """The request that has waited longest and still waits; a finished future is only not yet cleaned up."""
    for waiter in endpoint.waiters:
        if not waiter.done():
            return waiter
    return None
