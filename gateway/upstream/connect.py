"""Opens connections to endpoints: sockets, deadlines, keep-alive probes, and why it failed.

Lifetime: request (the opening); the connection it gives lives on in the pool.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from gateway.http.flags import Flag
from gateway.upstream.connection import Connection
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from gateway.upstream.cluster_config import ClusterConfig, Keepalive
    from gateway.upstream.endpoint import Endpoint


async def open_connection(endpoint: Endpoint, config: ClusterConfig) -> Connection:
    """A new connection; UpstreamError UF when it is refused, unreachable or too slow.

    asyncio closes the half-open socket when this is cancelled (tested: no descriptor leaks).
    """
    loop = asyncio.get_running_loop()

    def protocol() -> Connection:
        return Connection(endpoint, config)

    try:
        async with asyncio.timeout(config.connect_timeout):
            if endpoint.port:
                _, connection = await loop.create_connection(protocol, endpoint.host, endpoint.port)
            else:
                path = endpoint.host.replace("@", "\0", 1) if endpoint.host.startswith("@") else endpoint.host
                _, connection = await loop.create_unix_connection(protocol, path)
    except TimeoutError as error:
        # Also the kernel's own ETIMEDOUT, which is the same event told by someone else.
        raise UpstreamError(Flag.UPSTREAM_CONNECT_FAILURE, "connection timeout") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        reason = f"delayed connect error: {why}".replace(" ", "_")
        raise UpstreamError(
            Flag.UPSTREAM_CONNECT_FAILURE, "remote connection failure", transport_failure=reason
        ) from error
    if config.keepalive is not None and endpoint.port and not connection.closed:
        _probe(connection.socket, config.keepalive)
    return connection


_PROBE_LIMITS = (
    ("TCP_KEEPCNT", "probes", 127),
    ("TCP_KEEPIDLE", "time", 32767),
    ("TCP_KEEPINTVL", "interval", 32767),
)
"""Socket option, setting, and the most Linux takes: beyond it setsockopt fails."""


def _probe(sock: socket.socket, keepalive: Keepalive) -> None:
    """Turns TCP keep-alive on (Istio `tcpKeepalive`)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, setting, most in _PROBE_LIMITS:
        value = getattr(keepalive, setting)
        if value is not None and hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), min(max(1, round(value)), most))
