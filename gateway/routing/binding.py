"""Which VirtualServices apply on which listener, under which hosts, and in which order their routes stand.

Lifetime: config.

A VirtualService without `gateways` applies on every listener, under its own hosts: this process stands for
the gateway and for the sidecars behind it. One with `gateways` applies on the listeners of those, where its
hosts and the server's meet; `mesh` is the listener that no Gateway document describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config.gateway import HTTP_PROTOCOLS
from gateway.config.visibility import age, exported
from gateway.routing.delegates import rules
from gateway.routing.hosts import domain, names, narrower
from gateway.routing.listener import Listener, VirtualHost
from gateway.routing.rules import gateway_key
from gateway.tls import compile_misdirected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.config import Config
    from gateway.config.gateway import Gateway, Server
    from gateway.config.virtual_service import VirtualService
    from gateway.routing.route import Route
    from gateway.routing.rules import RuleCompiler
    from gateway.security import Guard

MESH = "mesh"


class Place(NamedTuple):
    """A server of a Gateway document."""

    gateway: Gateway
    server: Server

    @property
    def key(self) -> str:
        """`namespace/name` of the Gateway."""
        return f"{self.gateway.metadata.namespace}/{self.gateway.metadata.name}"


class Binder:
    """Makes the listeners of one generation."""

    def __init__(self, config: Config, compiler: RuleCompiler, guard: Guard | None = None) -> None:
        self._config = config
        self._settings = config.settings.spec
        self._guard = guard
        self._compiler = compiler
        own = self._settings.namespace
        services = sorted(config.virtual_services, key=age)
        self._delegates = {
            (service.metadata.namespace, service.metadata.name): service
            for service in services
            if service.spec.is_delegate
        }
        self._services = [
            service
            for service in services
            if not service.spec.is_delegate
            and exported(service.spec.export_to, service.metadata.namespace, own)
        ]
        self._places = [
            Place(gateway, server)
            for gateway in config.gateways
            if self._selected(gateway)
            for server in gateway.spec.servers
            if server.port.protocol in HTTP_PROTOCOLS
        ]

    def _selected(self, gateway: Gateway) -> bool:
        """Whether a Gateway is for this process; one without labels takes every Gateway."""
        own = self._settings.labels
        return not own or all(own.get(key) == value for key, value in gateway.spec.selector.items())

    def mesh(self) -> Listener:
        """The listener without Gateway document."""
        table = _HostGroups(self._settings.namespace)
        everywhere = frozenset({MESH})
        for service in self._services:
            if not service.spec.gateways or MESH in service.spec.gateways:
                routes = self._routes(service, everywhere, None)
                for host in service.spec.hosts:
                    table.add(self._names(host, service), service, routes)
        return Listener(MESH, 0, table.virtual_hosts(), guard=self._guard)

    def gateways(self) -> Iterator[Listener]:
        """The listeners of the Gateway documents, one a port."""
        for port in dict.fromkeys(place.server.port.number for place in self._places):
            places = [place for place in self._places if place.server.port.number == port]
            listener = self._listener(port, places)
            misdirected = compile_misdirected(self._config, port)
            if misdirected is not None:
                listener.check_first(misdirected)
            yield listener

    def _listener(self, port: int, places: Sequence[Place]) -> Listener:
        table = _HostGroups(self._settings.namespace)
        everywhere = frozenset(place.key for place in places)
        redirecting = [place for place in places if place.server.https_redirect]
        secure = {domain(host.rpartition("/")[2]) for place in redirecting for host in place.server.hosts}
        for service in self._services:
            if not service.spec.gateways:
                routes = self._routes(service, everywhere, port)
                secure.update(self._met_by(redirecting, service) if routes else ())
                for host in service.spec.hosts:
                    table.add(self._names(host, service), service, routes)
                continue
            bound = {gateway_key(name, service.metadata.namespace) for name in service.spec.gateways}
            for gateway in dict.fromkeys(place.key for place in places if place.key in bound):
                routes = self._routes(service, frozenset({gateway}), port)
                patterns = [
                    pattern
                    for place in places
                    if place.key == gateway
                    for pattern in _patterns(place, service)
                ]
                for host in service.spec.hosts:
                    table.add(_met(self._names(host, service), patterns), service, routes)
                own = [place for place in redirecting if place.key == gateway]
                secure.update(self._met_by(own, service) if routes else ())
        hosts = table.virtual_hosts()
        # As Istio does: one server that redirects is enough for a virtual host that several let in.
        served = (name for host in hosts for name in host.domains)
        redirected = {name: name in secure for name in (*served, *secure)} if secure else None
        return Listener(f"http.{port}", port, hosts, redirected, guard=self._guard)

    def _met_by(self, places: Sequence[Place], service: VirtualService) -> Iterator[str]:
        """Names under which these servers let hosts of a VirtualService in."""
        for place in places:
            patterns = list(_patterns(place, service))
            for host in service.spec.hosts:
                yield from _met(self._names(host, service), patterns)

    def _routes(self, service: VirtualService, gateways: frozenset[str], port: int | None) -> list[Route]:
        """A VirtualService's routes on a listener, up to the first that takes everything."""
        routes: list[Route] = []
        for rule in rules(service, self._delegates):
            for route in self._compiler.routes(rule, service, gateways=gateways, port=port):
                routes.append(route)
                if route.catches_all:
                    return routes
        return routes

    def _names(self, host: str, service: VirtualService) -> tuple[str, ...]:
        return names(host, service.metadata.namespace, self._settings.cluster_domain)


def _patterns(place: Place, service: VirtualService) -> Iterator[str]:
    """A server's hosts that are open to the namespace of `service`."""
    own = place.gateway.metadata.namespace
    for host in place.server.hosts:
        namespace, slash, pattern = host.rpartition("/")
        wanted = own if namespace == "." else namespace
        if not slash or wanted in {"*", service.metadata.namespace}:
            yield domain(pattern)


def _met(hosts: Sequence[str], patterns: Iterable[str]) -> list[str]:
    """Where names of a host and a server's patterns meet, each once."""
    met = [narrower(host, pattern) for pattern in patterns for host in hosts]
    return list(dict.fromkeys(host for host in met if host is not None))


class _HostGroups:
    """Collects routes by host; short names go to whoever has the better claim."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._routes: dict[str, dict[int, Route]] = {}
        """By full name, and by identity: two servers of a Gateway may both let a host in."""
        self._short: dict[str, list[tuple[bool, str]]] = {}

    def add(self, hosts: Sequence[str], service: VirtualService, routes: Sequence[Route]) -> None:
        """Files routes under a host: the first of `hosts` is its name, the others stand for it."""
        if not hosts or not routes:
            return
        full = hosts[0]
        self._routes.setdefault(full, {}).update((id(route), route) for route in routes)
        own = service.metadata.namespace == self._namespace
        for short in hosts[1:]:
            self._short.setdefault(short, []).append((own, full))

    def virtual_hosts(self) -> list[VirtualHost]:
        """One virtual host a name, catch-alls of all its VirtualServices last."""
        domains: dict[str, list[str]] = {full: [full] for full in self._routes}
        for short, claims in self._short.items():
            if short not in self._routes:
                # The gateway's own namespace first, then the oldest.
                _, full = max(claims, key=lambda claim: claim[0])
                domains[full].append(short)
        # Hosts of one VirtualService have the same routes, and so the same index.
        same: dict[tuple[int, ...], VirtualHost] = {}
        made = []
        for full, routes in self._routes.items():
            ordered = sorted(routes.values(), key=lambda route: route.catches_all)
            host = VirtualHost(full, domains[full], ordered, like=same.get(tuple(routes)))
            same.setdefault(tuple(routes), host)
            made.append(host)
        return made
