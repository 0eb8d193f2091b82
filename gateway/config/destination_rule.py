"""DestinationRule: how the endpoints of a host are grouped and treated, in Istio's own shape.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gateway.config.connection_pool import ConnectionPoolSettings, RetryBudget  # noqa: TC001 - pydantic reads the annotations
from gateway.config.fields import (
    Checked,
    FrozenMap,
    HostName,
    HostOrIp,
    Label,
    Labels,
    Many,
    Model,
    Port,
    PortSelector,
    Problem,
)
from gateway.config.load_balancer import LoadBalancerSettings  # noqa: TC001 - pydantic reads the annotations
from gateway.config.outlier import OutlierDetection  # noqa: TC001 - pydantic reads the annotations
from gateway.config.references import ExportTo, export_problems
from gateway.config.resource import Resource, register
from gateway.config.tls import ClientTLSSettings  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator


class TunnelSettings(Model):
    """Requests through an HTTP CONNECT proxy."""

    protocol: Literal["CONNECT", "POST"] | None = None
    target_host: HostName
    target_port: Port


class ProxyProtocol(Model):
    """A PROXY protocol header at the start of each upstream connection."""

    version: Literal["V1", "V2"] | None = None


class PortTrafficPolicy(Checked):
    """Policy of one service port; replaces the rule's own wholesale."""

    port: PortSelector
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.model_fields_set <= {"port"}:
            yield Problem("GW032", "portLevelSettings need something besides the port")


class TrafficPolicy(Checked):
    """How connections to a host are balanced, limited, watched and secured."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: Many[PortTrafficPolicy] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None

    def _rules(self) -> Iterator[Problem]:
        if all(getattr(self, field) in (None, ()) for field in type(self).model_fields):
            yield Problem("GW032", "a trafficPolicy needs at least one setting")
        if self.tunnel is not None and self.proxy_protocol is not None:
            yield Problem("GW040", "only one of tunnel and proxyProtocol", ("proxyProtocol",))
        ports = [item.port.number for item in self.port_level_settings]
        for index, port in enumerate(ports):
            if port in ports[:index]:
                yield Problem(
                    "GW043", f"port {port} is listed twice", ("portLevelSettings", index, "port", "number")
                )
        if (
            self.load_balancer is not None
            and self.outlier_detection is None
            and self.load_balancer.fails_over
        ):
            yield Problem(
                "GW051",
                "locality failover does nothing without outlierDetection",
                ("loadBalancer", "localityLbSetting"),
                severity="warning",
            )


class Subset(Model):
    """Some of a host's endpoints, by their labels."""

    name: Label
    labels: Labels = FrozenMap()
    """All must be equal; empty takes every endpoint."""
    traffic_policy: TrafficPolicy | None = None
    """Each block given here replaces the same block of the rule."""


class PolicySelector(Model):
    """Proxies a rule is for, by their labels."""

    match_labels: Labels = FrozenMap()


class DestinationRuleSpec(Checked):
    """A host, its subsets and its traffic policy."""

    host: HostOrIp
    """A name or wildcard; without a dot: `<host>.<namespace>.svc.<clusterDomain>`."""
    traffic_policy: TrafficPolicy | None = None
    subsets: Many[Subset] = ()
    export_to: Many[ExportTo] = ()
    workload_selector: PolicySelector | None = None
    """Applies the rule only when it matches this gateway's own labels."""

    def _rules(self) -> Iterator[Problem]:
        names = [subset.name for subset in self.subsets]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Problem("GW043", f'subset "{name}" is listed twice', ("subsets", index, "name"))
        yield from export_problems(self.export_to)


@register("networking.istio.io", "DestinationRule", "v1", "v1beta1", "v1alpha3")
class DestinationRule(Resource):
    """Policy of one host."""

    spec: DestinationRuleSpec
