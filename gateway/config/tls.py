"""TLS in both directions: `ClientTLSSettings` of a DestinationRule, `ServerTLSSettings` of a Gateway.

Lifetime: config. Files are named here and opened when they are used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Strict

from gateway.config.fields import Bool, Checked, HostName, Many, NonEmpty, Problem, rejection

if TYPE_CHECKING:
    from collections.abc import Iterator

ClientMode = Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]
ServerMode = Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL"]
Version = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]

_VERSIONS = ("TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")
_SPKI = re.compile(r"[A-Za-z0-9+/]{43}=\Z")
_HASH = re.compile(r"(?:[0-9a-fA-F]{64}|(?:[0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2})\Z")


class ClientTLSSettings(Checked):
    """How connections to a host's endpoints are secured."""

    mode: ClientMode | None = None
    client_certificate: NonEmpty | None = None
    private_key: NonEmpty | None = None
    ca_certificates: NonEmpty | None = None
    """A file; default: the system's authorities."""
    credential_name: NonEmpty | None = None
    subject_alt_names: Many[NonEmpty] = ()
    """Names the server's certificate may carry; default: the host that is asked for."""
    sni: HostName | None = None
    insecure_skip_verify: Bool | None = None
    ca_crl: NonEmpty | None = None

    def _rules(self) -> Iterator[Problem]:
        files = ("client_certificate", "private_key", "ca_certificates")
        given = [field for field in files if getattr(self, field) is not None]
        if self.mode == "ISTIO_MUTUAL":
            for field in (*given, *(["credential_name"] if self.credential_name else [])):
                yield Problem("GW040", "ISTIO_MUTUAL brings its own certificates", (field,))
        elif self.credential_name is not None:
            for field in given:
                yield Problem("GW040", "credentialName excludes certificate files", (field,))
        elif self.mode == "MUTUAL":
            for field in ("client_certificate", "private_key"):
                if getattr(self, field) is None:
                    yield Problem("GW032", "MUTUAL needs clientCertificate and privateKey", (field,))
        if self.insecure_skip_verify:
            for field in ("ca_certificates", "subject_alt_names"):
                if getattr(self, field):
                    yield Problem("GW040", "insecureSkipVerify verifies nothing", (field,))
            yield Problem(
                "GW091",
                "insecureSkipVerify: anyone on the path can pretend to be this host",
                ("insecureSkipVerify",),
                severity="warning",
            )


def _spki(value: str) -> str:
    if not _SPKI.match(value):
        raise rejection(Problem("GW031", "a base64 SHA-256 of the public key has 44 characters"))
    return value


def _hash(value: str) -> str:
    if not _HASH.match(value):
        raise rejection(Problem("GW031", "a SHA-256 of the certificate has 64 hexadecimal digits"))
    return value


class TLSCertificate(Checked):
    """One certificate of several."""

    server_certificate: NonEmpty | None = None
    private_key: NonEmpty | None = None
    ca_certificates: NonEmpty | None = None

    def _rules(self) -> Iterator[Problem]:
        for field in ("server_certificate", "private_key"):
            if getattr(self, field) is None:
                yield Problem("GW032", "a certificate needs serverCertificate and privateKey", (field,))


class ServerTLSSettings(Checked):
    """How a listener of a Gateway speaks TLS."""

    https_redirect: Bool | None = None
    """Of plain HTTP servers: answer every request with 301 to https."""
    mode: ServerMode | None = None
    """Unset reads as PASSTHROUGH, Istio's zero value, unless only `httpsRedirect` is given."""
    server_certificate: NonEmpty | None = None
    private_key: NonEmpty | None = None
    ca_certificates: NonEmpty | None = None
    ca_crl: NonEmpty | None = None
    credential_name: NonEmpty | None = None
    credential_names: Many[NonEmpty] = ()
    ca_cert_credential_name: NonEmpty | None = None
    tls_certificates: Many[TLSCertificate] = ()
    subject_alt_names: Many[NonEmpty] = ()
    """The client's certificate must carry one of these."""
    verify_certificate_spki: Many[Annotated[str, Strict(), AfterValidator(_spki)]] = ()
    verify_certificate_hash: Many[Annotated[str, Strict(), AfterValidator(_hash)]] = ()
    min_protocol_version: Version | None = None
    """TLS_AUTO is TLSV1_2."""
    max_protocol_version: Version | None = None
    """TLS_AUTO is TLSV1_3."""
    cipher_suites: Many[NonEmpty] = ()

    def _rules(self) -> Iterator[Problem]:
        yield from _source_problems(self)
        yield from _client_problems(self)
        yield from _version_problems(self)
        for index, suite in enumerate(self.cipher_suites):
            if suite in self.cipher_suites[:index]:
                at = ("cipherSuites", index)
                yield Problem("GW043", f'cipher "{suite}" is listed twice', at, severity="warning")


_SOURCES = (
    "server_certificate",
    "private_key",
    "ca_certificates",
    "credential_name",
    "credential_names",
    "tls_certificates",
)


def _source_problems(tls: ServerTLSSettings) -> Iterator[Problem]:
    given = [field for field in _SOURCES if getattr(tls, field)]
    if tls.mode == "ISTIO_MUTUAL":
        for field in given:
            yield Problem("GW040", "ISTIO_MUTUAL brings its own certificates", (field,))
    elif tls.mode in {"PASSTHROUGH", "AUTO_PASSTHROUGH"}:
        for field in given:
            message = f"{tls.mode} does not terminate TLS: certificates are ignored"
            yield Problem("GW051", message, (field,), severity="warning")
    elif tls.mode is not None:
        yield from _terminating_problems(tls)


def _terminating_problems(tls: ServerTLSSettings) -> Iterator[Problem]:
    files = bool(tls.server_certificate or tls.private_key)
    others = ("credential_name", "credential_names", "tls_certificates")
    sources = ["server_certificate"] * files + [field for field in others if getattr(tls, field)]
    if not sources:
        yield Problem("GW032", f"{tls.mode} needs serverCertificate and privateKey, or credentialName")
    for field in sources[1:]:
        yield Problem("GW040", "one source of certificates only", (field,))
    if files:
        for field in ("server_certificate", "private_key"):
            if getattr(tls, field) is None:
                yield Problem("GW032", f"{tls.mode} needs serverCertificate and privateKey", (field,))
    for field in ("credential_names", "tls_certificates"):
        if len(getattr(tls, field)) > 2:
            message = "more than two certificates; one RSA and one ECDSA are enough"
            yield Problem("GW071", message, (field,), severity="warning")


def _client_problems(tls: ServerTLSSettings) -> Iterator[Problem]:
    named = tls.credential_name or tls.credential_names
    if tls.mode in {"MUTUAL", "OPTIONAL_MUTUAL"} and not named and not tls.ca_cert_credential_name:
        inner = tls.tls_certificates and all(item.ca_certificates for item in tls.tls_certificates)
        if tls.ca_certificates is None and not inner:
            message = f"{tls.mode} needs caCertificates to verify clients with"
            yield Problem("GW032", message, ("caCertificates",))
    if tls.ca_crl is not None and (named or tls.mode == "SIMPLE"):
        reason = "credentialName" if named else "mode SIMPLE"
        yield Problem("GW040", f"caCrl does not go with {reason}", ("caCrl",))


def _version_problems(tls: ServerTLSSettings) -> Iterator[Problem]:
    low, high = tls.min_protocol_version, tls.max_protocol_version
    if low in _VERSIONS and high in _VERSIONS and _VERSIONS.index(low) > _VERSIONS.index(high):
        yield Problem("GW093", f"minProtocolVersion {low} is above {high}", ("minProtocolVersion",))
    for field, version in (("minProtocolVersion", low), ("maxProtocolVersion", high)):
        if version in {"TLSV1_0", "TLSV1_1"} and not tls.cipher_suites:
            message = f"{version} is not offered by today's TLS libraries without cipherSuites"
            yield Problem("GW051", message, (field,), severity="warning")
