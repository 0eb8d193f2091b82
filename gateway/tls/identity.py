"""Who is at the other end of a TLS connection, and how upstreams and applications are told.

Lifetime: request (pure functions over one connection); what is remembered belongs to a context or is bounded.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from gateway.http.peer import Peer
from gateway.tls.certificate import Unreadable, parsed
from gateway.tls.contexts import ServerContext

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_VERSIONS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304, "TLSv1.1": 0x0302, "TLSv1": 0x0301}
_QUOTED: Final = frozenset(',;="\\')
_DER: Final = 2
"""`_ssl.ENCODING_DER`."""


def identify(connection: ssl.SSLObject, *, wall: Callable[[], float] = time.time) -> Peer:
    """The peer of a connection whose handshake is complete. Once a connection: every request shares it.

    Without a certificate, or with one that must not count (`breach`), `verified` is False and every name is
    empty: nobody is identified by what was not checked. Works for any SSLContext of a server, uvicorn's too.
    """
    version = connection.version() or ""
    cipher = (connection.cipher() or ("", "", 0))[0]
    sni: str = getattr(connection, "server_name", "")
    context = connection.context
    local, server = (context.local_uris, context.name) if isinstance(context, ServerContext) else ((), "")
    der = connection.getpeercert(True)
    if not der or not context.verify_mode or breach(connection, wall=wall):
        return Peer(sni=sni, version=version, cipher=cipher, local_uris=local, server=server)
    certificate = parsed(der)
    return Peer(
        verified=True,
        principal=certificate.principal,
        uris=certificate.uris,
        dns_names=certificate.dns_names,
        subject=certificate.subject,
        digest=certificate.digest,
        pem=certificate.pem,
        sni=sni,
        version=version,
        cipher=cipher,
        local_uris=local,
        server=server,
    )


def breach(connection: ssl.SSLObject, *, wall: Callable[[], float] = time.time) -> str:
    """Why a connection must end although its handshake succeeded: `subject_alt_name`, `certificate_pin`,
    `trust_domain`, `unreadable_certificate` or `certificate_expired`. Empty when it may stay.
    """
    der = connection.getpeercert(True)
    context = connection.context
    if not der or not context.verify_mode:
        return ""
    if isinstance(context, ServerContext):
        verdict = context.verdict(der, lambda: _root(connection))
        if verdict:
            return verdict
    try:
        certificate = parsed(der)
    except Unreadable:
        return "unreadable_certificate"
    # Only a resumed session can be past its date here.
    return "" if certificate.not_before <= wall() <= certificate.not_after else "certificate_expired"


def _root(connection: ssl.SSLObject) -> bytes | None:
    """The authority at which OpenSSL's verified chain ends; None when a resumed session has no chain."""
    if hasattr(connection, "get_verified_chain"):  # Python 3.13
        chain: list[bytes] = connection.get_verified_chain()
        return chain[-1] if chain else None
    inner: Any = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - public since 3.13 only
    certificates = inner.get_verified_chain()
    return bytes(certificates[-1].public_bytes(_DER)) if certificates else None


def xfcc(peer: Peer) -> bytes:
    """The element of `x-forwarded-client-cert` for a verified peer, in Envoy's format and with the details
    that Istio's gateways send; b"" without a verified certificate.
    """
    return _element(peer) if peer.verified else b""


@lru_cache(1024)
def _element(peer: Peer) -> bytes:
    parts = [f"By={_value(uri)}" for uri in peer.local_uris]
    parts.append(f"Hash={peer.digest}")
    parts.append(f'Cert="{_encoded(peer.pem)}"')
    parts.append(f'Subject="{peer.subject}"')  # RFC 2253 has escaped its quotes
    parts += [f"URI={_value(uri)}" for uri in peer.uris] or ["URI="]
    parts += [f"DNS={_value(name)}" for name in peer.dns_names]
    return ";".join(parts).encode("ascii")


def _value(text: str) -> str:
    """A name as it is, in quotes when it could be taken for more than one value."""
    if _QUOTED.isdisjoint(text):
        return text
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def _encoded(pem: str) -> str:
    """As Envoy writes a PEM: `absl::StrReplaceAll` of five characters."""
    for char, code in (("\n", "%0A"), (" ", "%20"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D")):
        pem = pem.replace(char, code)
    return pem


def tls_extension(peer: Peer, connection: ssl.SSLObject | None = None) -> dict[str, Any]:
    """`scope["extensions"]["tls"]` of the ASGI TLS extension 0.2. Once a connection.

    `client_cert_chain` holds the client's certificate alone: the rest of a chain is for us to verify.
    """
    context = connection.context if connection is not None else None
    return {
        "server_cert": context.local_pem if isinstance(context, ServerContext) else None,
        "client_cert_chain": (peer.pem,) if peer.pem else (),
        "client_cert_name": peer.subject if peer.verified else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(peer.version),
        "cipher_suite": _suites().get(peer.cipher),
    }


@lru_cache(1)
def _suites() -> dict[str, int]:
    """IANA's numbers of the suites that OpenSSL knows, by OpenSSL's names."""
    import ssl  # noqa: PLC0415 - only for type checkers above

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return {item["name"]: item["id"] & 0xFFFF for item in context.get_ciphers()}
