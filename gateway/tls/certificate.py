"""What a certificate says about its holder, parsed once for every connection that shows it.

Lifetime: config (pure); the cache of parsed certificates is bounded.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.names import is_ip
from gateway.tls.spiffe import principal

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 2048
"""Certificates that are kept parsed."""


class Unreadable(Exception):  # noqa: N818 - what a certificate is
    """A certificate that nobody can be identified by; `str()` says why."""


class Certificate:
    """The names and dates of one certificate."""

    __slots__ = (
        "addresses",
        "digest",
        "dns_names",
        "emails",
        "not_after",
        "not_before",
        "pem",
        "principal",
        "spki",
        "subject",
        "uris",
    )

    def __init__(self, der: bytes) -> None:
        try:
            parsed = x509.load_der_x509_certificate(der)
            names = _alternatives(parsed)
            self.subject = _escaped(parsed.subject.rfc4514_string())
            key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except Exception as error:
            raise Unreadable(f"unreadable certificate: {type(error).__name__}") from error
        self.uris = names[x509.UniformResourceIdentifier]
        self.dns_names = names[x509.DNSName]
        self.emails = names[x509.RFC822Name]
        self.addresses = names[x509.IPAddress]
        for name in (*self.uris, *self.dns_names, *self.emails):
            if not name.isascii() or not name.isprintable():
                raise Unreadable("a name in the certificate has characters that no name has")
        self.principal = principal(self.uris[0]) if len(self.uris) == 1 else ""
        """`cluster.local/ns/default/sa/sleep`; empty unless there is one URI and it is a SPIFFE ID (T03)."""
        self.digest = sha256(der).hexdigest()
        self.spki = b64encode(sha256(key).digest()).decode()
        """SHA-256 of the public key, base64."""
        self.pem = ssl.DER_cert_to_PEM_cert(der)
        self.not_before = parsed.not_valid_before_utc.timestamp()
        self.not_after = parsed.not_valid_after_utc.timestamp()
        """Seconds since the epoch."""

    def __repr__(self) -> str:
        return f"<Certificate {self.principal or self.subject} {self.digest[:12]}>"

    def carries(self, wanted: Iterable[str]) -> bool:
        """Whether one of the names `wanted` is in it: Envoy's `match_typed_subject_alt_names`, exact.

        A DNS name in the certificate may begin with `*.` and then stands for one label; every other kind is
        compared as it is written. A name is only looked for among those of its kind: an authority that may
        not sign the DNS name `shop.test` may still sign a URI that reads the same (CVE-2022-21656).
        """
        return any(self._carries(name) for name in wanted)

    def _carries(self, name: str) -> bool:
        if is_ip(name):
            return name in self.addresses
        if ":" in name or "/" in name:
            return name in self.uris
        if "@" in name:
            return name in self.emails
        return any(_covers(pattern, name) for pattern in self.dns_names)


@lru_cache(REMEMBERED)
def parsed(der: bytes) -> Certificate:
    """The certificate in these bytes. Raises Unreadable."""
    return Certificate(der)


def _alternatives(certificate: x509.Certificate) -> dict[Any, tuple[str, ...]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    kinds = (x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name, x509.IPAddress)
    return {
        kind: tuple(str(item.value) for item in names if isinstance(item, kind))  # get_values is untyped
        for kind in kinds
    }


def _covers(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    first, dot, rest = name.partition(".")
    return pattern.startswith("*.") and bool(first and dot) and pattern[2:] == rest


def _escaped(text: str) -> str:
    r"""Like OpenSSL's RFC 2253 form: what is not printable ASCII becomes `\XX` a byte, so that a subject
    stays on one line of a header or log (T07).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if " " <= char <= "~" else "".join(f"\\{byte:02X}" for byte in char.encode()) for char in text
    )
