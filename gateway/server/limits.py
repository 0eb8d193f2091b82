"""How much, and how long, a client's connection may take.

Lifetime: config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import GatewaySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the protocol class enforces. Sizes are bytes, durations seconds; None means no limit."""

    request_head_bytes: int = 61440
    """Request line and headers with their line ends (Envoy's 60 KiB); beyond it 431."""
    request_headers: int = 100
    """Header lines of a request (Envoy's default); beyond it 431."""
    request_target_bytes: int = 16384
    """Path and query, or whatever else stands between method and version; beyond it 414."""
    request_body_bytes: int | None = None
    """Body of one request; beyond it 413."""
    request_body_rate: int = 240
    """Bytes a second with which a request body has to come, as a mean (Kestrel's default); 0: no limit."""
    chunk_extension_bytes: int = 1024
    """Extension of one chunk (CVE-2024-22019: a parser that swallows any length); beyond it 400."""
    trailer_bytes: int = 8192
    """Trailer section of a chunked body, which nobody gets to see; beyond it 431."""
    unread_body_bytes: int = 65536
    """Body, or pipelined requests, kept for an application that is not reading; beyond it reading pauses."""
    connections: int | None = None
    """Client connections at a time; beyond it 503."""

    request_head: float = 10.0
    """For a complete request head: from the accepted connection, or from its first byte."""
    request_body_idle: float = 60.0
    """For the next piece of a request body that somebody waits for."""
    request_body_grace: float = 10.0
    """Of a request body, before `request_body_rate` is demanded."""
    downstream_idle: float = 75.0
    """For the next request; above the 60 s for which load balancers keep connections."""
    stream_idle: float = 300.0
    """For a client to take anything of a response it does not read."""
    drain: float = 30.0
    """For tunnels to end when the server stops."""
    linger: float = 2.0
    """For a refused client to read the refusal, while what it still sends is dropped."""

    @classmethod
    def of(cls, settings: GatewaySettings) -> Limits:
        """The limits that a GatewaySettings document asks for."""
        sizes, times = settings.spec.limits, settings.spec.timeouts
        return cls(
            request_head_bytes=sizes.request_head_bytes,
            request_headers=sizes.request_headers,
            request_target_bytes=sizes.request_target_bytes,
            request_body_bytes=sizes.request_body_bytes,
            request_body_rate=sizes.request_body_rate,
            connections=sizes.connections,
            request_head=times.request_head,
            request_body_idle=times.request_body_idle,
            request_body_grace=times.request_body_grace,
            downstream_idle=times.downstream_idle,
            stream_idle=times.stream_idle,
            drain=times.drain,
        )
