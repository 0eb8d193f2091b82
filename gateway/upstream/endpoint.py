"""One place that serves a cluster, and what it is doing right now.

Lifetime: process. Keyed by cluster name, address and TLS identity: its counters and idle connections
survive every reload that keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from gateway.upstream.connection import Connection
    from gateway.upstream.outlier import Track
    from gateway.upstream.pool import Pool


class Endpoint:
    """An address with its idle connections, waiters and counters. Compared by identity."""

    __slots__ = (
        "active",
        "address",
        "connections",
        "failed_check",
        "host",
        "idle",
        "pool",
        "port",
        "principal",
        "requests",
        "retired",
        "since",
        "track",
        "waiters",
    )

    def __init__(self, pool: Pool, host: str, port: int) -> None:
        self.pool = pool
        self.host = host
        """IP address, or path of a Unix socket (then `port` is 0)."""
        self.port = port
        self.address = endpoint_address(host, port)
        """As logs print it (`%UPSTREAM_HOST%`): `10.0.0.1:80`, `[::1]:80`, a path."""
        self.principal = ""
        """Who answered the last handshake: `spiffe://...`; empty: no TLS, no URI in the certificate."""
        self.active = 0
        """Requests that hold a connection here, or wait for one."""
        self.requests = 0
        """Requests since the endpoint is known."""
        self.connections = 0
        """Open connections, and those being opened."""
        self.idle: dict[Connection, None] = {}
        """Clean connections, longest idle first: the last is used next (LIFO lets surplus ones age out).

        An ordered set: when a backend ends, thousands leave from the middle at once."""
        self.waiters: dict[asyncio.Future[Connection | None], tuple[int, float]] = {}
        """Requests waiting for a connection, first come first: future -> order of arrival in the pool, and
        when it has waited long enough."""
        self.retired = False
        """Gone from the configuration: busy connections close when they are released."""
        self.since = pool.clock()
        """When it joined, or came back after failed health checks: its warm-up counts from here."""
        self.failed_check = False
        """Whether its health checks fail."""
        self.track: Track | None = None
        """What outlier detection knows of it; None: it never failed."""

    def __repr__(self) -> str:
        return (
            f"<Endpoint {self.address}{' retired' * self.retired} active {self.active},"
            f" connections {self.connections}, idle {len(self.idle)}, waiting {len(self.waiters)}>"
        )

    @property
    def healthy(self) -> bool:
        """Whether it is picked: not ejected, and its health checks do not fail."""
        return not self.failed_check and (self.track is None or self.track.ejected_until is None)

    @property
    def ejected_until(self) -> float | None:
        """Until when it is ejected at least, by the process's clock; None: it is not."""
        return None if self.track is None else self.track.ejected_until

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
