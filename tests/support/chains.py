"""Chains of authorities and certificates that no honest authority would sign, and some it would."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOUR = dt.timedelta(hours=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


class Signed:
    """A certificate, its key, and those between it and the root, which its owner has to send."""

    def __init__(self, certificate: x509.Certificate, key: Any, above: tuple[x509.Certificate, ...]) -> None:
        self.certificate = certificate
        self.key = key
        self.above = above

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """The certificate and what is above it, without the root."""
        return self.pem + b"".join(item.public_bytes(Encoding.PEM) for item in self.above)

    @property
    def key_pem(self) -> bytes:
        """The key."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def written(self, folder: Path, name: str) -> Path:
        """A file with chain and key."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.chain + self.key_pem)
        return path

    def client(self, folder: Path, name: str, trusted: bytes) -> ssl.SSLContext:
        """A context that shows the whole chain."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=trusted.decode())
        context.set_ciphers("ALL:@SECLEVEL=0")  # what is too weak is the gateway's to find out
        context.load_cert_chain(self.written(folder, name))
        return context


def authority(
    signer: Signed | None = None,
    name: str = "root",
    *,
    ca: bool = True,
    signs: bool = True,
    depth: int | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (),
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
) -> Signed:
    """A root, or one below `signer`: whether it says to be an authority, may sign, how many may stand below
    it, for what, and for which names.
    """
    more: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=ca, path_length=depth if ca else None), True),
        (usage(signs=signs), True),
    ]
    if purposes:
        more.append((x509.ExtendedKeyUsage(list(purposes)), False))
    if permitted or excluded:
        more.append((x509.NameConstraints(list(permitted) or None, list(excluded) or None), True))
    return sign(signer, name, more)


def leaf(
    signer: Signed | None,
    names: Sequence[x509.GeneralName],
    *,
    purposes: Sequence[x509.ObjectIdentifier] = (CLIENT, SERVER),
    key: Any = None,
    digest: hashes.HashAlgorithm | None = None,
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    subject: str = "leaf",
) -> Signed:
    """Somebody's certificate."""
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage(signs=False), True),
        *more,
    ]
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(list(purposes)), False))
    if names:
        extensions.append((x509.SubjectAlternativeName(list(names)), False))
    return sign(signer, subject, extensions, key=key, digest=digest)


def sign(
    signer: Signed | None,
    name: str,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    *,
    key: Any = None,
    digest: hashes.HashAlgorithm | None = None,
) -> Signed:
    """A certificate with exactly these extensions."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        signer.certificate.subject if signer else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - HOUR,
        now + HOUR,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    by = signer.key if signer else key
    made = builder.sign(by, digest or hashes.SHA256())
    above = () if signer is None or isinstance(signer, Root) else (signer.certificate, *signer.above)
    return Signed(made, key, above) if signer else Root(made, key, ())


class Root(Signed):
    """Signed by itself."""


def usage(*, signs: bool) -> x509.KeyUsage:
    """For signing certificates, or for TLS."""
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


def uri(text: str) -> x509.GeneralName:
    """A URI as an alternative name."""
    return x509.UniformResourceIdentifier(text)


def dns(text: str) -> x509.GeneralName:
    """A DNS name as an alternative name."""
    return x509.DNSName(text)


def weak_key() -> Any:
    """RSA of 1024 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)
