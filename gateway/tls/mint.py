"""A development authority and the certificates it signs; what `gateway certs` and the tests make them with.

Lifetime: config (values); writing puts them into files, each complete before it has its name.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.tls.material import CredentialError, content
from gateway.tls.spiffe import principal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

AUTHORITY_DAYS: Final = 90
LEAF_HOURS: Final = 24
_EARLIER: Final = dt.timedelta(minutes=5)
"""Valid since a moment ago, for clocks that are behind."""
PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, PKCS #8, not encrypted."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What a certificate shall say."""

    principal: str = ""
    """`cluster.local/ns/default/sa/sleep`, without `spiffe://`."""
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    """Further URIs; a certificate with more than one identifies nobody."""
    common_name: str = ""
    lifetime: dt.timedelta = dt.timedelta(hours=LEAF_HOURS)
    client: bool = True
    """It may be shown to servers, and ..."""
    server: bool = True
    """... to clients."""

    def problem(self) -> str:
        """What is wrong with it; empty when nothing is."""
        if self.principal and not principal(f"spiffe://{self.principal}"):
            return f'"{self.principal}" is not a principal such as cluster.local/ns/default/sa/sleep'
        for address in self.addresses:
            try:
                ip_address(address)
            except ValueError:
                return f'"{address}" is not an IP address'
        if not (self.principal or self.dns_names or self.addresses or self.uris):
            return "a certificate needs a name: a principal, a DNS name or an address"
        return ""


def make_authority(name: str, *, lifetime: dt.timedelta = dt.timedelta(days=AUTHORITY_DAYS)) -> Pair:
    """A self-signed authority that may sign leaves and revocation lists, nothing below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), lifetime)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    subject = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return Pair(builder.add_extension(subject, critical=False).sign(key, hashes.SHA256()), key)


def issue(authority: Pair, leaf: Leaf, *, now: dt.datetime | None = None) -> Pair:
    """A certificate with a new key, signed by `authority`. ValueError for what `Leaf.problem` tells."""
    if problem := leaf.problem():
        raise ValueError(problem)
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.certificate
    issuer = signer.subject
    builder = _builder(leaf.common_name, issuer, key.public_key(), leaf.lifetime, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ] * leaf.client
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    names: list[x509.GeneralName] = []
    if leaf.principal:
        names.append(x509.UniformResourceIdentifier(f"spiffe://{leaf.principal}"))
    names += [x509.UniformResourceIdentifier(uri) for uri in leaf.uris]
    names += [x509.DNSName(name) for name in leaf.dns_names]
    names += [x509.IPAddress(ip_address(address)) for address in leaf.addresses]
    # RFC 5280 §4.2.1.6: critical when there is no subject, as in SPIFFE's own certificates.
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not leaf.common_name)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return Pair(builder.add_extension(identifier, critical=False).sign(authority.key, hashes.SHA256()), key)


def revoke(
    authority: Pair,
    certificates: Iterable[x509.Certificate],
    *,
    lifetime: dt.timedelta = dt.timedelta(days=7),
) -> bytes:
    """The authority's revocation list with these certificates, PEM."""
    now = dt.datetime.now(dt.UTC) - _EARLIER
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(min(now, now + lifetime - _EARLIER)).next_update(now + lifetime)
    for certificate in certificates:
        revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        builder = builder.add_revoked_certificate(revoked.revocation_date(now).build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def read_authority(certificate: Path, key: Path) -> Pair:
    """An authority from its files. Raises CredentialError."""
    try:
        loaded = load_pem_private_key(content(key), None)
        parsed = x509.load_pem_x509_certificate(content(certificate))
    except (ValueError, TypeError) as error:
        raise CredentialError(
            f"{certificate} and {key} are not an authority's certificate and key"
        ) from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != parsed.public_key():
        raise CredentialError(f"{key}: not the key of {certificate}")
    return Pair(parsed, loaded)


def write(path: Path, data: bytes, *, mode: int = PUBLIC) -> None:
    """Puts a whole file in place of what is there: who reads sees the old or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
    finally:
        os.close(descriptor)
    beside.replace(path)


def write_credential(folder: Path, pair: Pair, authority: bytes = b"") -> None:
    """`tls.key`, `tls.crt` and `ca.crt` of a credential, in the shape of a mounted secret.

    The key comes first: a reader in between sees a key that is not the certificate's, and waits.
    """
    write(folder / "tls.key", pair.key_pem, mode=PRIVATE)
    write(folder / "tls.crt", pair.pem)
    if authority:
        write(folder / "ca.crt", authority)


def _builder(
    subject: str,
    issuer: str | x509.Name,
    key: ec.EllipticCurvePublicKey,
    lifetime: dt.timedelta,
    now: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    now = now or dt.datetime.now(dt.UTC)
    end = now + lifetime
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer) if isinstance(issuer, str) else issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _EARLIER)
        .not_valid_after(end)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
