"""The request as policies see it: canonical, computed once by hygiene (step 2).

Lifetime: request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.http.headers import Headers
    from gateway.http.peer import Peer


class Request:
    """Canonical request head. Router, policies, log and upstream all read these same bytes."""

    __slots__ = (
        "authority",
        "claims",
        "client_ip",
        "header_map",
        "headers",
        "host",
        "local_ip",
        "method",
        "path",
        "peer",
        "peer_ip",
        "port",
        "query",
        "repeated",
        "request_principal",
        "scheme",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a request head
        self,
        method: str,
        scheme: str,
        authority: bytes,
        host: str,
        path: bytes,
        query: bytes,
        headers: Headers,
        port: int = 0,
        peer_ip: str = "",
        client_ip: str = "",
        header_map: dict[bytes, bytes] | None = None,
    ) -> None:
        self.method = method
        """As received, case-sensitive."""
        self.scheme = scheme
        """`http` or `https`, as the trusted side sees it."""
        self.authority = authority
        """The Host header as received, port included."""
        self.host = host
        """Lower-case host without port: selects the virtual host."""
        self.path = path
        """Canonical path, no query: the bytes that are matched, authorized and forwarded."""
        self.query = query
        """Raw query without `?`; empty when there is none."""
        self.headers = headers
        """Lower-case names; hop-by-hop and untrusted headers are already gone."""
        self.header_map = dict(headers) if header_map is None else header_map
        self.repeated = len(self.header_map) != len(headers)
        """Whether some header has more than one line (then `header_map` holds only the last)."""
        self.port = port
        """Local port the request came in on."""
        self.peer_ip = peer_ip
        """Address of the direct peer (`source.ip`)."""
        self.client_ip = client_ip
        """Trusted client address (`remote.ip`)."""
        self.local_ip = ""
        """Our address that the client connected to (`destination.ip`); empty when unknown."""
        self.peer: Peer | None = None
        """The TLS side of the direct peer (`source.principal`...); None on a connection without TLS."""
        self.claims: Mapping[str, Any] | None = None
        """The payload of the token that was verified (`request.auth.claims`); None: there was none."""
        self.request_principal = ""
        """`issuer/subject` of that token (`request.auth.principal`)."""

    def header(self, name: bytes) -> bytes | None:
        """One value of header `name` (lower-case): the last line's when it is repeated, None when absent."""
        return self.header_map.get(name)

    def header_values(self, name: bytes) -> list[bytes]:
        """All values of header `name` (lower-case)."""
        if not self.repeated:
            value = self.header_map.get(name)
            return [] if value is None else [value]
        return [value for key, value in self.headers if key == name]

    def query_value(self, name: bytes) -> bytes | None:
        """The first value of query parameter `name`, as written (Envoy decodes neither); None when absent."""
        return query_value(self.query, name)


def query_value(query: bytes, name: bytes) -> bytes | None:
    """The first value of parameter `name` in a raw query string; None when absent."""
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if key == name:
            return value
    return None


_HEX = b"0123456789abcdefABCDEF"
_DECODED = {bytes((a, b)): bytes.fromhex(chr(a) + chr(b)) for a in _HEX for b in _HEX}


def percent_decode(text: bytes) -> bytes:
    """Decodes %XX; malformed escapes stay as they are (Envoy `PercentEncoding::decode`; `+` is no space)."""
    head, *rest = text.split(b"%")
    parts = [head]
    for piece in rest:
        decoded = _DECODED.get(piece[:2])
        parts.append(b"%" + piece if decoded is None else decoded + piece[2:])
    return b"".join(parts)
