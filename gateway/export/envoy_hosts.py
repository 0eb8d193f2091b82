"""Which rules stand in which virtual host of which listener: Istio's selection, before any translation.

Lifetime: config. Told again here, apart from `gateway.routing`, so that comparing the gateway with an
exported Envoy compares two readings of the same documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.address import host_port
from gateway.config.gateway import HTTP_PROTOCOLS
from gateway.config.references import MESH
from gateway.config.visibility import age, exported
from gateway.routing.delegates import rules
from gateway.routing.hosts import domain, names, narrower
from gateway.tls.servers import TERMINATING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.config import Config
    from gateway.config.gateway import Gateway, Server
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.config.virtual_service import HTTPRoute, VirtualService

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a Gateway document without `bind` asks for


class Entry(NamedTuple):
    """One match of one rule; no match takes everything."""

    http: HTTPRoute
    match: HTTPMatchRequest | None
    owner: VirtualService
    """Where the rule is written: names in it are short for that one's namespace."""

    @property
    def name(self) -> str:
        """As Istio names routes in logs."""
        own = f".{self.match.name}" if self.match is not None and self.match.name else ""
        return f"{self.http.name or ''}{own}"

    @property
    def catches_all(self) -> bool:
        """Whether no later entry could get a request."""
        match = self.match
        if match is None:
            return True
        narrowed = match.method or match.scheme or match.authority
        if narrowed or match.headers or match.without_headers or match.query_params:
            return False
        uri = match.uri
        return uri is None or uri.presence or uri.prefix in {"", "/"} or uri.regex == ".*"


class HostList:
    """A listener: its address, and the entries of every domain in the order they are tried."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self.name = name
        self.address = address
        self.servers: list[tuple[Gateway, Server]] = []
        """Of the Gateway documents; none on the listener without."""
        self.tls = False
        """Whether they terminate TLS."""
        self.secure: set[str] = set()
        """Domains whose plain requests are sent to https."""
        self._entries: dict[str, dict[int, Entry]] = {}
        self._aliases: dict[str, list[tuple[bool, str]]] = {}

    def add(self, hosts: Sequence[str], entries: Iterable[Entry], *, own: bool) -> None:
        """Files entries under a host: the first name is its own, the others are short for it.

        `own`: the VirtualService is of the gateway's namespace, so its short names go first.
        """
        if not hosts:
            return
        full, *short = hosts
        self._entries.setdefault(full, {}).update((id(entry), entry) for entry in entries)
        for alias in short:
            self._aliases.setdefault(alias, []).append((not own, full))

    def domains(self) -> dict[str, list[Entry]]:
        """Every domain; entries that catch everything stand behind all others."""
        found = {
            name: sorted(entries.values(), key=lambda entry: entry.catches_all)
            for name, entries in self._entries.items()
        }
        for alias, claims in self._aliases.items():
            if alias not in self._entries:
                _, full = min(claims, key=lambda claim: claim[0])
                found[alias] = found[full]
        return found


def host_lists(config: Config, notes: list[str]) -> list[HostList]:
    """Every listener; what cannot be exported is told in `notes`."""
    settings = config.settings.spec
    found = _listeners(config, settings, notes)
    if not found:
        found = [HostList(MESH, host_port(settings.listen))]
    delegates = {
        (service.metadata.namespace, service.metadata.name): service
        for service in config.virtual_services
        if service.spec.is_delegate
    }
    services = [
        service
        for service in sorted(config.virtual_services, key=age)
        if not service.spec.is_delegate
        and exported(service.spec.export_to, service.metadata.namespace, settings.namespace)
    ]
    for listener in found:
        for service in services:
            _bind(listener, service, delegates, settings)
        for _, server in listener.servers:
            if server.https_redirect:
                # Redirects hosts that no VirtualService names, too.
                for host in server.hosts:
                    name = domain(host.rpartition("/")[2])
                    listener.secure.add(name)
                    listener.add([name], (), own=True)
    return found


Delegates = Mapping[tuple[str, str], "VirtualService"]


def _listeners(config: Config, settings: GatewaySettingsSpec, notes: list[str]) -> list[HostList]:
    found: dict[tuple[str, int], HostList] = {}
    for gateway in config.gateways:
        if settings.labels and not gateway.spec.selector.items() <= settings.labels.items():
            continue
        for server in gateway.spec.servers:
            tls = _terminates(server)
            what = f"port {server.port.number} ({server.port.protocol})"
            if server.port.protocol not in HTTP_PROTOCOLS or (server.port.protocol == "HTTPS" and not tls):
                notes.append(f"{gateway.title}: {what} is left out")
                continue
            address = (server.bind or EVERYWHERE, server.port.number)
            listener = found.setdefault(address, HostList(f"{address[0]}_{address[1]}", address))
            if listener.servers and listener.tls != tls:
                notes.append(f"{gateway.title}: {what} is left out: the port speaks otherwise already")
                continue
            listener.tls = tls
            listener.servers.append((gateway, server))
    return list(found.values())


def _terminates(server: Server) -> bool:
    return server.port.protocol == "HTTPS" and server.tls is not None and server.tls.mode in TERMINATING


def _bind(
    listener: HostList, service: VirtualService, delegates: Delegates, settings: GatewaySettingsSpec
) -> None:
    """Adds what a VirtualService has for a listener."""
    namespace, gateways = service.metadata.namespace, service.spec.gateways
    own = namespace == settings.namespace
    hosts = [names(host, namespace, settings.cluster_domain) for host in service.spec.hosts]
    known = dict.fromkeys(_key(gateway) for gateway, _ in listener.servers)
    wanted = {_full(name, service) for name in gateways}
    if not gateways or (not listener.servers and MESH in wanted):
        # This process stands for the sidecars, too: without `gateways` every listener has its hosts.
        entries = list(_entries(service, set(known) or {MESH}, listener, delegates, settings))
        for aliases in hosts:
            listener.add(aliases, entries, own=own)
        if entries:
            _secure(listener, listener.servers, namespace, hosts)
        return
    for key in known:
        if key not in wanted:
            continue
        entries = list(_entries(service, {key}, listener, delegates, settings))
        patterns = [
            pattern
            for gateway, server in listener.servers
            if _key(gateway) == key
            for pattern in _patterns(gateway, server, namespace)
        ]
        for aliases in hosts:
            shared = (narrower(alias, pattern) for pattern in patterns for alias in aliases)
            listener.add(list(dict.fromkeys(host for host in shared if host)), entries, own=own)
        if entries:
            mine = [(gateway, server) for gateway, server in listener.servers if _key(gateway) == key]
            _secure(listener, mine, namespace, hosts)


def _secure(
    listener: HostList,
    servers: Iterable[tuple[Gateway, Server]],
    namespace: str,
    hosts: Iterable[Sequence[str]],
) -> None:
    """Notes the domains that a server which redirects has in common with a VirtualService (`RequireTls`)."""
    for gateway, server in servers:
        if server.https_redirect:
            for pattern in _patterns(gateway, server, namespace):
                shared = (narrower(alias, pattern) for aliases in hosts for alias in aliases)
                listener.secure.update(host for host in shared if host)


def _key(gateway: Gateway) -> str:
    return f"{gateway.metadata.namespace}/{gateway.metadata.name}"


def _patterns(gateway: Gateway, server: Server, namespace: str) -> Iterator[str]:
    """A server's hosts that are open to VirtualServices of `namespace`."""
    for written in server.hosts:
        place, _, host = written.rpartition("/")
        if place == ".":
            place = gateway.metadata.namespace
        if place in {"", "*", namespace}:
            yield domain(host)


def _full(name: str, service: VirtualService) -> str:
    """`namespace/name` of a gateway; the old way to write it was `name.namespace.svc.cluster.local`."""
    if name == MESH or "/" in name:
        return name
    short, _, rest = name.partition(".")
    return f"{rest.partition('.')[0] or service.metadata.namespace}/{short}"


def _entries(
    service: VirtualService,
    references: set[str],
    listener: HostList,
    delegates: Delegates,
    settings: GatewaySettingsSpec,
) -> Iterator[Entry]:
    """The rules that apply under one of `references`, up to the first that takes everything."""
    for rule in rules(service, delegates):
        for match in rule.http.match or (None,):
            if match is not None and not _applies(match, service, references, listener.address[1], settings):
                continue
            entry = Entry(rule.http, match, rule.owner)
            yield entry
            if entry.catches_all:
                return


def _applies(
    match: HTTPMatchRequest,
    service: VirtualService,
    references: set[str],
    port: int,
    settings: GatewaySettingsSpec,
) -> bool:
    """The conditions that the listener decides, not the request."""
    if match.port is not None and match.port != port:
        return False
    if match.gateways:
        return any(_full(name, service) in references for name in match.gateways)
    if match.source_namespace is not None and match.source_namespace != settings.namespace:
        return False
    return match.source_labels.items() <= settings.labels.items()
