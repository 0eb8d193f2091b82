"""ServiceEntry and WorkloadEntry: the backends and their endpoints, in Istio's own shape.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Strict

from gateway.config.fields import (
    Checked,
    FrozenMap,
    HostPattern,
    Labels,
    Many,
    Map,
    Model,
    NonEmpty,
    Port,
    Problem,
    Str,
    Uint32,
    rejection,
)
from gateway.config.gateway import PROTOCOLS
from gateway.config.names import check_hostname, is_cidr, is_ip
from gateway.config.references import ExportTo, export_problems
from gateway.config.resource import Resource, register

if TYPE_CHECKING:
    from collections.abc import Iterator

Resolution = Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]


def _address(value: str) -> str:
    if not is_cidr(value):
        raise rejection(Problem("GW035", f'"{value}" is not an IP address or a network such as 10.0.0.0/8'))
    return value


def _protocol(value: str) -> str:
    if value and value.upper() not in PROTOCOLS | {"UDP"}:
        known = ", ".join(sorted(PROTOCOLS))
        raise rejection(Problem("GW033", f'"{value}" is not a protocol: one of {known}'))
    return value.upper()


class ServicePort(Model):
    """A port of a service."""

    number: Port
    protocol: Annotated[str, Strict(), AfterValidator(_protocol)] | None = None
    """In upper case; default HTTP."""
    name: NonEmpty
    target_port: Port | None = None
    """The endpoints' port; default `number`."""


class WorkloadEntrySpec(Checked):
    """One endpoint."""

    address: Str | None = None
    """An IP address, a host name (resolution DNS) or `unix:///path`."""
    ports: Map[Str, Port] = FrozenMap()
    """Service port name -> port of this endpoint."""
    labels: Labels = FrozenMap()
    network: Str | None = None
    locality: Str | None = None
    """`region/zone/subzone`."""
    weight: Uint32 | None = None
    """0 is 1."""
    service_account: Str | None = None

    @property
    def is_unix(self) -> bool:
        """Whether the address is a unix socket."""
        return (self.address or "").startswith("unix://")

    def _rules(self) -> Iterator[Problem]:
        if not self.address:
            if not self.network:
                yield Problem("GW032", "an endpoint needs an address", ("address",))
        elif self.is_unix:
            if not self.address.removeprefix("unix://").startswith(("/", "@")):
                yield Problem("GW035", "a unix address is unix:///absolute/path", ("address",))
            if self.ports:
                yield Problem("GW040", "a unix address has no ports", ("ports",))
        elif not is_ip(self.address) and check_hostname(self.address) is not None:
            yield Problem("GW035", f'"{self.address}" is not an IP address or a host name', ("address",))


class WorkloadSelector(Checked):
    """Endpoints by their labels."""

    labels: Labels = FrozenMap()

    def _rules(self) -> Iterator[Problem]:
        if not self.labels:
            yield Problem("GW032", "a workloadSelector needs labels", ("labels",))


class ServiceEntrySpec(Checked):
    """A service: its names, ports and endpoints."""

    hosts: Many[HostPattern] = ()
    addresses: Many[Annotated[str, Strict(), AfterValidator(_address)]] = ()
    """Accepted; the Host header selects a service here, not an address."""
    ports: Many[ServicePort] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] | None = None
    resolution: Resolution | None = None
    """Default NONE."""
    endpoints: Many[WorkloadEntrySpec] = ()
    workload_selector: WorkloadSelector | None = None
    """Takes the WorkloadEntries of the same namespace with these labels instead of `endpoints`."""
    export_to: Many[ExportTo] = ()
    subject_alt_names: Many[NonEmpty] = ()

    def _rules(self) -> Iterator[Problem]:
        if not self.hosts:
            yield Problem("GW032", "a ServiceEntry needs hosts", ("hosts",))
        for index, host in enumerate(self.hosts):
            if host == "*":
                yield Problem("GW035", 'a ServiceEntry names its hosts; "*" is none', ("hosts", index))
        yield from _port_problems(self)
        yield from _endpoint_problems(self)
        yield from _resolution_problems(self)
        yield from export_problems(self.export_to)


def _port_problems(spec: ServiceEntrySpec) -> Iterator[Problem]:
    for field in ("name", "number"):
        values = [getattr(port, field) for port in spec.ports]
        for index, value in enumerate(values):
            if value in values[:index]:
                yield Problem("GW043", f"port {value} is listed twice", ("ports", index, field))


def _endpoint_problems(spec: ServiceEntrySpec) -> Iterator[Problem]:
    if spec.endpoints and spec.workload_selector is not None:
        yield Problem("GW040", "only one of endpoints and workloadSelector", ("workloadSelector",))
    names = {port.name for port in spec.ports}
    for index, endpoint in enumerate(spec.endpoints):
        for name in endpoint.ports:
            if name not in names:
                hint = f"the ports are {', '.join(sorted(names))}" if names else "the service has no ports"
                message = f'"{name}" is not a port of this service'
                yield Problem("GW080", message, ("endpoints", index, "ports", name), hint)


def _resolution_problems(spec: ServiceEntrySpec) -> Iterator[Problem]:
    resolution = spec.resolution or "NONE"
    if resolution in {"NONE", "DYNAMIC_DNS"}:
        if spec.endpoints:
            message = f"resolution {resolution} takes no endpoints"
            hint = "write resolution: STATIC (IP addresses) or DNS (host names)"
            yield Problem("GW081", message, ("endpoints",), hint)
    elif resolution == "STATIC":
        yield from _static_problems(spec)
    else:
        yield from _dns_problems(spec, resolution)
    if resolution not in {"NONE", "STATIC"}:
        for index, address in enumerate(spec.addresses):
            if "/" in address or resolution == "DYNAMIC_DNS":
                message = f'resolution {resolution} takes no address "{address}"'
                yield Problem("GW081", message, ("addresses", index))


def _static_problems(spec: ServiceEntrySpec) -> Iterator[Problem]:
    for index, endpoint in enumerate(spec.endpoints):
        if endpoint.address and not endpoint.is_unix and not is_ip(endpoint.address):
            message = f'"{endpoint.address}" is not an IP address, which resolution STATIC needs'
            yield Problem("GW081", message, ("endpoints", index, "address"), "write resolution: DNS")


def _dns_problems(spec: ServiceEntrySpec, resolution: str) -> Iterator[Problem]:
    if not spec.endpoints and spec.workload_selector is None:
        for index, host in enumerate(spec.hosts):
            if host.startswith("*"):
                message = f'"{host}" cannot be looked up: give endpoints, or hosts without wildcard'
                yield Problem("GW081", message, ("hosts", index))
    if resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        yield Problem("GW081", "resolution DNS_ROUND_ROBIN has at most one endpoint", ("endpoints", 1))
    for index, endpoint in enumerate(spec.endpoints):
        if endpoint.is_unix:
            message = f"resolution {resolution} takes no unix socket"
            yield Problem("GW081", message, ("endpoints", index, "address"), "write resolution: STATIC")


@register("networking.istio.io", "ServiceEntry", "v1", "v1beta1", "v1alpha3")
class ServiceEntry(Resource):
    """A backend service."""

    spec: ServiceEntrySpec


@register("networking.istio.io", "WorkloadEntry", "v1", "v1beta1", "v1alpha3")
class WorkloadEntry(Resource):
    """One endpoint, found by the `workloadSelector` of a ServiceEntry."""

    spec: WorkloadEntrySpec
