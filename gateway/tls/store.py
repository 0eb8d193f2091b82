"""Every credential in use: read, turned into contexts, followed on disk, and kept when a new one is no good.

Lifetime: process. `prepare` reads and builds and may run in a thread; `commit` is one assignment on the loop.

A credential that cannot be read keeps what it held before, with a finding that says why; one that never could
be read refuses the configuration. What did not change keeps its context, and with it sessions and verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gateway.config.codes import define
from gateway.config.findings import Finding
from gateway.tls.contexts import (
    VERIFIED_MODES,
    ClientContext,
    ServerContext,
    client_context,
    server_context,
    server_terms,
)
from gateway.tls.credentials import Domains, folders_beside
from gateway.tls.expiry import Held, held
from gateway.tls.handshakes import Handshakes
from gateway.tls.material import CredentialError
from gateway.tls.origination import Destination, Origination, client_sources
from gateway.tls.servers import ServerTable, TlsServer, server_names, server_sources, tls_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from gateway.config.config import Config
    from gateway.config.findings import Position
    from gateway.config.model import Severity
    from gateway.config.resource import Resource
    from gateway.config.tls import ClientTLSSettings
    from gateway.tls.credentials import Source
    from gateway.tls.material import Material
    from gateway.tls.servers import Place

_C = TypeVar("_C", ServerContext, ClientContext)

define(
    "GW281",
    "credential cannot be used",
    "error",
    "A certificate, key, bundle of authorities or revocation list is missing, unreadable, or not of one piece"
    " with the others. Nothing of the configuration is applied: a listener without certificate, or a backend"
    " that nobody can verify, would only look safe. docs/tls.md says where credentials are looked for.",
)
define(
    "GW282",
    "credential is kept as it was",
    "warning",
    "The files of a credential changed and cannot be used as they are now; often they are just being"
    " replaced. Connections go on with what the files held before, until they can be used again.",
)


@dataclass(frozen=True, slots=True)
class Secured:
    """One state of every credential, not in use before `commit`."""

    config: Config
    destinations: Mapping[str, Destination]
    tables: Mapping[int, ServerTable]
    """By port."""
    originations: Mapping[str, Origination]
    """By cluster."""
    contexts: Mapping[Hashable, ServerContext | ClientContext]
    """By everything they are made of."""
    materials: Mapping[Hashable, tuple[Material, ...]]
    """By source."""
    findings: tuple[Finding, ...]
    watched: frozenset[Path]
    """Paths whose change may change all this."""

    @property
    def fatal(self) -> bool:
        """Whether it must not be used: something in it was never readable."""
        return any(finding.fatal for finding in self.findings)


class Store:
    """The credentials of one gateway. Commit from one event loop."""

    def __init__(self, paths: Iterable[Path], *, handshakes: Handshakes | None = None) -> None:
        self.folders = folders_beside(paths)
        """Where names of credentials are looked up, in this order."""
        self.handshakes = handshakes or Handshakes()
        self.secured: Secured | None = None
        """What is in use; None before the first `commit`."""
        self._held: tuple[Secured | None, tuple[Held, ...]] = (None, ())
        self.changes = 0
        """How often credentials changed on disk and were put to use."""

    def __repr__(self) -> str:
        return f"<Store {', '.join(map(str, self.folders))} changes {self.changes}>"

    def table(self, port: int) -> ServerTable | None:
        """The TLS servers of a port; None when it has none now."""
        return self.secured.tables.get(port) if self.secured is not None else None

    @property
    def ports(self) -> frozenset[int]:
        """Ports on which TLS is terminated."""
        return frozenset(self.secured.tables) if self.secured is not None else frozenset()

    def certificates(self) -> tuple[Held, ...]:
        """Every certificate in use, the first to expire first."""
        secured, held_by = self._held
        if secured is not self.secured:
            every = [] if self.secured is None else self.secured.materials.values()
            found = {item for group in every for material in group for item in held(material)}
            held_by = tuple(sorted(found, key=lambda item: item.not_after))
            self._held = self.secured, held_by
        return held_by

    def prepare(self, config: Config, destinations: Mapping[str, Destination]) -> Secured:
        """Reads every credential that the configuration names. Changes nothing; may run in a thread."""
        return _Preparation(config, destinations, self.folders, self.secured).result()

    def refresh(self) -> Secured | None:
        """The same configuration with what the files hold now; None when nothing changed. For a thread."""
        before = self.secured
        if before is None:
            return None
        now = self.prepare(before.config, before.destinations)
        return now if (now.materials, now.findings) != (before.materials, before.findings) else None

    def commit(self, secured: Secured, *, changed: bool = False) -> None:
        """Puts a state to use: handshakes from here on have it. `changed`: credentials did, on disk."""
        for table in secured.tables.values():
            for server in table.servers:
                server.context.serves = _Serves(table, server)
        self.secured = secured
        self.changes += changed


class _Serves:
    """Whether a server name belongs to a server."""

    __slots__ = ("_server", "_table")

    def __init__(self, table: ServerTable, server: TlsServer) -> None:
        self._table, self._server = table, server

    def __call__(self, name: str) -> bool:
        return self._table.find(name) is self._server


class _Preparation:
    """One pass over everything that needs credentials."""

    def __init__(
        self,
        config: Config,
        destinations: Mapping[str, Destination],
        folders: tuple[Path, ...],
        before: Secured | None,
    ) -> None:
        self.config = config
        self.destinations = destinations
        self.folders = folders
        self.old_materials = before.materials if before is not None else {}
        self.old_contexts = before.contexts if before is not None else {}
        self.materials: dict[Hashable, tuple[Material, ...]] = {}
        self.contexts: dict[Hashable, ServerContext | ClientContext] = {}
        self.findings: dict[tuple[object, ...], Finding] = {}
        self.watched: set[Path] = set()

    def result(self) -> Secured:
        servers: dict[int, list[TlsServer]] = {}
        for place in tls_servers(self.config):
            server = self._server(place)
            if server is not None:
                servers.setdefault(place.server.port.number, []).append(server)
        originations = {
            name: made
            for name, destination in self.destinations.items()
            if (made := self._origination(destination)) is not None
        }
        return Secured(
            self.config,
            self.destinations,
            {port: ServerTable(items) for port, items in servers.items()},
            originations,
            self.contexts,
            self.materials,
            tuple(self.findings.values()),
            frozenset(self.watched),
        )

    def _server(self, place: Place) -> TlsServer | None:
        tls, where = place.tls, self._position(place.gateway, "spec", "servers", place.index, "tls")
        sources = server_sources(tls, Path(where.path).parent, self.folders)
        materials = self._read(sources, where)
        domains = self._read([Domains(self.folders)], where) if tls.mode in VERIFIED_MODES else ()
        if materials is None or domains is None:
            return None

        def make() -> ServerContext:
            return server_context(place.name, tls, materials, server_terms(tls, domains))

        key = (place.name, tls.model_dump_json(), materials, domains)
        context = self._context(key, make, where)
        return TlsServer(place.name, server_names(place.server), context) if context is not None else None

    def _origination(self, destination: Destination) -> Origination | None:
        tls = destination.settings
        where = self._position(*place_of(self.config, tls))
        materials = self._read(client_sources(tls, Path(where.path).parent, self.folders), where)
        if materials is None:
            return None
        context = self._context(
            ("client", tls.model_dump_json(), materials), lambda: client_context(tls, materials), where
        )
        return Origination(context, destination.sni, destination.names) if context is not None else None

    def _read(self, sources: Sequence[Source | Domains], where: Position) -> tuple[Material, ...] | None:
        """What the sources hold, or held before; None when one has never been readable."""
        found: list[Material] = []
        for source in sources:
            self.watched |= source.watched()
            held = self.materials.get(source)
            if held is None:
                try:
                    held = source.read()
                except CredentialError as error:
                    held = self.old_materials.get(source)
                    self._tell(where, error, kept=held is not None)
                    if held is None:
                        return None
                self.materials[source] = held
            found += held
        return tuple(found)

    def _context(self, key: Hashable, make: Callable[[], _C], where: Position) -> _C | None:
        """The context that was made of the same before, or a new one."""
        context = self.contexts.get(key) or self.old_contexts.get(key)
        if context is None:
            try:
                context = make()
            except CredentialError as error:
                self._tell(where, error, kept=False)
                return None
        self.contexts[key] = context
        return context  # type: ignore[return-value] # keys of servers and clients differ

    def _tell(self, where: Position, error: CredentialError, *, kept: bool) -> None:
        code, severity = ("GW282", "warning") if kept else ("GW281", "error")
        what = f"{error}; what was there before goes on" if kept else str(error)
        finding = Finding(
            *where.where,
            cast("Severity", severity),
            code,
            what,
            error.advice,
            fatal=not kept,
            length=where.length,
        )
        self.findings.setdefault((code, what, *where.where), finding)

    def _position(self, resource: Resource | None, *path: str | int) -> Position:
        return self.config.origin(resource or self.config.settings).position(*path)


def place_of(config: Config, tls: ClientTLSSettings) -> tuple[Any, ...]:
    """The DestinationRule that has these settings, and where in it."""
    for rule in config.destination_rules:
        policies: list[tuple[tuple[str | int, ...], Any]] = [
            (("spec", "traffic_policy"), rule.spec.traffic_policy)
        ]
        policies += [
            (("spec", "subsets", number, "traffic_policy"), subset.traffic_policy)
            for number, subset in enumerate(rule.spec.subsets)
        ]
        for path, policy in policies:
            if policy is None:
                continue
            if policy.tls is tls:
                return rule, *path, "tls"
            for number, port in enumerate(policy.port_level_settings):
                if port.tls is tls:
                    return rule, *path, "port_level_settings", number, "tls"
    return (None,)
