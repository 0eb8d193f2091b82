"""Clusters, endpoints and connections for tests, without a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
import uvloop
from support.clock import FakeClock

from gateway.upstream import NO_BODY, Cluster, ClusterConfig, Connection, Endpoint, UpstreamError
from gateway.upstream.balancer import balance
from gateway.upstream.connect import open_connection
from gateway.upstream.pool import Pool

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
"""Runs a test on both event loops."""
Run = Callable[[Coroutine[Any, Any, None]], None]


def cluster_of(*ports: int, clock: Callable[[], float] | None = None, **settings: Any) -> Cluster:
    """A cluster of loopback endpoints."""
    config = ClusterConfig(name="outbound|80||test", host="test", port=80, **settings)
    pool = Pool(config.name, clock or FakeClock())
    pool.follow(config)
    members = [(pool.endpoint("127.0.0.1", port), 1) for port in ports]
    return Cluster(config, pool, balance(config.policy, config.table_size, members, Random(1), None))


def counts(cluster: Cluster) -> tuple[int, int, int, int]:
    """Connections and pending requests of the pool; active requests and waiters of its endpoints."""
    endpoints = cluster.endpoints
    return (
        cluster.pool.connections,
        cluster.pool.pending,
        sum(endpoint.active for endpoint in endpoints),
        sum(len(endpoint.waiters) for endpoint in endpoints),
    )


def only(cluster: Cluster) -> Endpoint:
    """The cluster's single endpoint."""
    (endpoint,) = cluster.endpoints
    return endpoint


async def connect(port: int, **settings: Any) -> Connection:
    """A connection of its own pool, leased."""
    cluster = cluster_of(port, **settings)
    return await cluster.connect(only(cluster))


async def ask(
    connection: Connection, head: bytes = GET, *, method: str = "GET", body: int = NO_BODY
) -> tuple[int, bytes]:
    """One request without a body, to the end of its response; the connection stays leased."""
    connection.start(head, method=method, body=body)
    status = (await connection.response()).status
    return status, await rest(connection)


async def rest(connection: Connection) -> bytes:
    """The rest of the body."""
    pieces = []
    while piece := await connection.read():
        pieces.append(piece)
    return b"".join(pieces)


async def failure(awaited: Coroutine[Any, Any, Any]) -> UpstreamError:
    """The UpstreamError that this raises."""
    with pytest.raises(UpstreamError) as caught:
        await awaited
    return caught.value


__all__ = [
    "GET",
    "HELLO",
    "LOOPS",
    "Run",
    "ask",
    "cluster_of",
    "connect",
    "counts",
    "failure",
    "only",
    "open_connection",
    "rest",
]
