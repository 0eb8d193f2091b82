"""Pools: reuse, limits, waiting, and counts that always return to zero."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend, dead_port
from support.clock import FakeClock
from support.upstreams import GET, ask, cluster_of, failure, only, settled

from gateway.http.flags import Flag
from gateway.upstream import NO_BODY, Cluster, ClusterConfig, Connection, Endpoint, UpstreamError
from gateway.upstream.connect import open_connection

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def counts(cluster: Cluster) -> tuple[int, int, int, int]:
    """Connections and pending requests of the pool; active requests and waiters of its endpoints."""
    endpoints = cluster.endpoints
    return (
        cluster.pool.connections,
        cluster.pool.pending,
        sum(endpoint.active for endpoint in endpoints),
        sum(len(endpoint.waiters) for endpoint in endpoints),
    )


def test_the_youngest_idle_connection_is_used_first() -> None:
    """LIFO: what the load does not need any more ages out instead of being kept warm in turn."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            first, second = await cluster.acquire(endpoint), await cluster.acquire(endpoint)
            first.release()
            second.release()
            assert cluster.lease(endpoint) is second
            assert cluster.lease(endpoint) is first
            assert cluster.lease(endpoint) is None
            assert endpoint.active == 2
            first.abort()
            second.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


@pytest.mark.parametrize("cancelled", [False, True])
def test_nobody_waits_for_a_connection_for_ever(cancelled: bool) -> None:
    """As long as for a silent backend; nothing is left behind, also when the client leaves just then."""

    async def main() -> None:
        clock = FakeClock()
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, clock=clock, max_connections=1, stream_idle=10.0)
            endpoint = only(cluster)
            taken = await cluster.acquire(endpoint)
            waiting = asyncio.ensure_future(cluster.connect(endpoint))
            await settled(lambda: bool(endpoint.waiters))
            clock.advance(9.9)
            cluster.pool.sweep(cluster.config)
            await asyncio.sleep(0)
            assert not waiting.done()
            clock.advance(0.1)
            cluster.pool.sweep(cluster.config)
            if cancelled:
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            else:
                with pytest.raises(UpstreamError) as caught:
                    await waiting
                assert caught.value.flag == Flag.STREAM_IDLE_TIMEOUT
            assert counts(cluster) == (1, 0, 1, 0)
            taken.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_idle_connections_close_after_their_time() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, clock=clock, idle_timeout=60.0)
            endpoint = only(cluster)
            old, young = await cluster.acquire(endpoint), await cluster.acquire(endpoint)
            old.release()
            clock.advance(30.0)
            young.release()
            clock.advance(29.0)
            cluster.pool.sweep(cluster.config)
            assert list(endpoint.idle) == [old, young]
            clock.advance(1.0)
            cluster.pool.sweep(cluster.config)
            assert list(endpoint.idle) == [young]
            assert counts(cluster)[0] == 1
            await (await backend.link()).closed()
            young.close()

    asyncio.run(main())


def test_without_an_idle_timeout_connections_are_kept() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, clock=clock, idle_timeout=None)
            connection = await cluster.acquire(only(cluster))
            connection.release()
            clock.advance(1e9)
            cluster.pool.sweep(cluster.config)
            assert list(only(cluster).idle) == [connection]
            connection.close()

    asyncio.run(main())


def test_old_connections_close_when_they_are_idle() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, clock=clock, max_connection_duration=10.0)
            endpoint = only(cluster)
            old = await cluster.acquire(endpoint)
            clock.advance(5.0)
            young = await cluster.acquire(endpoint)
            young.release()
            old.release()
            clock.advance(5.0)
            cluster.pool.sweep(cluster.config)
            assert list(endpoint.idle) == [young]
            young.close()

    asyncio.run(main())


def test_beyond_max_connections_requests_wait_in_order_and_share() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            done: list[int] = []

            async def request(number: int) -> None:
                connection = await cluster.acquire(endpoint)
                try:
                    assert await ask(connection) == (200, b"hello")
                    done.append(number)
                finally:
                    connection.release()

            await asyncio.gather(*(request(number) for number in range(6)))
            assert done == list(range(6))
            assert len(backend.links) == 1
            assert counts(cluster) == (1, 0, 0, 0)
            assert endpoint.requests == 6

    asyncio.run(main())


def test_a_closed_connection_lets_the_next_request_open_one() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            waiting = asyncio.ensure_future(cluster.acquire(endpoint))
            await settled(lambda: cluster.pool.pending == 1)
            first.abort()
            second = await waiting
            assert second is not first
            assert not second.reused
            second.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_connection_that_dies_while_it_is_handed_over_is_not_used() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            waiting = asyncio.ensure_future(cluster.acquire(endpoint))
            await settled(lambda: cluster.pool.pending == 1)
            first.release()
            first.connection_lost(None)
            second = await waiting
            assert second is not first
            second.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_connection_that_dies_on_its_way_to_a_cancelled_request_is_forgotten() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            waiting = asyncio.ensure_future(cluster.acquire(endpoint))
            await settled(lambda: cluster.pool.pending == 1)
            first.release()
            first.connection_lost(None)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert list(endpoint.idle) == []
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_connection_that_closed_while_it_was_opened_takes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop may tell of the close before the one who opens it runs again."""

    async def open_and_lose(endpoint: Endpoint, config: ClusterConfig) -> Connection:
        connection = await open_connection(endpoint, config)
        connection.connection_lost(None)
        return connection

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            monkeypatch.setattr("gateway.upstream.pool.open_connection", open_and_lose)
            cluster = cluster_of(backend.port, max_connections=1)
            for _ in range(3):
                connection = await cluster.acquire(only(cluster))
                connection.release()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_an_endpoint_without_connections_may_always_open_one() -> None:
    """As in Envoy: its requests could not use the connections that other endpoints hold."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as one, RecordingBackend(HELLO) as other:
            cluster = cluster_of(one.port, other.port, max_connections=1)
            connections = [await cluster.acquire(endpoint) for endpoint in cluster.endpoints]
            assert cluster.pool.connections == 2
            for connection in connections:
                connection.abort()

    asyncio.run(main())


def test_a_free_slot_goes_to_the_request_that_waited_longest() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as one, RecordingBackend(HELLO) as other:
            cluster = cluster_of(one.port, other.port, max_connections=3)
            a, b = cluster.endpoints
            held = [await cluster.acquire(endpoint) for endpoint in (a, a, b)]
            on_b = asyncio.ensure_future(cluster.acquire(b))
            await settled(lambda: cluster.pool.pending == 1)
            on_a = asyncio.ensure_future(cluster.acquire(a))
            await settled(lambda: cluster.pool.pending == 2)
            held.pop(0).abort()
            held.append(await on_b)
            assert not on_a.done()
            held.pop(0).abort()
            held.append(await on_a)
            for connection in held:
                connection.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


@pytest.mark.parametrize("close", [True, False])
def test_a_request_that_is_cancelled_as_it_is_served_passes_its_turn_on(close: bool) -> None:
    """Granted and cancelled in one turn of the loop: neither the slot nor the connection is lost."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            unlucky = asyncio.ensure_future(cluster.acquire(endpoint))
            await settled(lambda: cluster.pool.pending == 1)
            lucky = asyncio.ensure_future(cluster.acquire(endpoint))
            await settled(lambda: cluster.pool.pending == 2)
            first.abort() if close else first.release()
            unlucky.cancel()
            second = await lucky
            assert unlucky.cancelled()
            assert (second is first) != close
            second.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_raised_limit_lets_waiting_requests_connect() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            tasks = [asyncio.ensure_future(cluster.acquire(endpoint)) for _ in range(4)]
            await settled(lambda: cluster.pool.pending == 3)
            cluster.pool.set_limit(3)
            await settled(lambda: sum(task.done() for task in tasks) == 3)
            assert (cluster.pool.pending, cluster.pool.connections) == (1, 3)
            for task in tasks[:3]:
                (await task).abort()
            (await tasks[3]).abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_failed_connect_passes_its_slot_on() -> None:
    async def main() -> None:
        cluster = cluster_of(dead_port(), max_connections=1)
        errors = await asyncio.gather(*(failure(cluster.connect(only(cluster))) for _ in range(5)))
        assert {error.reason for error in errors} == {"remote connection failure"}
        assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_retired_endpoint_closes_idle_connections_now_and_busy_ones_on_release() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            busy, idle = await cluster.acquire(endpoint), await cluster.acquire(endpoint)
            idle.release()
            cluster.pool.retire(endpoint)
            assert (idle.closed, busy.closed, endpoint.retired) == (True, False, True)
            assert await ask(busy) == (200, b"hello")
            busy.release()
            assert busy.closed
            await backend.none_open()
            assert counts(cluster) == (0, 0, 0, 0)
            assert repr(endpoint) == (
                f"<Endpoint 127.0.0.1:{backend.port} retired active 0, connections 0, idle 0, waiting 0>"
            )

    asyncio.run(main())


def test_requests_that_wait_for_a_retired_endpoint_are_still_served() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            waiting = asyncio.ensure_future(cluster.acquire(endpoint))
            await settled(lambda: cluster.pool.pending == 1)
            cluster.pool.retire(endpoint)
            await ask(first)
            first.release()
            second = await waiting
            assert await ask(second) == (200, b"hello")
            second.release()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


# -- whatever happens, the counts return to zero -------------------------------------------------


class Chaos:
    """Requests on one cluster, each at some stage of its life."""

    def __init__(self, cluster: Cluster, backend: RecordingBackend, dice: Random) -> None:
        self.cluster, self.backend, self.dice = cluster, backend, dice
        self.acquiring: list[asyncio.Task[Connection]] = []
        self.held: list[Connection] = []

    def acquire(self) -> None:
        endpoint = self.dice.choice(self.cluster.endpoints)
        self.acquiring.append(asyncio.ensure_future(self.cluster.acquire(endpoint)))

    def lease(self) -> None:
        connection = self.cluster.lease(self.dice.choice(self.cluster.endpoints))
        if connection is not None:
            self.held.append(connection)

    def cancel(self) -> None:
        if self.acquiring:
            self.dice.choice(self.acquiring).cancel()

    def start(self) -> None:
        if self.held:
            with contextlib.suppress(UpstreamError):
                self.held[0].start(GET, method="GET", body=NO_BODY)

    def release(self) -> None:
        if self.held:
            self.held.pop(self.dice.randrange(len(self.held))).release()

    def abort(self) -> None:
        if self.held:
            self.held.pop(self.dice.randrange(len(self.held))).abort()

    def reset(self) -> None:
        open_links = [link for link in self.backend.links if not link.ended]
        if open_links:
            self.dice.choice(open_links).reset()

    def retire(self) -> None:
        endpoint: Endpoint = self.dice.choice(self.cluster.endpoints)
        self.cluster.pool.retire(endpoint)

    def limit(self) -> None:
        self.cluster.pool.set_limit(self.dice.choice([1, 2, 5]))

    def collect(self) -> None:
        for task in [task for task in self.acquiring if task.done()]:
            self.acquiring.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.held.append(task.result())

    async def turn(self) -> None:
        await asyncio.sleep(0)
        self.collect()

    async def wait(self) -> None:
        await asyncio.sleep(0.001)
        self.collect()

    async def finish(self) -> None:
        for task in self.acquiring:
            task.cancel()
        await asyncio.gather(*self.acquiring, return_exceptions=True)
        self.collect()
        for connection in self.held:
            connection.release()
        for endpoint in self.cluster.endpoints:
            for connection in tuple(endpoint.idle):
                connection.close()


_STEPS = ["acquire"] * 4 + ["lease", "cancel", "start", "release", "release", "abort", "reset"]
_STEPS += ["retire", "limit", "turn", "turn", "wait"]


@given(st.lists(st.sampled_from(_STEPS), max_size=40), st.integers(0, 2**32), st.integers(1, 3))
@settings(max_examples=120)
def test_after_any_sequence_the_counts_are_zero(steps: list[str], seed: int, limit: int) -> None:
    """
    Leases, releases, aborts, cancellations, resets, retirements, limits that move, and an endpoint where
    nobody listens: no slot, waiter or request is lost or counted twice (security.md F11, D17).
    """

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, dead_port(), max_connections=limit)
            chaos = Chaos(cluster, backend, Random(seed))
            for step in steps:
                done = getattr(chaos, step)()
                if done is not None:
                    await done
                connections, pending, active, waiters = counts(cluster)
                assert min(connections, pending, active, waiters) >= 0
                assert pending >= sum(not f.done() for e in cluster.endpoints for f in e.waiters)
                idle = sum(len(endpoint.idle) for endpoint in cluster.endpoints)
                assert idle <= connections
            await chaos.finish()
            assert counts(cluster) == (0, 0, 0, 0)
            assert [endpoint.connections for endpoint in cluster.endpoints] == [0, 0]
            await backend.none_open()

    asyncio.run(main())


def test_clients_that_leave_at_every_stage_leak_nothing() -> None:
    """A thousand requests are cancelled while they wait, connect, send, and read (security.md D17)."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=8)
            endpoint = only(cluster)

            async def request() -> None:
                connection = await cluster.acquire(endpoint)
                try:
                    connection.start(GET, method="GET", body=NO_BODY)
                    await connection.response()
                    await asyncio.sleep(0)
                    await connection.read()
                finally:
                    connection.release()

            for start in range(0, 1000, 50):
                tasks = [asyncio.ensure_future(request()) for _ in range(50)]
                for turn, task in enumerate(tasks):
                    if turn % 5 == 0:
                        await asyncio.sleep(0)
                    if (start + turn) % 4:
                        task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert counts(cluster)[1:] == (0, 0, 0)
            assert cluster.pool.connections == endpoint.connections == len(endpoint.idle) <= 8
            for connection in tuple(endpoint.idle):
                connection.close()
            await backend.none_open()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_a_connection_that_came_free_in_the_meantime_is_not_waited_for() -> None:
    """Between `lease` and `connect` the loop may turn: the connection is idle then, and nobody will pass it on."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            assert cluster.lease(endpoint) is None
            first.release()
            async with asyncio.timeout(5):
                assert await cluster.connect(endpoint) is first
            assert first.reused
            assert counts(cluster) == (1, 0, 1, 0)
            first.abort()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())


def test_one_that_came_free_and_is_not_clean_any_more_makes_room() -> None:
    """Closed instead, and another one is opened in its place."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            await ask(first)
            assert cluster.lease(endpoint) is None
            first.release()
            first._poll = Unclean()
            async with asyncio.timeout(5):
                second = await cluster.connect(endpoint)
            assert second is not first
            assert first.closed
            assert counts(cluster) == (1, 0, 1, 0)
            second.abort()

    asyncio.run(main())


class Unclean:
    """Tells of bytes that nobody asked for."""

    def poll(self, _: float) -> list[tuple[int, int]]:
        return [(0, 1)]
