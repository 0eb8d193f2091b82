"""A request that nobody sent: from what a person types to the scope a server would make of it.

Lifetime: request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from gateway.config.address import host_port
from gateway.http.peer import Peer

if TYPE_CHECKING:
    from gateway.routing import Snapshot

_URL = re.compile(r"(?:(https?)://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS = re.compile(r"[\r\n\0]")


class BadQuestion(ValueError):  # noqa: N818 - a usage error, told as its sentence
    """What was asked is no request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as a person describes it."""

    method: str = "GET"
    url: str = "/"
    """Absolute, or a path together with a Host header."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names and values in order."""
    principal: str = ""
    """SPIFFE identity of the client's certificate, `spiffe://` or not; empty: it has no certificate."""
    token: str = ""
    """A JWT, sent as `authorization: Bearer`."""
    sni: str = ""
    """Server name of the TLS handshake."""
    source_ip: str = "127.0.0.1"
    """Address of the direct peer."""

    def scope(self, snapshot: Snapshot) -> dict[str, Any]:
        """The ASGI scope that the server would make of it. BadQuestion when it is no request."""
        found = _URL.fullmatch(self.url)
        if found is None or not (found[3] == "" or found[3].startswith("/") or found[3] == "*"):
            raise BadQuestion(f"{self.url!r} is neither http://host/path nor /path")
        if not _METHOD.fullmatch(self.method):
            raise BadQuestion(f"{self.method!r} is no method")
        if not _is_address(self.source_ip):
            raise BadQuestion(f"{self.source_ip!r} is no IP address")
        scheme = (found[1] or ("https" if self.principal or self.sni else "http")).lower()
        authority, path, query = found[2] or "", found[3] or "/", found[4] or ""
        headers = self._headers(authority)
        return {
            "type": "http",
            "http_version": "1.1",
            "method": self.method,
            "scheme": scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "client": (self.source_ip, 0),
            "server": ("", port_of(snapshot, authority, scheme)),
        }

    @property
    def peer(self) -> Peer | None:
        """The TLS side of the connection; None without TLS."""
        secure = self.principal or self.sni or self.url.lower().startswith("https:")
        if not secure:
            return None
        identity = self.principal.removeprefix("spiffe://")
        uris = (f"spiffe://{identity}",) if identity else ()
        return Peer(
            verified=bool(identity),
            principal=identity,
            uris=uris,
            sni=self.sni.lower() or _name(self.url),
            version="TLSv1.3",
        )

    def _headers(self, authority: str) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = []
        for name, value in self.headers:
            if not _NAME.fullmatch(name):
                raise BadQuestion(f"{name!r} is no header name")
            if _BREAKS.search(value):
                raise BadQuestion(f"the value of {name} has a line break")
            headers.append((name.lower().encode(), _octets(value.strip(" \t"))))
        if self.token:
            headers.append((b"authorization", b"Bearer " + _octets(self.token)))
        if not any(name == b"host" for name, _ in headers):
            if not authority:
                raise BadQuestion("name the host: an absolute URL, or -H 'host: NAME'")
            headers.insert(0, (b"host", _octets(authority)))
        return headers


def header(line: str) -> tuple[str, str]:
    """`name: value` as name and value; BadQuestion."""
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise BadQuestion(f"{line!r} is not 'name: value'")
    return name.strip(), value.strip()


def port_of(snapshot: Snapshot, authority: str, scheme: str) -> int:
    """The local port a request to `authority` comes in on.

    The URL's own port; else the scheme's when a Gateway document listens there; else the only Gateway port,
    or where GatewaySettings `listen` says.
    """
    _, colon, digits = authority.rpartition(":")
    if colon and digits.isdigit() and int(digits) < 65536:
        return int(digits)
    usual = 443 if scheme == "https" else 80
    if usual in snapshot.listeners:
        return usual
    if len(snapshot.listeners) == 1:
        return next(iter(snapshot.listeners))
    return host_port(snapshot.config.settings.spec.listen)[1]


def _name(url: str) -> str:
    found = _URL.fullmatch(url)
    authority = (found[2] or "") if found is not None else ""
    return authority.rpartition("@")[2].partition(":")[0].lower() if not authority.startswith("[") else ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _octets(text: str) -> bytes:
    """As a client would send it: one byte a character where that is possible."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()
