"""Certificates, keys, authorities and revocation lists, read whole and found to belong together.

Lifetime: config (values). A pair of which one half was replaced does not get past here, so whoever asks again
later keeps what it had.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 4 * 1024 * 1024
"""Of one file; a bundle of every public authority has 220 KiB."""
_CRL = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


class CredentialError(Exception):
    """A credential that cannot be used; `str()` names the file and the reason."""

    def __init__(self, reason: str, advice: str | None = None) -> None:
        super().__init__(reason)
        self.advice = advice
        """What to do, where there is something to say."""


@dataclass(frozen=True, slots=True)
class Material:
    """What one credential holds. Compared by content."""

    name: str
    """As the configuration calls it: a credential's name, or the path of a file."""
    certificate: bytes = b""
    """PEM, leaf first; empty when only authorities are needed."""
    key: bytes = b""
    """PEM, not encrypted."""
    authorities: bytes = b""
    """PEM certificates of those who may vouch for the other side."""
    revocations: bytes = b""
    """PEM revocation lists."""

    def __repr__(self) -> str:
        return f"<Material {self.name} {self.digest[:12]}>"

    @property
    def digest(self) -> str:
        """Changes with the content."""
        parts = (self.certificate, self.key, self.authorities, self.revocations)
        return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()

    @property
    def chain(self) -> list[x509.Certificate]:
        """The certificate and those that lead from it to its authority."""
        return x509.load_pem_x509_certificates(self.certificate) if self.certificate else []

    @property
    def roots(self) -> list[x509.Certificate]:
        """The authorities."""
        return x509.load_pem_x509_certificates(self.authorities) if self.authorities else []

    @property
    def lists(self) -> list[x509.CertificateRevocationList]:
        """The revocation lists."""
        return [x509.load_pem_x509_crl(item) for item in _CRL.findall(self.revocations)]


def content(path: Path) -> bytes:
    """The bytes of a file. Raises CredentialError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CredentialError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MAX_BYTES:
        raise CredentialError(f"{path}: larger than {MAX_BYTES // 1024} KiB")
    return data


def read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """A certificate with its chain, and its key; CredentialError unless they are a pair."""
    chain, secret = content(certificate), content(key)
    leaf = _certificates(certificate, chain)[0]
    try:
        loaded = load_pem_private_key(secret, None)
    except TypeError as error:
        raise CredentialError(f"{key}: the key is encrypted, and there is nobody to ask") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError(f"{key}: not a private key in PEM") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if loaded.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise CredentialError(f"{key}: not the key of the certificate in {certificate}")
    return chain, secret


def read_authorities(path: Path) -> bytes:
    """A bundle of authorities. Raises CredentialError."""
    bundle = content(path)
    _certificates(path, bundle)
    return bundle


def read_revocations(path: Path) -> bytes:
    """Revocation lists, PEM or a single DER one, as PEM. Raises CredentialError."""
    data = content(path)
    try:
        if not data.lstrip().startswith(b"-----"):
            return x509.load_der_x509_crl(data).public_bytes(Encoding.PEM)
        lists = _CRL.findall(data)
        for item in lists:
            x509.load_pem_x509_crl(item)
    except ValueError as error:
        raise CredentialError(f"{path}: not a revocation list") from error
    if not lists or data.count(b"-----BEGIN X509 CRL-----") != len(lists):
        raise CredentialError(f"{path}: no complete revocation list in it")
    return data


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CredentialError(f"{path}: not a certificate in PEM") from error
    if data.count(b"-----BEGIN CERTIFICATE-----") != len(found):
        raise CredentialError(f"{path}: cut off in the middle of a certificate")
    return found
