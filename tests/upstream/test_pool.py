"""Pools: reuse, limits, waiting, and counts that always return to zero."""

from __future__ import annotations

import asyncio

import pytest
from support.backend import RecordingBackend, dead_port
from support.clock import FakeClock
from support.upstreams import HELLO, ask, cluster_of, counts, failure, only
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream import ClusterConfig, Connection, Endpoint, UpstreamError
from gateway.upstream.connect import open_connection


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
            await until(lambda: bool(endpoint.waiters))
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
            await until(lambda: cluster.pool.pending == 1)
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
            await until(lambda: cluster.pool.pending == 1)
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
            await until(lambda: cluster.pool.pending == 1)
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
            await until(lambda: cluster.pool.pending == 1)
            on_a = asyncio.ensure_future(cluster.acquire(a))
            await until(lambda: cluster.pool.pending == 2)
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
            await until(lambda: cluster.pool.pending == 1)
            lucky = asyncio.ensure_future(cluster.acquire(endpoint))
            await until(lambda: cluster.pool.pending == 2)
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
            await until(lambda: cluster.pool.pending == 3)
            cluster.pool.set_limit(3)
            await until(lambda: sum(task.done() for task in tasks) == 3)
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
            await until(lambda: cluster.pool.pending == 1)
            cluster.pool.retire(endpoint)
            await ask(first)
            first.release()
            second = await waiting
            assert await ask(second) == (200, b"hello")
            second.release()
            assert counts(cluster) == (0, 0, 0, 0)

    asyncio.run(main())
