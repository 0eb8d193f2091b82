"""One place that serves a cluster, and what it is doing right now.

Lifetime: process. Keyed by cluster name, address and TLS identity: its counters and idle connections
survive every reload that keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from gateway.upstream.connection import Connection
    from gateway.upstream.pool import Pool


class Endpoint:
    """An address with its idle connections, waiters and counters. Compared by identity."""

    __slots__ = (
        "active",
        "address",
        "connections",
        "host",
        "idle",
        "pool",
        "port",
        "requests",
        "retired",
        "waiters",
    )

    def __init__(self, pool: Pool, host: str, port: int) -> None:
        self.pool = pool
        self.host = host
        """IP address, or path of a Unix socket (then `port` is 0)."""
        self.port = port
        self.address = endpoint_address(host, port)
        """As logs print it (`%UPSTREAM_HOST%`): `10.0.0.1:80`, `[::1]:80`, a path."""
        self.active = 0
        """Requests that hold a connection here, or wait for one."""
        self.requests = 0
        """Requests since the endpoint is known."""
        self.connections = 0
        """Open connections, and those being opened."""
        self.idle: dict[Connection, None] = {}
        """Clean connections, longest idle first: the last is used next (LIFO lets surplus ones age out).

        An ordered set: when a backend ends, thousands leave from the middle at once."""
        self.waiters: dict[asyncio.Future[Connection | None], int] = {}
        """Requests waiting for a connection, first come first: future -> order of arrival in the pool."""
        self.retired = False
        """Gone from the configuration: busy connections close when they are released."""

    def __repr__(self) -> str:
        return (
            f"<Endpoint {self.address}{' retired' * self.retired} active {self.active},"
            f" connections {self.connections}, idle {len(self.idle)}, waiting {len(self.waiters)}>"
        )

    def retire(self) -> None:
        """Closes what is idle now; what is busy closes on release."""
        self.retired = True
        for connection in tuple(self.idle):
            connection.close()


def endpoint_address(host: str, port: int) -> str:
    """`host:port` as Envoy logs it; a Unix socket is its path."""
    if host.startswith(("/", "@")):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
