"""The TLS servers of Gateway documents: one table a port, from the name a client asks for to its server.

Lifetime: config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gateway.tls.contexts import VERIFIED_MODES
from gateway.tls.credentials import WORKLOAD, Files, Named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gateway.config import Config, Gateway
    from gateway.config.gateway import Server
    from gateway.config.tls import ServerTLSSettings
    from gateway.tls.contexts import ServerContext
    from gateway.tls.credentials import Source

T = TypeVar("T")
TERMINATING = frozenset({"SIMPLE", *VERIFIED_MODES})
"""Modes in which this process holds the key."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server of a Gateway document, and where it is written."""

    gateway: Gateway
    index: int
    server: Server

    @property
    def name(self) -> str:
        """`default/edge/https`: namespace and name of the Gateway, name of the port."""
        meta = self.gateway.metadata
        return f"{meta.namespace}/{meta.name}/{self.server.port.name}"

    @property
    def tls(self) -> ServerTLSSettings:
        """Its TLS settings."""
        assert self.server.tls is not None
        return self.server.tls


def tls_servers(config: Config) -> Iterator[Place]:
    """The servers that terminate TLS in this process, in the order of the documents."""
    own = config.settings.spec.labels
    for gateway in config.gateways:
        selector = gateway.spec.selector.items()
        if own and not all(own.get(key) == value for key, value in selector):
            continue
        for index, server in enumerate(gateway.spec.servers):
            tls = server.tls
            if server.port.protocol == "HTTPS" and tls is not None and tls.mode in TERMINATING:
                yield Place(gateway, index, server)


def server_names(server: Server) -> tuple[str, ...]:
    """What clients may call the server: its hosts without their namespaces, in lower case."""
    return tuple(dict.fromkeys(host.rpartition("/")[2].lower() for host in server.hosts))


def server_sources(tls: ServerTLSSettings, base: Path, folders: tuple[Path, ...]) -> tuple[Source, ...]:
    """The credentials of a server: its certificates first. `base`: where relative paths start."""
    trust = tls.mode in VERIFIED_MODES
    if tls.mode == "ISTIO_MUTUAL":
        return (Named(WORKLOAD, folders, trust=True),)
    apart = tls.ca_cert_credential_name
    sources: list[Source] = []
    names = (tls.credential_name,) if tls.credential_name else tls.credential_names
    sources += [Named(name, folders, trust=trust and not apart) for name in names]
    for item in tls.tls_certificates:
        authorities = item.ca_certificates if trust and not apart else None
        sources.append(Files(base, item.server_certificate or "", item.private_key or "", authorities or ""))
    if tls.server_certificate:
        sources.append(Files(base, tls.server_certificate, tls.private_key or ""))
    if trust and apart:
        sources.append(Named(apart, folders, pair=False, trust=True))
    elif trust and tls.ca_certificates:
        sources.append(Files(base, authorities=tls.ca_certificates))
    if trust and tls.ca_crl:
        sources.append(Files(base, revocations=tls.ca_crl))
    return tuple(sources)


class NameTable(Generic[T]):
    """From a name in lower case to what serves it: exact, else the longest `*` pattern."""

    __slots__ = ("_exact", "_wild")

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        """Of two entries for one name, the first has it."""
        self._exact: dict[str, T] = {}
        wild: dict[str, T] = {}
        for name, value in entries:
            (wild if name.startswith("*") else self._exact).setdefault(name.removeprefix("*"), value)
        self._wild = sorted(wild.items(), key=lambda item: len(item[0]), reverse=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name and pattern."""
        return (*self._exact, *(f"*{suffix}" for suffix, _ in self._wild))

    def find(self, name: str) -> T | None:
        """What serves a name; "" stands for a client that gives none, and is for `*` alone."""
        found = self._exact.get(name)
        if found is None:
            for suffix, value in self._wild:
                if not suffix or (name.endswith(suffix) and len(name) > len(suffix)):
                    return value
        return found


class TlsServer(NamedTuple):
    """One server, ready to shake hands."""

    name: str
    """As `Place.name`."""
    names: tuple[str, ...]
    """Hosts and patterns; `*` takes every name, and clients that give none."""
    context: ServerContext


class ServerTable(NameTable[TlsServer]):
    """The TLS servers of one port. A name that nobody serves is refused in the handshake, as Envoy does when
    no filter chain matches.
    """

    __slots__ = ("servers",)

    def __init__(self, servers: Iterable[TlsServer]) -> None:
        self.servers = tuple(servers)
        super().__init__((name, server) for server in self.servers for name in server.names)

    def __repr__(self) -> str:
        return f"<ServerTable {', '.join(server.name for server in self.servers)}>"
