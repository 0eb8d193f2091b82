"""Authorities, certificates and contexts, made by the code that `gateway certs` uses."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.tls import mint
from gateway.tls.mint import Leaf, Pair

HOUR = dt.timedelta(hours=1)
SLEEP = "cluster.local/ns/default/sa/sleep"


@cache
def authority(name: str = "test authority") -> Pair:
    """An authority by its name, the same for the whole session."""
    return mint.make_authority(name)


def leaf(
    signer: Pair | None = None, *, valid: tuple[dt.timedelta, dt.timedelta] | None = None, **says: Any
) -> Pair:
    """A certificate. `valid`: from when to when, counted from now; `says`: fields of `Leaf`."""
    signer = signer or authority()
    if valid is None:
        return mint.issue(signer, Leaf(**says))
    begin, end = valid
    made = mint.issue(signer, Leaf(**says))
    return resigned(signer, made, dt.datetime.now(dt.UTC) + begin, dt.datetime.now(dt.UTC) + end)


def resigned(signer: Pair, made: Pair, begin: dt.datetime, end: dt.datetime) -> Pair:
    """The same certificate with other dates."""
    old = made.certificate
    builder = x509.CertificateBuilder(
        old.issuer, old.subject, old.public_key(), old.serial_number, begin, end, list(old.extensions)
    )
    return Pair(builder.sign(signer.key, hashes.SHA256()), made.key)


def with_names(
    names: list[x509.GeneralName], signer: Pair | None = None, subject: x509.Name | None = None
) -> Pair:
    """A certificate with exactly these alternative names, however odd."""
    signer = signer or authority()
    made = mint.issue(signer, Leaf(dns_names=("a",)))
    old = made.certificate
    builder = x509.CertificateBuilder(
        old.issuer,
        subject or old.subject,
        old.public_key(),
        old.serial_number,
        old.not_valid_before_utc,
        old.not_valid_after_utc,
        [item for item in old.extensions if not isinstance(item.value, x509.SubjectAlternativeName)],
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(builder.sign(signer.key, hashes.SHA256()), made.key)


def der(pair: Pair) -> bytes:
    """The certificate's bytes."""
    return pair.certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Certs:
    """A `certs/` folder."""

    folder: Path

    def put(self, name: str, pair: Pair, signer: Pair | bytes | None = None, *, crl: bytes = b"") -> Path:
        """Writes a credential; `signer` becomes its ca.crt."""
        bundle = signer.pem if isinstance(signer, Pair) else signer or b""
        mint.write_credential(self.folder / name, pair, bundle)
        if crl:
            mint.write(self.folder / name / "ca.crl", crl)
        return self.folder / name

    def client(self, pair: Pair | None = None, *trusted: Pair, name: str = "client") -> ssl.SSLContext:
        """A client's context: its certificate, and the authorities it believes (default: the test's own)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata="".join(item.pem.decode() for item in trusted or (authority(),)))
        if pair is not None:
            place = self.put(f".{name}", pair)
            context.load_cert_chain(place / "tls.crt", place / "tls.key")
        return context

    def server(self, pair: Pair, *trusted: Pair, required: bool = True) -> ssl.SSLContext:
        """A backend's context; with `trusted` it asks for certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        place = self.put(".server", pair)
        context.load_cert_chain(place / "tls.crt", place / "tls.key")
        for item in trusted:
            context.load_verify_locations(cadata=item.pem.decode())
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context
