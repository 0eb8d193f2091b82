"""What several analyzers look up: services by name, rules of a host, listeners, places.

Lifetime: config. Made once for an analysis; nothing in it changes the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.findings import CODES, Finding
from gateway.config.references import MESH
from gateway.config.suggest import nearest
from gateway.config.virtual_service import covers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
MAX_GUESSES = 50
"""Guessing a name compares it with all: a file that is wrong everywhere gets that many guesses."""


@dataclass(frozen=True, slots=True)
class Service:
    """One host of a ServiceEntry."""

    host: str
    """In full and lower-case; `*.suffix` for a wildcard."""
    entry: ServiceEntry
    endpoints: tuple[Mapping[str, str], ...] | None
    """Labels of every endpoint; None when they are not known from the configuration."""

    @property
    def ports(self) -> tuple[int, ...]:
        """Numbers of its ports."""
        return tuple(port.number for port in self.entry.spec.ports)


def full_name(host: str, namespace: str, domain: str) -> str:
    """A host in full: a name without a dot is one of the namespace (`reviews.default.svc.cluster.local`)."""
    host = host.lower()
    if "." in host or "*" in host or ":" in host:
        return host
    return f"{host}.{namespace}.svc.{domain.lower()}"


def exported(export_to: Sequence[str], own: str, reader: str) -> bool:
    """Whether a document of namespace `own` is seen from namespace `reader`."""
    return not export_to or "*" in export_to or reader in export_to or ("." in export_to and own == reader)


class Survey:
    """A configuration, with indexes over it."""

    __slots__ = ("_guesses", "_services", "_wild", "config", "namespace")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.namespace = config.settings.spec.namespace
        """The gateway's own."""
        self._services: dict[str, Service] = {}
        self._wild: dict[str, Service] = {}
        self._guesses: dict[tuple[str, str], str | None] = {}
        for service in services(config):
            table = self._wild if service.host.startswith("*") else self._services
            table.setdefault(service.host, service)

    # -- names -----------------------------------------------------------------------------

    def full(self, host: str, namespace: str) -> str:
        """`host`, as a document of `namespace` means it, in full."""
        return full_name(host, namespace, self.config.settings.spec.cluster_domain)

    def service(self, host: str) -> Service | None:
        """The service of a full name."""
        found = self._services.get(host)
        if found is not None or not self._wild:
            return found
        matching = [pattern for pattern in self._wild if covers(pattern, host)]
        return self._wild[max(matching, key=len)] if matching else None

    def guess(self, host: str, namespace: str) -> str | None:
        """What an unknown host was probably meant to be."""
        key = host, namespace
        if key not in self._guesses:
            if len(self._guesses) >= MAX_GUESSES:
                return None
            self._guesses[key] = nearest(
                host.lower(), (self.short(name, namespace) for name in self._services)
            )
        return self._guesses[key]

    def short(self, host: str, namespace: str) -> str:
        """A full name as a document of `namespace` would write it."""
        return host.removesuffix(f".{namespace}.svc.{self.config.settings.spec.cluster_domain.lower()}")

    # -- destination rules -----------------------------------------------------------------

    def rules(self, host: str) -> tuple[DestinationRule, ...]:
        """The DestinationRules that hold for a full host, in order; several are merged (first policy wins).

        The first namespace with a match decides: the gateway's, the service's, the root's; in it the most
        specific host, and rules that select this gateway before those for every proxy.
        """
        settings = self.config.settings.spec
        service = self.service(host)
        home = (
            service.entry.metadata.namespace if service is not None else _home(host, settings.cluster_domain)
        )
        order = [self.namespace, *([home] if home else []), settings.root_namespace]
        if self.namespace == settings.root_namespace:
            del order[0]
        for namespace in order:
            chosen = self._rules_in(namespace, host)
            if chosen:
                return chosen
        return ()

    def _rules_in(self, namespace: str, host: str) -> tuple[DestinationRule, ...]:
        best: list[DestinationRule] = []
        rank = (-1, -1, False)
        for rule in self.config.destination_rules:
            if rule.metadata.namespace != namespace or not self._applies(rule):
                continue
            pattern = self.full(rule.spec.host, namespace)
            if not covers(pattern, host):
                continue
            here = (not pattern.startswith("*"), len(pattern), rule.spec.workload_selector is not None)
            if here > rank:
                best, rank = [], here
            if here == rank:
                best.append(rule)
        return tuple(best)

    def _applies(self, rule: DestinationRule) -> bool:
        if not exported(rule.spec.export_to, rule.metadata.namespace, self.namespace):
            return False
        selector = rule.spec.workload_selector
        own = self.config.settings.spec.labels
        return selector is None or all(own.get(k) == v for k, v in selector.match_labels.items())

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


def _home(host: str, domain: str) -> str | None:
    """The namespace in a Kubernetes service name."""
    stem = host.removesuffix(f".svc.{domain.lower()}")
    return stem.partition(".")[2] or None if stem != host else None


def services(config: Config) -> Iterator[Service]:
    """Every host of every ServiceEntry that the gateway sees."""
    settings = config.settings.spec
    for entry in config.service_entries:
        if not exported(entry.spec.export_to, entry.metadata.namespace, settings.namespace):
            continue
        labels = _endpoint_labels(config, entry)
        for host in entry.spec.hosts:
            yield Service(full_name(host, entry.metadata.namespace, settings.cluster_domain), entry, labels)


def _endpoint_labels(config: Config, entry: ServiceEntry) -> tuple[Mapping[str, str], ...] | None:
    spec = entry.spec
    if spec.workload_selector is not None:
        return tuple(workload_labels(config, entry))
    if spec.endpoints:
        return tuple(endpoint.labels for endpoint in spec.endpoints)
    if spec.resolution in {"DNS", "DNS_ROUND_ROBIN"}:
        return ({},)  # the addresses of the host itself carry no labels
    return () if spec.resolution == "STATIC" else None


def workload_labels(config: Config, entry: ServiceEntry) -> Iterable[Mapping[str, str]]:
    """Labels of the WorkloadEntries a ServiceEntry selects; a document's own labels win over its spec's."""
    selector = entry.spec.workload_selector
    assert selector is not None
    for workload in config.workload_entries:
        labels = {**workload.spec.labels, **workload.metadata.labels}
        same = workload.metadata.namespace == entry.metadata.namespace
        if same and all(labels.get(name) == value for name, value in selector.labels.items()):
            yield labels


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
