"""What format strings read of an exchange: the `Facts` of `gateway.http.format`.

Lifetime: request. Made only where a format with operators is evaluated, so most requests never make one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.exchange.exchange import Exchange
    from gateway.http.flags import Flag
    from gateway.http.headers import Headers
    from gateway.routing.route import Route


class ExchangeFacts:
    """An exchange as `%OPERATORS%` see it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.request = request = exchange.request
        target, authority, headers = exchange.parts
        self.request_headers: Headers = headers if target else request.headers
        """As sent upstream, once they are."""
        self.request_authority = authority or request.authority
        """`:authority`, likewise."""
        self.request_target = target or (
            request.path + b"?" + request.query if request.query else request.path
        )
        """`:path`, likewise: request operations see the one before a rewrite."""
        self.response_headers: Headers = exchange.response_headers or []

    @property
    def protocol(self) -> str:
        """`HTTP/1.1`."""
        return self._exchange.protocol

    @property
    def start_time(self) -> float:
        """Seconds since the epoch."""
        return time.time() - self.duration

    @property
    def duration(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._exchange.started_at

    @property
    def route(self) -> Route | None:
        """The route chosen."""
        return self._exchange.route

    @property
    def status(self) -> int:
        """Response status."""
        return self._exchange.status

    @property
    def flags(self) -> Sequence[Flag]:
        """Response flags, as set."""
        return self._exchange.flags

    @property
    def details(self) -> str:
        """Response code details."""
        return self._exchange.details

    @property
    def termination_details(self) -> str:
        """Not known here."""
        return ""

    @property
    def bytes_received(self) -> int:
        """Request body bytes."""
        return self._exchange.bytes_received

    @property
    def bytes_sent(self) -> int:
        """Response body bytes."""
        return self._exchange.bytes_sent

    @property
    def attempts(self) -> int:
        """Tries so far."""
        exchange = self._exchange
        return len(exchange.earlier) + (exchange.endpoint is not None)

    @property
    def downstream_remote_address(self) -> str:
        """Trusted client address."""
        return self._exchange.downstream_remote_address

    @property
    def downstream_direct_remote_address(self) -> str:
        """Direct peer."""
        peer = self._exchange.peer
        return f"{peer[0]}:{peer[1]}" if peer else ""

    @property
    def downstream_local_address(self) -> str:
        """Our end of the client's connection."""
        return self._exchange.downstream_local_address

    @property
    def upstream_host(self) -> str:
        """Endpoint of the attempt."""
        endpoint = self._exchange.endpoint
        return endpoint.address if endpoint is not None else ""

    @property
    def upstream_cluster(self) -> str:
        """Cluster name."""
        destination = self._exchange.destination
        return destination.cluster_name if destination is not None else ""

    @property
    def upstream_local_address(self) -> str:
        """Our end of the upstream connection."""
        connection = self._exchange.connection
        return connection.local_address if connection is not None else ""

    @property
    def upstream_transport_failure(self) -> str:
        """Why the upstream connection failed."""
        return self._exchange.transport_failure

    @property
    def requested_server_name(self) -> str:
        """SNI of the client's TLS connection."""
        peer = self.request.peer
        return peer.sni if peer is not None else ""

    @property
    def peer_uri_san(self) -> str:
        """URIs of the client's certificate."""
        peer = self.request.peer
        return ",".join(peer.uris) if peer is not None else ""
