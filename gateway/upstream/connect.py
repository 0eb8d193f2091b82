"""Opens connections to endpoints: sockets, deadlines, keep-alive probes, and why it failed.

Lifetime: request (the opening); the connection it gives lives on in the pool.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any

from gateway.http.flags import Flag
from gateway.tls.origination import failure
from gateway.upstream.connection import Connection
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from gateway.upstream.cluster_config import ClusterConfig, Keepalive
    from gateway.upstream.endpoint import Endpoint


async def open_connection(endpoint: Endpoint, config: ClusterConfig) -> Connection:
    """A new connection; UpstreamError UF when it is refused, unreachable or too slow, or when the other side
    is not who it should be.

    asyncio closes the half-open socket when this is cancelled (tested: no descriptor leaks).
    """
    try:
        async with asyncio.timeout(config.connect_timeout):
            connection = await _connect(endpoint, config)
            while connection.tls is not endpoint.pool.tls:  # Credentials changed meanwhile.
                connection.close()
                connection = await _connect(endpoint, config)
    except TimeoutError as error:
        # Also the kernel's own ETIMEDOUT, which is the same event told by someone else.
        raise UpstreamError(Flag.UPSTREAM_CONNECT_FAILURE, "connection timeout") from error
    except ssl.SSLError as error:
        raise _unsecured(failure(error)) from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        reason = f"delayed connect error: {why}".replace(" ", "_")
        raise UpstreamError(
            Flag.UPSTREAM_CONNECT_FAILURE, "remote connection failure", transport_failure=reason
        ) from error
    if config.keepalive is not None and endpoint.port and not connection.closed:
        _probe(connection.socket, config.keepalive)
    return connection


async def _connect(endpoint: Endpoint, config: ClusterConfig) -> Connection:
    """Opens the socket and shakes hands."""
    loop, tls = asyncio.get_running_loop(), endpoint.pool.tls

    def protocol() -> Connection:
        return Connection(endpoint, config)

    # Without a name there is no SNI; the loops take "" for that. The caller's timeout is over both steps.
    secure: dict[str, Any] = {} if tls is None else {"ssl": tls.context, "server_hostname": tls.sni}
    if endpoint.port:
        transport, connection = await loop.create_connection(protocol, endpoint.host, endpoint.port, **secure)
    else:
        path = endpoint.host.replace("@", "\0", 1) if endpoint.host.startswith("@") else endpoint.host
        transport, connection = await loop.create_unix_connection(protocol, path, **secure)
    if tls is not None:
        connection.tls = tls
        secured = transport.get_extra_info("ssl_object")
        stranger = tls.breach(secured)
        if stranger:
            connection.close()
            raise _unsecured(stranger)
        endpoint.principal = tls.principal(secured)
    return connection


def _unsecured(reason: str) -> UpstreamError:
    return UpstreamError(Flag.UPSTREAM_CONNECT_FAILURE, "remote connection failure", transport_failure=reason)


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
