"""Where requests come in: both ends of one client's connection, and what follows from them.

Lifetime: process (one connection); every request on it shares the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.http.peer import Peer


class Place:
    """A client's connection, as its requests see it."""

    __slots__ = (
        "address",
        "client",
        "forwarding",
        "local_ip",
        "peer",
        "peer_ip",
        "port",
        "protocol",
        "scheme",
        "server",
        "stock",
    )

    def __init__(
        self,
        client: tuple[str, int] | None,
        server: tuple[str, int | None] | None,
        *,
        scheme: str = "http",
        peer: Peer | None = None,
        protocol: str = "HTTP/1.1",
        stock: bool = False,
    ) -> None:
        self.client = client
        """The client's end; None when it has no name."""
        self.server = server
        """Our end."""
        self.scheme = scheme
        """`https` on a TLS connection."""
        self.peer = peer
        """The TLS side of the client; None without TLS."""
        self.protocol = protocol
        self.stock = stock
        """The server is not ours: it has not judged the request head, adds `date` and `server` itself, and
        cannot take a length on a 304."""
        self.peer_ip = client[0] if client else ""
        self.local_ip = server[0] if server else ""
        self.port = (server[1] or 0) if server else 0
        """Local port; 0 when unknown."""
        self.address = self.peer_ip.encode()
        self.forwarding: tuple[tuple[bytes, bytes], ...] = (
            (b"x-forwarded-for", self.address),
            (b"x-forwarded-proto", b"https" if scheme == "https" else b"http"),
            (b"x-envoy-external-address", self.address),
        )
        """What upstreams are told of a client that nobody vouches for."""

    def __repr__(self) -> str:
        return f"<Place {self.client} -> {self.server} {self.scheme}>"
