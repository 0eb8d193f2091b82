"""What several analyzers look up: services by name, rules of a host, listeners, places.

Lifetime: config. Made once for an analysis; nothing in it changes the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.findings import CODES, Finding
from gateway.config.hosts import aliases, covers, fqdn
from gateway.config.references import MESH
from gateway.config.suggest import nearest
from gateway.config.visibility import age, exported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.config import Config
    from gateway.config.destination_rule import DestinationRule
    from gateway.config.gateway import Gateway, Server
    from gateway.config.model import Severity
    from gateway.config.references import Destination
    from gateway.config.resource import Resource
    from gateway.config.service_entry import ServiceEntry
    from gateway.config.virtual_service import VirtualService

    Path = tuple[str | int, ...]

WRAPPED_APP = "app.local"
"""The destination that stands for the ASGI application a gateway is wrapped around."""
MAX_GUESSES = 20
"""Guessing a name compares it with all: a file that is wrong everywhere gets that many guesses."""


@dataclass(slots=True)
class Service:
    """One host, put together from the ServiceEntries of a namespace that name it."""

    host: str
    """In full and lower-case; `*.suffix` for a wildcard."""
    namespace: str
    ports: list[int]
    endpoints: list[Mapping[str, str]] | None
    """Labels of every endpoint; None when the configuration does not say them."""


class Survey:
    """A configuration, with indexes over it."""

    __slots__ = (
        "_domain",
        "_guesses",
        "_rules",
        "_wild",
        "_wild_rules",
        "config",
        "namespace",
        "root",
        "services",
    )

    def __init__(self, config: Config, *, root: bool) -> None:
        self.config = config
        self.root = root
        """Whether the process may open ports below 1024."""
        self.namespace = config.settings.spec.namespace
        """The gateway's own."""
        self._domain = config.settings.spec.cluster_domain.lower()
        self._guesses: dict[tuple[str, str], str | None] = {}
        self.services = _services(config)
        """By full name."""
        self._wild = sorted((host for host in self.services if host.startswith("*")), key=len, reverse=True)
        self._rules: dict[tuple[str, str], list[DestinationRule]] = {}
        self._wild_rules: dict[str, list[str]] = {}
        self._index_rules()

    # -- names -----------------------------------------------------------------------------

    def full(self, host: str, namespace: str) -> str:
        """`host`, as a document of `namespace` means it, in full."""
        return fqdn(host, namespace, self._domain)

    def names(self, host: str, namespace: str) -> tuple[str, ...]:
        """Every name clients may use for a host, the full one first."""
        return aliases(self.full(host, namespace), self._domain)

    def service(self, host: str) -> Service | None:
        """The service of a full name; of several wildcards the longest."""
        found = self.services.get(host)
        if found is None:
            wild = next((pattern for pattern in self._wild if covers(pattern, host)), None)
            found = self.services[wild] if wild is not None else None
        return found

    def guess(self, host: str, namespace: str) -> str | None:
        """What an unknown host was probably meant to be."""
        key = host, namespace
        if key not in self._guesses:
            if len(self._guesses) >= MAX_GUESSES:
                return None
            suffix = f".{namespace}.svc.{self._domain}"
            known = (name.removesuffix(suffix) for name in self.services if "*" not in name)
            self._guesses[key] = nearest(host.lower(), known)
        return self._guesses[key]

    # -- destination rules -----------------------------------------------------------------

    def _index_rules(self) -> None:
        settings = self.config.settings.spec
        for rule in self.config.destination_rules:
            namespace, selector = rule.metadata.namespace, rule.spec.workload_selector
            if not exported(rule.spec.export_to, namespace, settings.namespace):
                continue
            if selector is not None and (
                namespace != settings.namespace
                or not selector.match_labels.items() <= settings.labels.items()
            ):
                continue
            host = self.full(rule.spec.host, namespace)
            if host.startswith("*") and (namespace, host) not in self._rules:
                self._wild_rules.setdefault(namespace, []).append(host)
            self._rules.setdefault((namespace, host), []).append(rule)
        for hosts in self._wild_rules.values():
            hosts.sort(key=len, reverse=True)

    def rules(self, service: Service) -> list[DestinationRule]:
        """The DestinationRules of a service; several of one host and namespace are put together.

        The gateway's namespace, the service's, the root's: the first with a match decides, and in it the most
        specific host. Rules that select this gateway go before those for every proxy.
        """
        root = self.config.settings.spec.root_namespace
        own = self.namespace if self.namespace != root else service.namespace
        for namespace in (own, service.namespace, root):
            found = self._rules.get((namespace, service.host))
            if found is None:
                wild = self._wild_rules.get(namespace, ())
                pattern = next((host for host in wild if covers(host, service.host)), None)
                found = self._rules[namespace, pattern] if pattern is not None else None
            if found is not None:
                return [rule for rule in found if rule.spec.workload_selector is not None] or found
        return []

    # -- listeners -------------------------------------------------------------------------

    def selected(self, gateway: Gateway) -> bool:
        """Whether a Gateway is for this process; without labels of its own it takes every one."""
        own = self.config.settings.spec.labels
        return not own or all(own.get(k) == v for k, v in gateway.spec.selector.items())

    def servers(self) -> Iterator[tuple[Gateway, int, Server]]:
        """Every server this process opens, with its Gateway and index."""
        for gateway in self.config.gateways:
            if self.selected(gateway):
                for index, server in enumerate(gateway.spec.servers):
                    yield gateway, index, server

    def gateway(self, reference: str, namespace: str) -> Gateway | None:
        """The Gateway a document of `namespace` names; `mesh` is none."""
        place, _, name = reference.rpartition("/")
        for gateway in self.config.gateways:
            if (gateway.metadata.namespace, gateway.metadata.name) == (place or namespace, name):
                return gateway
        # The old way to name one: `name.namespace`, `name.namespace.svc.cluster.local`.
        for gateway in self.config.gateways:
            if not place and reference.split(".")[:2] == [gateway.metadata.name, gateway.metadata.namespace]:
                return gateway
        return None

    # -- findings --------------------------------------------------------------------------

    def finding(
        self,
        resource: Resource,
        path: Path,
        code: str,
        message: str,
        suggestion: str | None = None,
        *,
        severity: Severity | None = None,
    ) -> Finding:
        """A finding at a field of a document; its severity is the usual one of its code, never fatal."""
        here = self.config.origin(resource).position(*path)
        return Finding(
            *here.where,
            severity or CODES[code].severity,
            code,
            message,
            suggestion,
            length=here.length,
        )

    def where(self, resource: Resource) -> str:
        """`routes.yaml:12`: where another document stands, for a message."""
        here = self.config.origin(resource).position()
        return f"{here.path}:{here.line}"


def _services(config: Config) -> dict[str, Service]:
    """Every host that the gateway sees: of several namespaces its own wins, then the oldest document."""
    settings = config.settings.spec
    found: dict[str, Service] = {}
    entries = sorted(config.service_entries, key=age)
    for entry in sorted(entries, key=lambda item: item.metadata.namespace != settings.namespace):
        namespace = entry.metadata.namespace
        if not exported(entry.spec.export_to, namespace, settings.namespace):
            continue
        for written in entry.spec.hosts:
            host = fqdn(written, namespace, settings.cluster_domain)
            service = found.setdefault(host, Service(host, namespace, [], []))
            if service.namespace == namespace:
                numbers = [port.number for port in entry.spec.ports if port.protocol != "UDP"]
                service.ports += [number for number in numbers if number not in service.ports]
                labels = _endpoint_labels(config, entry)
                if labels is None or service.endpoints is None:
                    service.endpoints = None
                else:
                    service.endpoints += labels
    return found


def _endpoint_labels(config: Config, entry: ServiceEntry) -> list[Mapping[str, str]] | None:
    spec = entry.spec
    if spec.workload_selector is not None:
        return workload_labels(config, entry)
    if spec.endpoints:
        return [endpoint.labels for endpoint in spec.endpoints]
    if spec.resolution in {"DNS", "DNS_ROUND_ROBIN"}:
        return [{}]  # the addresses of the host itself carry no labels
    return [] if spec.resolution == "STATIC" else None


def workload_labels(config: Config, entry: ServiceEntry) -> list[Mapping[str, str]]:
    """Labels of the WorkloadEntries a ServiceEntry selects; a document's own labels win over its spec's."""
    wanted = entry.spec.workload_selector.labels if entry.spec.workload_selector is not None else {}
    same = (item for item in config.workload_entries if item.metadata.namespace == entry.metadata.namespace)
    labels: Iterator[Mapping[str, str]] = ({**item.spec.labels, **item.metadata.labels} for item in same)
    return [item for item in labels if wanted.items() <= item.items()]


def destinations(service: VirtualService) -> Iterator[tuple[Path, Destination]]:
    """Every destination of a VirtualService, mirrors included, with its path."""
    for index, http in enumerate(service.spec.http):
        at: Path = ("spec", "http", index)
        for number, item in enumerate(http.route):
            yield (*at, "route", number, "destination"), item.destination
        if http.mirror is not None:
            yield (*at, "mirror"), http.mirror
        for number, mirror in enumerate(http.mirrors):
            yield (*at, "mirrors", number, "destination"), mirror.destination


def bound(service: VirtualService) -> tuple[str, ...]:
    """Listeners a VirtualService is for, by name; `mesh` when it names none."""
    return service.spec.gateways or (MESH,)
