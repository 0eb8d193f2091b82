"""Circuit breakers: what is let through, what is refused and how, and what the gauges show."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.backend import RecordingBackend, SilentPort, dead_port
from support.upstreams import GET, HELLO, ask, cluster_of, failure, only
from support.waiting import until

from gateway.http.flags import Flag
from gateway.upstream import NO_BODY, Cluster, UpstreamError
from gateway.upstream.breaker import Breaker, overflow
from gateway.upstream.cluster_config import UNLIMITED, RetryShare


def gauges(cluster: Cluster) -> dict[str, tuple[bool, int]]:
    """Open and remaining, by limit."""
    return {name: (is_open, remaining) for name, is_open, remaining in cluster.pool.breakers()}


def test_an_overflow_is_answered_as_envoy_does() -> None:
    error = overflow()
    assert (error.flag, error.status, error.sent) == (Flag.UPSTREAM_OVERFLOW, 503, False)
    assert error.body == b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
    assert error.details() == "upstream_reset_before_response_started{overflow}"


def test_without_limits_every_breaker_is_closed() -> None:
    assert list(cluster_of(1).pool.breakers()) == [
        Breaker(name, open=False, remaining=UNLIMITED)
        for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    ]


def test_requests_beyond_max_requests_are_refused_until_one_ends() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_requests=2)
            endpoint = only(cluster)
            held = [await cluster.acquire(endpoint) for _ in range(2)]
            assert gauges(cluster)["max_requests"] == (True, 0)
            error = await failure(cluster.acquire(endpoint))
            assert error.flag is Flag.UPSTREAM_OVERFLOW
            assert cluster.pool.overflows == 1
            assert await ask(held[0]) == (200, b"hello")
            held[0].release()
            assert gauges(cluster)["max_requests"] == (False, 1)
            held[0] = await cluster.acquire(endpoint)
            for connection in held:
                connection.abort()
            assert gauges(cluster)["max_requests"] == (False, 2)
            assert endpoint.active == 0

    asyncio.run(main())


def test_a_refused_request_leaves_the_connection_it_was_to_get_to_others() -> None:
    """As in Envoy the request counts when its connection is ready, so the connection is opened first."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_requests=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            await failure(cluster.acquire(endpoint))
            (idle,) = endpoint.idle
            with pytest.raises(UpstreamError) as caught:
                cluster.lease(endpoint)
            assert caught.value.flag is Flag.UPSTREAM_OVERFLOW
            assert list(endpoint.idle) == [idle]
            first.abort()
            assert cluster.lease(endpoint) is idle
            idle.abort()
            assert (cluster.pool.connections, cluster.pool.pending, endpoint.active) == (0, 0, 0)

    asyncio.run(main())


def test_idle_connections_are_no_requests() -> None:
    """More connections than `max_requests` may lie idle and still all requests pass."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            for connection in [await cluster.acquire(endpoint) for _ in range(4)]:
                connection.release()
            cluster.pool.follow(replace(cluster.config, max_requests=1))
            for _ in range(3):
                connection = await cluster.acquire(endpoint)
                assert await ask(connection) == (200, b"hello")
                connection.release()
            assert cluster.pool.overflows == 0
            for connection in tuple(endpoint.idle):
                connection.close()

    asyncio.run(main())


def test_requests_wait_for_a_connection_only_up_to_max_pending() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1, max_pending_requests=2)
            endpoint = only(cluster)
            held = await cluster.acquire(endpoint)
            waiting = [asyncio.ensure_future(cluster.acquire(endpoint)) for _ in range(2)]
            await until(lambda: cluster.pool.pending == 2)
            assert gauges(cluster) == {
                "max_connections": (True, 0),
                "max_pending_requests": (True, 0),
                "max_requests": (False, UNLIMITED - 1),
                "max_retries": (False, UNLIMITED),
            }
            error = await failure(cluster.acquire(endpoint))
            assert error.reason == "overflow"
            held.release()
            second = await waiting[0]
            assert gauges(cluster)["max_pending_requests"] == (False, 1)
            second.release()
            (await waiting[1]).abort()
            assert (cluster.pool.overflows, cluster.pool.pending, endpoint.active) == (1, 0, 0)

    asyncio.run(main())


def test_a_request_counts_as_pending_while_its_connection_is_opened() -> None:
    """So a burst overflows `http1MaxPendingRequests` below `maxConnections`, as in Envoy."""

    async def main() -> None:
        with SilentPort() as port:
            cluster = cluster_of(port, max_connections=100, max_pending_requests=1)
            opening = asyncio.ensure_future(cluster.acquire(only(cluster)))
            await until(lambda: cluster.pool.pending == 1)
            error = await failure(cluster.acquire(only(cluster)))
            assert error.flag is Flag.UPSTREAM_OVERFLOW
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            assert gauges(cluster)["max_pending_requests"] == (False, 1)

    asyncio.run(main())


def test_a_connect_that_fails_gives_its_pending_place_back() -> None:
    async def main() -> None:
        cluster = cluster_of(dead_port(), max_pending_requests=1, max_requests=1)
        for _ in range(3):
            error = await failure(cluster.acquire(only(cluster)))
            assert error.flag is Flag.UPSTREAM_CONNECT_FAILURE
        assert (cluster.pool.pending, cluster.pool.overflows) == (0, 0)

    asyncio.run(main())


def test_a_waiting_request_gets_the_only_connection_within_max_requests() -> None:
    """`maxConnections: 1` with `http2MaxRequests: 1`: the second waits its turn and is not refused."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, max_connections=1, max_requests=1)
            endpoint = only(cluster)
            first = await cluster.acquire(endpoint)
            second = asyncio.ensure_future(cluster.acquire(endpoint))
            await until(lambda: cluster.pool.pending == 1)
            assert await ask(first) == (200, b"hello")
            first.release()
            assert await ask(await second) == (200, b"hello")
            (await second).abort()

    asyncio.run(main())


def test_requests_of_retired_endpoints_still_count() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as gone, RecordingBackend(HELLO) as backend:
            cluster = cluster_of(gone.port, backend.port, max_requests=1)
            old, new = cluster.endpoints
            held = await cluster.acquire(old)
            held.start(GET, method="GET", body=NO_BODY)
            cluster.pool.retire(old)
            assert (await failure(cluster.acquire(new))).flag is Flag.UPSTREAM_OVERFLOW
            held.abort()
            (await cluster.acquire(new)).abort()
            assert gauges(cluster)["max_requests"] == (False, 1)
            assert cluster.pool.active() == 0

    asyncio.run(main())


def test_retries_are_limited_by_their_number() -> None:
    cluster = cluster_of(1, max_retries=2)
    pool = cluster.pool
    assert [pool.try_retry() for _ in range(3)] == ["", "", "budget"]
    assert gauges(cluster)["max_retries"] == (True, 0)
    pool.retries.give_back()
    assert gauges(cluster)["max_retries"] == (False, 1)
    assert not pool.try_retry()
    assert pool.retries.refused == 1


def test_retries_are_limited_by_the_requests_in_flight() -> None:
    """Half of six are three retries; what was begun for them later counts as well, as in Envoy."""

    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port, retry_budget=RetryShare(50.0, 0))
            held = [await cluster.acquire(only(cluster)) for _ in range(6)]
            assert gauges(cluster)["max_retries"] == (False, 3)
            granted = [cluster.pool.try_retry() for _ in range(4)]
            assert granted == ["", "", "", "budget"]
            held.extend([await cluster.acquire(only(cluster)) for _ in range(2)])
            assert not cluster.pool.try_retry()
            for connection in held:
                connection.abort()
            assert gauges(cluster)["max_retries"] == (True, 0)

    asyncio.run(main())


def test_new_limits_hold_at_once_and_counts_stay() -> None:
    async def main() -> None:
        async with RecordingBackend(HELLO) as backend:
            cluster = cluster_of(backend.port)
            endpoint = only(cluster)
            held = [await cluster.acquire(endpoint) for _ in range(3)]
            assert not cluster.pool.try_retry()
            cluster.pool.follow(replace(cluster.config, max_requests=2, max_retries=1))
            assert gauges(cluster)["max_requests"] == gauges(cluster)["max_retries"] == (True, 0)
            await failure(cluster.acquire(endpoint))
            cluster.pool.follow(cluster.config)
            held.append(await cluster.acquire(endpoint))
            for connection in held:
                connection.abort()

    asyncio.run(main())
