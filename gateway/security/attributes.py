"""What policies compare: attributes of a request, and the values each may be taken to have.

Lifetime: config; the cache of identities is bounded.

Theory. An attribute is read as a tuple of *readings*: none when it is missing, one as a rule, several when
the request lends itself to more than one (a header with two lines). None: it is there and cannot be read (a
header that is not UTF-8, a certificate with two SPIFFE identities). What lets a request in must hold for
every reading, what keeps it out for one; see `terms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from gateway.http.request import Request

Readings = tuple[Any, ...] | None
Read = Callable[["Request"], Readings]


class Attribute(NamedTuple):
    """Something of a request that texts are compared with."""

    name: str
    """Equal names read alike: the index files rules by it."""
    read: Read
    single: Callable[[Request], Any] | None = None
    """The only reading, when there always is exactly one."""
    members: bool = False
    """The readings are members of one value (a list in a token), not rivals: one that matches is enough."""


def _single(name: str, read: Callable[[Request], Any]) -> Attribute:
    return Attribute(name, lambda request: (read(request),), read)


PATH = _single("path", lambda request: request.path)
"""Bytes."""
HOST = _single("host", lambda request: request.authority.lower())
"""The Host header as bytes, its port included, lower-case."""


def _spellings(request: Request) -> tuple[bytes, ...]:
    authority = request.authority.lower()
    bare = request.host.encode("latin-1")
    return tuple({authority: None, bare: None, bare.rstrip(b"."): None})


def _text_spellings(request: Request) -> tuple[str, ...]:
    return tuple(item.decode("latin-1") for item in _spellings(request))


HOST_HOWEVER = Attribute("host, however spelt", _spellings)
"""Routes are chosen without regard to the port, so what keeps out must not be walked around by naming one."""
METHOD = _single("method", lambda request: request.method)


# -- the peer's certificate --------------------------------------------------------------------


class Identity(NamedTuple):
    """A SPIFFE identity, taken apart the way Istio writes them."""

    trust_domain: str
    namespaces: tuple[str, ...]
    """One; several when `ns` stands in it several times."""
    accounts: tuple[str, ...]
    """`namespace/name`."""


@lru_cache(maxsize=4096)
def identity(principal: str) -> Identity:
    """`cluster.local/ns/default/sa/sleep`; segments other than these may stand between and behind."""
    parts = principal.split("/")
    places = [i for i in range(1, len(parts) - 2) if parts[i] == "ns"]
    accounts = [
        f"{parts[i + 1]}/{parts[j + 1]}"
        for i in places
        for j in range(i + 2, len(parts) - 1)
        if parts[j] == "sa"
    ]
    return Identity(parts[0], tuple(parts[i + 1] for i in places), tuple(accounts))


def _principal(request: Request) -> Readings:
    peer = request.peer
    if peer is None or not peer.verified:
        return ()
    if peer.principal:
        return (peer.principal,)
    # A SPIFFE identity that is not one (two of them, or misspelt) is no identity, and not none either.
    return None if any(uri[:7].lower() == "spiffe:" for uri in peer.uris) else ()


def _peer(request: Request) -> Readings:
    found = _principal(request)
    if found == () and request.peer is not None and request.peer.verified:
        return ("a certificate without SPIFFE identity",)
    return found


def _of_identity(part: Callable[[Identity], tuple[str, ...]]) -> Read:
    def read(request: Request) -> Readings:
        found = _principal(request)
        return part(identity(found[0])) if found else found

    return read


PRINCIPAL = Attribute("principal", _principal)
PEER = Attribute("peer", _peer)
"""Anybody with a verified certificate, which need not be a SPIFFE one."""
NAMESPACE = Attribute("namespace", _of_identity(lambda item: item.namespaces))
SERVICE_ACCOUNT = Attribute("service account", _of_identity(lambda item: item.accounts))
TRUST_DOMAIN = Attribute("trust domain", _of_identity(lambda item: (item.trust_domain,)))


def _sni(request: Request) -> Readings:
    peer = request.peer
    return (peer.sni,) if peer is not None and peer.sni else ()


SNI = Attribute("sni", _sni)


# -- headers -----------------------------------------------------------------------------------


def header(name: str, *, wide: bool = False) -> Attribute:
    """A header; each line is a reading. `Host` is the authority, if `wide` with and without its port."""
    key = name.lower().encode()
    if key == b"host" and wide:
        return Attribute(
            "header host, however spelt",
            lambda request: (request.authority.decode("latin-1"), *_text_spellings(request)),
        )
    if key == b"host":
        return Attribute("header host", lambda request: (request.authority.decode("latin-1"),))

    def read(request: Request) -> Readings:
        value = request.header_map.get(key)
        if value is None:
            return ()
        lines = request.header_values(key) if request.repeated else (value,)
        try:
            return tuple(line.decode() for line in lines)
        except UnicodeDecodeError:
            return None

    return Attribute(f"header {name.lower()}", read)


# -- the token ---------------------------------------------------------------------------------

_SPACED = frozenset({("scope",), ("permission",)})
"""Claims whose words are members (RFC 8693 4.2; Envoy splits both)."""


def claim(path: tuple[str, ...], *, wide: bool) -> Attribute:
    """A claim of the verified token, below the claims named before it: text, or a list of texts.

    Istio compares texts alone. `wide` takes numbers and truth values by their JSON text as well, and what
    has none for unreadable: so no type makes a request pass that the same text would keep out.
    """

    def read(request: Request) -> Readings:
        value: Any = request.claims
        for part in path:
            if not isinstance(value, Mapping):
                return ()
            value = value.get(part)
        if value is None:
            return ()
        if isinstance(value, str):
            return tuple(value.split()) if path in _SPACED else (value,)
        members = value if isinstance(value, list | tuple) else (value,)
        texts = tuple(member for member in members if isinstance(member, str))
        if len(texts) == len(members) or not wide:
            return texts
        found = [_json_text(member) for member in members]
        return None if None in found else tuple(found)

    return Attribute(f"claim {'.'.join(path)}{' (any type)' if wide else ''}", read, members=True)


def _json_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def issuer_and_subject(request: Request) -> tuple[str, str] | None:
    """Who issued the verified token, and for whom; None when there is none, or it does not say."""
    claims = request.claims
    if claims is not None:
        issuer, subject = claims.get("iss"), claims.get("sub")
        if isinstance(issuer, str) and isinstance(subject, str):
            return issuer, subject
        if issuer is not None or subject is not None:
            return None
    issuer, slash, subject = request.request_principal.rpartition("/")
    return (issuer, subject) if slash else None


def _request_principal(request: Request) -> Readings:
    found = issuer_and_subject(request)
    return () if found is None else (f"{found[0]}/{found[1]}",)


REQUEST_PRINCIPAL = Attribute("request principal", _request_principal)
"""`issuer/subject`."""


# -- addresses ---------------------------------------------------------------------------------

ADDRESSES: Mapping[str, Callable[[Request], str]] = {
    "source.ip": lambda request: request.peer_ip,
    "remote.ip": lambda request: request.client_ip,
    "destination.ip": lambda request: request.local_ip,
}
"""Key of a condition -> address as text; empty when it is not known."""
