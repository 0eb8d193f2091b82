"""TLS to one cluster's endpoints: with which credentials, under which name, and who may answer.

Lifetime: config. A changed credential makes another object: connections of the old one are not used again.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.tls.certificate import Unreadable, parsed
from gateway.tls.credentials import WORKLOAD, Files, Named

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config.tls import ClientTLSSettings
    from gateway.tls.contexts import ClientContext
    from gateway.tls.credentials import Source


@dataclass(frozen=True, slots=True)
class Destination:
    """A cluster that speaks TLS to its endpoints, as the configuration has it."""

    settings: ClientTLSSettings
    sni: str
    """The server name that is asked for; empty: none."""
    names: tuple[str, ...]
    """The backend's certificate carries one of these (DNS name, address or SPIFFE URI); empty: any that the
    authorities signed."""


@dataclass(frozen=True, slots=True)
class Origination:
    """The same, ready to connect."""

    context: ClientContext
    sni: str
    names: tuple[str, ...]

    def breach(self, connection: ssl.SSLObject) -> str:
        """Why the backend is not who it should be, as Envoy's transport failure reason; empty when it is, and
        then its session is remembered.
        """
        if self.names and self.context.verify_mode is not ssl.CERT_NONE and not self._carries(connection):
            return "TLS_error:_CERTIFICATE_VERIFY_FAILED:verify_SAN_list"
        self.context.remember(connection, self.sni)
        return ""

    def principal(self, connection: ssl.SSLObject) -> str:
        """The first URI in the backend's certificate, a SPIFFE ID in a mesh; empty: none, or nobody verified
        it.
        """
        if self.context.verify_mode is ssl.CERT_NONE:
            return ""
        der = connection.getpeercert(True)
        try:
            return next(iter(parsed(der).uris), "") if der is not None else ""
        except Unreadable:
            return ""

    def _carries(self, connection: ssl.SSLObject) -> bool:
        der = connection.getpeercert(True)
        try:
            return der is not None and parsed(der).carries(self.names)
        except Unreadable:
            return False


def client_sources(tls: ClientTLSSettings, base: Path, folders: tuple[Path, ...]) -> tuple[Source, ...]:
    """The credentials of a DestinationRule's `tls`. `base`: where relative paths start."""
    verifies = not tls.insecure_skip_verify
    revoked = tls.ca_crl if verifies else None
    sources: list[Source] = []
    if tls.mode == "ISTIO_MUTUAL":
        sources.append(Named(WORKLOAD, folders, trust=verifies))
    elif tls.credential_name:
        pair = tls.mode == "MUTUAL"
        if pair or verifies:
            sources.append(Named(tls.credential_name, folders, pair=pair, trust=verifies))
    else:
        if tls.mode == "MUTUAL":
            sources.append(Files(base, tls.client_certificate or "", tls.private_key or ""))
        if tls.ca_certificates and verifies:
            sources.append(Files(base, authorities=tls.ca_certificates))
    if revoked:
        sources.append(Files(base, revocations=revoked))
    return tuple(sources)


def failure(error: OSError) -> str:
    """A failed handshake as logs print it: Envoy's `TLS_error:`, with OpenSSL's reason."""
    reason = getattr(error, "reason", None) or "HANDSHAKE_FAILURE"
    detail = getattr(error, "verify_message", "")
    return f"TLS_error:_{reason}{':_' + detail if detail else ''}".replace(" ", "_")
