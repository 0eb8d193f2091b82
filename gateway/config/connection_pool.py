"""DestinationRule `connectionPool` and `retryBudget`: the limits of a cluster.

Lifetime: config. In every integer 0 means unset, as in Istio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from gateway.config.fields import Bool, Checked, Duration, DurationOrZero, Model, Percent, Problem, Uint32

if TYPE_CHECKING:
    from collections.abc import Iterator

Count = Annotated[int, Strict(), Field(ge=0, lt=2**31)]
"""A limit; 0 is unset."""


class TcpKeepalive(Model):
    """Keep-alive probes of upstream sockets; unset fields are the system's."""

    probes: Uint32 | None = None
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Model):
    """Limits of connections."""

    max_connections: Count | None = None
    """Connections of the cluster; further requests wait as pending. Default 2^32-1."""
    connect_timeout: Duration | None = None
    """Seconds; default 10."""
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: DurationOrZero | None = None
    """Seconds; default 3600, 0 disables."""


class Http2KeepAlive(Checked):
    """PING frames on upstream HTTP/2 connections."""

    interval: Duration | None = None
    timeout: Duration | None = None

    def _rules(self) -> Iterator[Problem]:
        for field in ("interval", "timeout"):
            if getattr(self, field) is None:
                yield Problem("GW032", f"http2KeepAlive needs {field}", (field,))


class HTTPSettings(Checked):
    """Limits of requests."""

    http1_max_pending_requests: Count | None = None
    """Requests waiting for a connection (HTTP/1 and HTTP/2). Default 2^32-1."""
    http2_max_requests: Count | None = None
    """Active requests (HTTP/1 too). Default 2^32-1."""
    max_requests_per_connection: Count | None = None
    """Default 0: no limit; 1 disables keep-alive."""
    max_retries: Count | None = None
    """Retries in flight. Default 2^32-1."""
    idle_timeout: Duration | None = None
    """Seconds; default 3600."""
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] | None = None
    use_client_protocol: Bool | None = None
    max_concurrent_streams: Count | None = None
    """Of one HTTP/2 connection. Default 2^31-1."""
    http2_keep_alive: Http2KeepAlive | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.use_client_protocol and self.h2_upgrade_policy == "UPGRADE":
            message = "useClientProtocol and h2UpgradePolicy UPGRADE contradict each other"
            yield Problem("GW040", message, ("useClientProtocol",))


class ConnectionPoolSettings(Checked):
    """Limits of a cluster's connections and requests."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.tcp is None and self.http is None:
            yield Problem("GW032", "a connectionPool needs tcp or http")


class RetryBudget(Model):
    """Retries in flight, as a share of the requests in flight."""

    percent: Percent | None = None
    """Default 20."""
    min_retry_concurrency: Uint32 | None = None
    """Retries always allowed; default 3."""
    budget_interval: DurationOrZero | None = None
