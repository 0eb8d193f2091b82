"""Until when certificates are valid: for metrics, `gateway status` and warnings in time.

Lifetime: config (values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.tls.certificate import Unreadable, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from gateway.tls.material import Material

Role = Literal["certificate", "authority", "revocations"]


@dataclass(frozen=True, slots=True)
class Held:
    """One certificate or revocation list in use."""

    name: str
    """The credential it belongs to, as the configuration calls it."""
    role: Role
    """`certificate`: our own; `authority`: vouches for others; `revocations`: a list of an authority."""
    subject: str
    """RFC 4514; of a list its issuer."""
    serial: str
    """Lower-case hex; of a list its number."""
    principal: str
    """`cluster.local/ns/default/sa/sleep`; empty when it has none."""
    not_before: float
    """Seconds since the epoch."""
    not_after: float
    """Seconds since the epoch; of a list when the next one is due: from then on everybody is refused."""
    names: tuple[str, ...] = ()
    """URIs, DNS names and addresses it is good for."""


def held(material: Material) -> Iterator[Held]:
    """Everything in a credential that can expire; of our own chain the leaf and what leads from it."""
    for certificate in material.chain:
        yield _certificate(material.name, "certificate", certificate)
    for certificate in material.roots:
        yield _certificate(material.name, "authority", certificate)
    for item in material.lists:
        due = item.next_update_utc
        yield Held(
            material.name,
            "revocations",
            item.issuer.rfc4514_string(),
            "",
            "",
            item.last_update_utc.timestamp(),
            due.timestamp() if due else float("inf"),
        )


def _certificate(name: str, role: Role, certificate: x509.Certificate) -> Held:
    try:
        known = parsed(_der(certificate))
        subject, principal = known.subject, known.principal
        names = (*known.uris, *known.dns_names, *known.addresses)
    except Unreadable:
        subject, principal, names = certificate.subject.rfc4514_string(), "", ()
    return Held(
        name,
        role,
        subject,
        f"{certificate.serial_number:x}",
        principal,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        names,
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
