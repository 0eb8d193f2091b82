"""Which rules stand in which virtual host of which listener: Istio's selection, before any translation.

Lifetime: config. Told again here, apart from `gateway.routing`, so that comparing the gateway with an
exported Envoy compares two readings of the same documents.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.gateway import HTTP_PROTOCOLS
from gateway.config.references import MESH
from gateway.config.settings import host_port
from gateway.routing.delegates import exported, rules
from gateway.routing.hosts import domain, names, narrower
from gateway.upstream.names import age

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        parts = [self.http.name, self.match.name if self.match else None]
        return ".".join(part for part in parts if part) or "default"

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


@dataclass(slots=True)
class HostList:
    """A listener: its address, and the entries of every domain in the order they are tried."""

    name: str
    address: tuple[str, int]
    domains: dict[str, list[Entry]] = field(default_factory=dict)
    https_only: set[str] = field(default_factory=set)
    """Domains whose plain requests are sent to https."""
    claimed: set[str] = field(default_factory=set)

    def ordered(self) -> dict[str, list[Entry]]:
        """Entries that catch everything go behind all others."""
        return {
            name: sorted(entries, key=lambda entry: entry.catches_all)
            for name, entries in self.domains.items()
        }


def host_lists(config: Config, notes: list[str]) -> list[HostList]:
    """Every listener; what cannot be exported is told in `notes`."""
    settings = config.settings.spec
    servers = [
        (gateway, server)
        for gateway in config.gateways
        if _selected(gateway, settings)
        for server in gateway.spec.servers
    ]
    services = _services(config)
    delegates = {
        (service.metadata.namespace, service.metadata.name): service
        for service in config.virtual_services
        if service.spec.is_delegate
    }
    if not servers:
        listener = HostList(MESH, host_port(settings.listen))
        _fill(listener, MESH, "*", services, delegates, settings)
        return [listener]
    found: dict[tuple[str, int], HostList] = {}
    for gateway, server in servers:
        if server.port.protocol not in HTTP_PROTOCOLS - {"HTTPS"}:
            notes.append(f"{gateway.title}: port {server.port.number} ({server.port.protocol}) is left out")
            continue
        address = (server.bind or EVERYWHERE, server.port.number)
        name = f"{address[0]}_{address[1]}"
        listener = found.setdefault(address, HostList(name, address))
        _serve(listener, gateway, server, services, delegates, settings)
    return list(found.values())


Delegates = dict[tuple[str, str], "VirtualService"]


def _selected(gateway: Gateway, settings: GatewaySettingsSpec) -> bool:
    selector = gateway.spec.selector
    if not settings.labels:
        return True
    return all(settings.labels.get(key) == value for key, value in selector.items())


def _services(config: Config) -> list[VirtualService]:
    """VirtualServices that this gateway sees, the oldest first."""
    seen = [
        service
        for service in config.virtual_services
        if not service.spec.is_delegate and exported(service, config.settings.spec.namespace)
    ]
    return sorted(seen, key=age)


def _serve(
    listener: HostList,
    gateway: Gateway,
    server: Server,
    services: list[VirtualService],
    delegates: Delegates,
    settings: GatewaySettingsSpec,
) -> None:
    reference = f"{gateway.metadata.namespace}/{gateway.metadata.name}"
    for written in server.hosts:
        if written in listener.claimed:
            continue  # the first server of a port that has a host keeps it
        listener.claimed.add(written)
        place, _, host = written.rpartition("/")
        place = gateway.metadata.namespace if place == "." else place
        visible = [one for one in services if place in {"", "*", one.metadata.namespace}]
        filled = _fill(listener, reference, domain(host), visible, delegates, settings)
        if server.https_redirect:
            listener.domains.setdefault(domain(host), [])
            listener.https_only |= {domain(host), *filled}


def _fill(
    listener: HostList,
    reference: str,
    host: str,
    services: list[VirtualService],
    delegates: Delegates,
    settings: GatewaySettingsSpec,
) -> set[str]:
    """Adds the VirtualServices bound to `reference` below `host`; the domains they came to."""
    filled = set()
    for service in services:
        if not _bound(service, reference):
            continue
        entries = list(_entries(service, reference, listener.address[1], delegates, settings))
        namespace = service.metadata.namespace
        for written in service.spec.hosts:
            for alias in names(written, namespace, settings.cluster_domain):
                shared = narrower(host, alias)
                if shared is not None:
                    filled.add(shared)
                    listener.domains.setdefault(shared, []).extend(entries)
    return filled


def _bound(service: VirtualService, reference: str) -> bool:
    """Whether it applies on the listener of `reference`; without `gateways` it does everywhere."""
    gateways = service.spec.gateways
    return not gateways or any(_full(name, service) == reference for name in gateways)


def _full(name: str, service: VirtualService) -> str:
    """`namespace/name` of a gateway; the old way to write it was `name.namespace.svc.cluster.local`."""
    if name == MESH or "/" in name:
        return name
    short, _, rest = name.partition(".")
    return f"{rest.partition('.')[0] or service.metadata.namespace}/{short}"


def _entries(
    service: VirtualService, reference: str, port: int, delegates: Delegates, settings: GatewaySettingsSpec
) -> Iterator[Entry]:
    for rule in rules(service, delegates):
        for match in rule.http.match or (None,):
            if match is not None and not _applies(match, service, reference, port, settings):
                continue
            entry = Entry(rule.http, match, rule.owner)
            yield entry
            if entry.catches_all:
                return


def _applies(
    match: HTTPMatchRequest, service: VirtualService, reference: str, port: int, settings: GatewaySettingsSpec
) -> bool:
    """The conditions that the listener decides, not the request."""
    if match.port is not None and match.port != port:
        return False
    if match.gateways:
        return any(_full(name, service) == reference for name in match.gateways)
    if match.source_namespace is not None and match.source_namespace != settings.namespace:
        return False
    return all(settings.labels.get(key) == value for key, value in match.source_labels.items())
