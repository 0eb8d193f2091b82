"""Services: what ServiceEntries and WorkloadEntries say about ports and endpoints.

Lifetime: config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.analysis.survey import WRAPPED_APP, destinations
from gateway.config.hosts import fqdn
from gateway.config.names import is_ip
from gateway.config.visibility import age, exported
from gateway.upstream.cluster_config import EndpointConfig, Resolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.config import Config
    from gateway.config.service_entry import ServiceEntry, ServicePort, WorkloadEntry, WorkloadEntrySpec
    from gateway.config.settings import GatewaySettingsSpec

_RESOLUTIONS = {
    "STATIC": Resolution.STATIC,
    "DNS": Resolution.DNS,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN,
}


@dataclass(frozen=True, slots=True)
class ServicePorts:
    """One host as the gateway sees it."""

    host: str
    """In full; `*.suffix` for a wildcard."""
    namespace: str
    resolution: Resolution
    ports: Mapping[int, tuple[EndpointConfig, ...]]
    """Endpoints of each port, as configured: names are not resolved here."""
    subject_alt_names: tuple[str, ...] = ()
    """Who its endpoints are: the ServiceEntry's, then `spiffe://` and a service account for each workload."""


def services(config: Config) -> dict[str, ServicePorts]:
    """Every visible host. Of one host in several namespaces the gateway's own wins, then the oldest.

    ServiceEntries of one namespace that share a host are one service: their ports add up, and so do the
    endpoints of a port that several of them have.
    """
    settings = config.settings.spec
    found: dict[str, ServicePorts] = {}
    workloads = _Workloads(config.workload_entries)
    entries = [
        entry
        for entry in config.service_entries
        if exported(entry.spec.export_to, entry.metadata.namespace, settings.namespace)
    ]
    entries.sort(key=lambda entry: (entry.metadata.namespace != settings.namespace, *age(entry)))
    for entry in entries:
        namespace = entry.metadata.namespace
        for written in entry.spec.hosts:
            host = fqdn(written, namespace, settings.cluster_domain)
            known = found.get(host)
            if known is not None and known.namespace != namespace:
                continue
            ports = {
                port.number: tuple(_endpoints(entry, port, written, workloads))
                for port in entry.spec.ports
                if port.protocol != "UDP"
            }
            if known is not None:
                ports = {
                    number: known.ports.get(number, ()) + ports.get(number, ())
                    for number in (*known.ports, *(n for n in ports if n not in known.ports))
                }
            resolution = _RESOLUTIONS.get(entry.spec.resolution or "", Resolution.NONE)
            names = (*(known.subject_alt_names if known else ()), *_identities(entry, workloads, settings))
            found[host] = ServicePorts(
                host,
                namespace,
                known.resolution if known else resolution,
                ports,
                tuple(dict.fromkeys(names)),
            )
    if WRAPPED_APP not in found and _wraps(config):
        port = {APP_PORT: (EndpointConfig(WRAPPED_APP, APP_PORT),)}
        found[WRAPPED_APP] = ServicePorts(WRAPPED_APP, settings.namespace, Resolution.APP, port)
    return found


APP_PORT = 80
"""The wrapped application's, whatever a destination says: it has none."""


def _wraps(config: Config) -> bool:
    """Whether a route or a mirror leads to the wrapped application."""
    return any(
        destination.host.lower() == WRAPPED_APP
        for service in config.virtual_services
        for _, destination in destinations(service)
    )


def _identities(entry: ServiceEntry, workloads: _Workloads, settings: GatewaySettingsSpec) -> Iterator[str]:
    spec, namespace = entry.spec, entry.metadata.namespace
    yield from spec.subject_alt_names
    members: Iterable[WorkloadEntrySpec] = spec.endpoints
    if spec.workload_selector is not None:
        members = (member for _, member in workloads.select(namespace, spec.workload_selector.labels))
    for member in members:
        if member.service_account:
            yield f"spiffe://{settings.cluster_domain}/ns/{namespace}/sa/{member.service_account}"


class _Workloads:
    """WorkloadEntries by namespace."""

    def __init__(self, entries: tuple[WorkloadEntry, ...]) -> None:
        self._entries: dict[str, list[tuple[dict[str, str], WorkloadEntrySpec]]] = {}
        for entry in entries:
            # A document's own labels win over those of its spec.
            labels = {**entry.spec.labels, **entry.metadata.labels}
            self._entries.setdefault(entry.metadata.namespace, []).append((labels, entry.spec))

    def select(
        self, namespace: str, wanted: Mapping[str, str]
    ) -> Iterator[tuple[Mapping[str, str], WorkloadEntrySpec]]:
        for labels, spec in self._entries.get(namespace, ()):
            if wanted.items() <= labels.items():
                yield labels, spec


def _endpoints(
    entry: ServiceEntry, port: ServicePort, host: str, workloads: _Workloads
) -> Iterator[EndpointConfig]:
    spec = entry.spec
    resolution = _RESOLUTIONS.get(spec.resolution or "")
    if resolution is None:
        return  # NONE would be the original destination, DYNAMIC_DNS the Host header: nothing configured.
    if spec.workload_selector is not None:
        members = workloads.select(entry.metadata.namespace, spec.workload_selector.labels)
    else:
        members = ((item.labels, item) for item in spec.endpoints)
        if not spec.endpoints and resolution is not Resolution.STATIC and not host.startswith("*"):
            yield EndpointConfig(host.lower(), port.target_port or port.number)
    for labels, member in members:
        if member.address and not (resolution is Resolution.STATIC and _is_name(member)):
            yield _endpoint(member, labels, port)


def _is_name(member: WorkloadEntrySpec) -> bool:
    return not member.is_unix and not is_ip(member.address or "")


def _endpoint(member: WorkloadEntrySpec, labels: Mapping[str, str], port: ServicePort) -> EndpointConfig:
    """Its port: none for a Unix socket, else its own by name, `targetPort`, the service's number."""
    address = (member.address or "").removeprefix("unix://")
    number = 0 if member.is_unix else member.ports.get(port.name) or port.target_port or port.number
    return EndpointConfig(
        address if member.is_unix else address.lower(),
        number,
        weight=member.weight or 1,
        labels=labels,
        locality=member.locality or "",
    )
