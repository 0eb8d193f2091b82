"""What a client's certificate must satisfy beyond being signed by an authority.

Lifetime: config. OpenSSL has checked chain, dates, purpose and revocation in the handshake; these are the
rules it does not know: pinned names and keys, and which authority may speak for which trust domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.tls.spiffe import trust_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.tls.certificate import Certificate


@dataclass(frozen=True, slots=True)
class Terms:
    """Conditions on the certificate of the other side; by default there are none."""

    names: tuple[str, ...] = ()
    """It carries one of these (`subjectAltNames`)."""
    spki: frozenset[str] = frozenset()
    """Its public key is one of these, or ... (`verifyCertificateSpki`, base64 SHA-256)."""
    hashes: frozenset[str] = frozenset()
    """... the certificate itself is (`verifyCertificateHash`, lower-case hex SHA-256)."""
    domains: Mapping[str, frozenset[bytes]] = field(default_factory=dict, hash=False)
    """Trust domain -> its authorities (DER). When there are any, a SPIFFE ID counts only if the chain ends at
    an authority of its own domain: with one store for all, each could mint the names of every other."""

    def breach(self, certificate: Certificate, root: bytes | None) -> str:
        """Why a verified certificate is refused; empty when it is not. `root`: the end of its chain."""
        if self.names and not certificate.carries(self.names):
            return "subject_alt_name"
        pinned = self.spki or self.hashes
        if pinned and certificate.spki not in self.spki and certificate.digest not in self.hashes:
            return "certificate_pin"
        if self.domains:
            for uri in certificate.uris:
                domain = trust_domain(uri)
                if domain and (root is None or root not in self.domains.get(domain, ())):
                    return "trust_domain"
        return ""
