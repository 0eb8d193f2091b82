"""SSL contexts: of a Gateway's server towards clients, and of the gateway towards backends.

Lifetime: config. A context is made of one state of its credentials and never changed: new trust is a new
context, and so neither a session nor a ticket of the old one can resume past it.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.tls.certificate import Unreadable, parsed
from gateway.tls.material import CredentialError
from gateway.tls.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography import x509

    from gateway.config.tls import ClientTLSSettings, ServerTLSSettings
    from gateway.tls.material import Material

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2, when nothing is asked for: forward secret and authenticated. TLS 1.3 has no others."""
SECURITY: Final = "@SECLEVEL=2"
"""No key below 112 bits of strength, no SHA-1 in a chain (T02)."""
VERIFIED_MODES: Final = frozenset({"MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"})
"""Modes of a server that look at clients' certificates, and ..."""
REQUIRING_MODES: Final = frozenset({"MUTUAL", "ISTIO_MUTUAL"})
"""... those that do not go on without one."""
_VERSIONS: Final = {"TLSV1_2": ssl.TLSVersion.TLSv1_2, "TLSV1_3": ssl.TLSVersion.TLSv1_3}
PROTOCOLS: Final = ["http/1.1"]
MESH_PROTOCOLS: Final = ["istio-http/1.1", "istio", "http/1.1"]
"""What sidecars tell mutual TLS of the mesh by."""
_REMEMBERED_VERDICTS: Final = 2048
_REMEMBERED_SESSIONS: Final = 256


class ServerContext(ssl.SSLContext):
    """Terminates TLS for one server of a Gateway."""

    name: str
    """The server, as `Place.name`."""
    terms: Terms
    serves: Callable[[str], bool]
    """Whether a server name is this context's; the handshake ends when OpenSSL reads another than we did."""
    verifies: bool
    """Whether clients are asked for certificates."""
    requires: bool
    """Whether they must have one."""
    local_uris: tuple[str, ...]
    """URIs of our certificate."""
    local_pem: str
    """Our certificate, without its chain."""
    verdicts: dict[str, str]
    """Digest of a client's certificate -> why it is refused, or empty."""

    def verdict(self, der: bytes, root: Callable[[], bytes | None]) -> str:
        """Why a client's certificate is refused; empty when it is not."""
        try:
            certificate = parsed(der)
        except Unreadable:
            return "unreadable_certificate"
        found = self.verdicts.get(certificate.digest)
        if found is None:
            found = self.terms.breach(certificate, root())
            if len(self.verdicts) < _REMEMBERED_VERDICTS:
                self.verdicts[certificate.digest] = found
        return found


class ClientContext(ssl.SSLContext):
    """Originates TLS with one set of credentials. Remembers a session for each server name."""

    sessions: dict[str, ssl.SSLObject]
    """The last connection to each server name: its session may come long after its handshake."""
    local_uri: str
    """The first URI in the certificate that it shows, a SPIFFE ID in a mesh; empty: none."""

    def remember(self, connection: ssl.SSLObject, name: str) -> None:
        """Offers the session of a connection, whose other side is who it should be, to the next one."""
        if name in self.sessions or len(self.sessions) < _REMEMBERED_SESSIONS:
            self.sessions[name] = connection

    def wrap_bio(  # the event loops make their connections with this, and give no session
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """A connection that offers the session of the one before."""
        name = server_hostname.decode() if isinstance(server_hostname, bytes) else server_hostname or ""
        before = self.sessions.get(name)
        if session is None and before is not None:
            session = before.session
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def server_context(
    name: str, settings: ServerTLSSettings, materials: Sequence[Material], terms: Terms
) -> ServerContext:
    """The context of a server in one of the terminating modes. CredentialError when it cannot be made.

    Until a table of servers sets `serves`, it takes every server name.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.name, context.terms, context.verdicts, context.serves = name, terms, {}, lambda _: True
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(PROTOCOLS)
    _limit(context, settings.min_protocol_version, settings.max_protocol_version)
    _choose_ciphers(context, settings.cipher_suites)
    pairs = [material for material in materials if material.certificate]
    for material in pairs:
        _load_pair(context, material)
    mode = settings.mode
    context.verifies, context.requires = mode in VERIFIED_MODES, mode in REQUIRING_MODES
    if context.verifies:
        # A resumed session would skip the certificate: no tickets, which do without our memory. What 1.2
        # keeps in that memory ends with this context, and `identify` looks at its dates.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        _load_trust(context, materials)
        context.verify_mode = ssl.CERT_REQUIRED if context.requires else ssl.CERT_OPTIONAL
    own = pairs[0].chain[0]
    certificate = parsed(ssl.PEM_cert_to_DER_cert(_pem(own)))
    context.local_uris, context.local_pem = certificate.uris, certificate.pem
    context.sni_callback = _agree
    return context


def server_terms(settings: ServerTLSSettings, domains: Sequence[Material]) -> Terms:
    """The conditions on clients' certificates."""
    return Terms(
        settings.subject_alt_names,
        frozenset(settings.verify_certificate_spki),
        frozenset(item.replace(":", "").lower() for item in settings.verify_certificate_hash),
        {
            material.name: frozenset(ssl.PEM_cert_to_DER_cert(_pem(root)) for root in material.roots)
            for material in domains
        },
    )


def client_context(settings: ClientTLSSettings, materials: Sequence[Material]) -> ClientContext:
    """The context for a DestinationRule's `tls`. CredentialError when it cannot be made.

    Names are compared after the handshake, by `Origination`; the chain, its dates and revocations in it.
    Without authorities of its own the system's are believed.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sessions, context.local_uri = {}, ""
    context.check_hostname = False
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _limit(context, None, None)
    _choose_ciphers(context, ())
    context.set_alpn_protocols(MESH_PROTOCOLS if settings.mode == "ISTIO_MUTUAL" else PROTOCOLS)
    if settings.insecure_skip_verify:
        context.verify_mode = ssl.CERT_NONE
    else:
        if not any(material.authorities for material in materials):
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        _load_trust(context, materials)
    for material in materials:
        if material.certificate:
            _load_pair(context, material)
            with suppress(Unreadable):
                context.local_uri = next(
                    iter(parsed(ssl.PEM_cert_to_DER_cert(_pem(material.chain[0]))).uris), ""
                )
    return context


def suites(asked: Sequence[str]) -> list[str]:
    """Names of the suites that a context has for TLS 1.2 when it is `asked` for these; for none, the usual
    ones. CredentialError when none of them is known.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _choose_ciphers(context, asked)
    return [item["name"] for item in context.get_ciphers() if not item["name"].startswith("TLS_")]


def _agree(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
    """OpenSSL's reading of the server name must be the one that chose the context. It is written down here,
    for a connection is not asked for it later on the server's side.
    """
    assert isinstance(context, ServerContext)
    connection.server_name = (name or "").lower()  # type: ignore[attr-defined]
    return None if context.serves((name or "").lower()) else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def _limit(context: ssl.SSLContext, low: str | None, high: str | None) -> None:
    """TLS 1.2 is the oldest there is, whatever is asked for (T16)."""
    context.minimum_version = _VERSIONS.get(low or "", ssl.TLSVersion.TLSv1_2)
    if high in {"TLSV1_0", "TLSV1_1"}:
        raise CredentialError(f"maxProtocolVersion {high}: TLS 1.2 is the oldest version spoken here")
    context.maximum_version = _VERSIONS.get(high or "", ssl.TLSVersion.TLSv1_3)


def _choose_ciphers(context: ssl.SSLContext, asked: Sequence[str]) -> None:
    """Suites that this library does not know are dropped, as in Istio; at least one must remain."""
    context.set_ciphers(f"{CIPHERS}:{SECURITY}")
    if not asked:
        return
    usable = [suite for suite in asked if _usable(suite)]
    if not usable:
        raise CredentialError(f"cipherSuites: none of {', '.join(asked)} is known here, or strong enough")
    context.set_ciphers(f"{':'.join(usable)}:{SECURITY}")


def _usable(suite: str) -> bool:
    """Whether the name is that of one cipher suite of TLS 1.2, and not of a group such as ALL."""
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        probe.set_ciphers(f"{suite}:{SECURITY}")
    except ssl.SSLError:
        return False
    return any(item["name"] == suite for item in probe.get_ciphers())


def _load_pair(context: ssl.SSLContext, material: Material) -> None:
    with _file(material.certificate + b"\n" + material.key) as path:
        try:
            context.load_cert_chain(path, password=_no_password)
        except (ssl.SSLError, OSError) as error:
            raise CredentialError(f"{material.name}: {_reason(error)}") from error


def _load_trust(context: ssl.SSLContext, materials: Sequence[Material]) -> None:
    """Authorities, intermediate ones too (as in Envoy), and revocations for every certificate of a chain."""
    for material in materials:
        if material.authorities:
            try:
                context.load_verify_locations(cadata="".join(_pem(root) for root in material.roots))
            except ssl.SSLError as error:
                raise CredentialError(f"{material.name}: {_reason(error)}") from error
        _load_revocations(context, material)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_revocations(context: ssl.SSLContext, material: Material) -> None:
    if material.revocations:
        with _file(material.revocations) as path:
            try:
                context.load_verify_locations(cafile=path)
            except ssl.SSLError as error:
                raise CredentialError(f"{material.name}: {_reason(error)}") from error
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _no_password() -> bytes:
    raise CredentialError("the key is encrypted, and there is nobody to ask")


def _reason(error: OSError) -> str:
    """OpenSSL's word for it: `key values mismatch`."""
    return (getattr(error, "reason", None) or error.strerror or str(error)).lower().replace("_", " ")


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL finds exactly these bytes: in memory where the system can, for the file they
    came from may be another by now.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("credential")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:  # readable by its owner alone
        file.write(content)
        file.flush()
        yield file.name
