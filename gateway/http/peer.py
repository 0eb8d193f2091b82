"""Who is at the other end of a TLS connection, as its certificate says.

Lifetime: process (one connection); every request on it shares the object.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The TLS side of a connection, read once after its handshake."""

    verified: bool = False
    """The peer showed a certificate, and it was checked against our roots."""
    principal: str = ""
    """`cluster.local/ns/default/sa/sleep`: the certificate's one SPIFFE URI, without `spiffe://`; empty when
    there is no certificate, none or several such URIs."""
    uris: tuple[str, ...] = ()
    """Every URI of the certificate's subject alternative names, in order."""
    dns_names: tuple[str, ...] = ()
    """Every DNS name of them, in order."""
    subject: str = ""
    """The subject as RFC 4514 writes it."""
    digest: str = ""
    """SHA-256 of the certificate, lower-case hex (`Hash` in x-forwarded-client-cert)."""
    pem: str = ""
    """The certificate."""
    sni: str = ""
    """The server name the client asked for, lower-case."""
    version: str = ""
    """`TLSv1.3`."""
    cipher: str = ""
    local_uris: tuple[str, ...] = ()
    """URIs of the certificate that we showed the peer (`By` in x-forwarded-client-cert)."""
    server: str = ""
    """The server of a Gateway document that shook hands, `default/edge/https`; empty when another program's
    TLS did (`uvicorn --ssl-...`)."""
