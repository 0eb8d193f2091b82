"""Analyzers of DestinationRules and ServiceEntries: do they concern anybody?

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.analysis.survey import WRAPPED_APP, workload_labels
from gateway.config.codes import define
from gateway.config.hosts import covers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.config.analysis.survey import Path, Survey
    from gateway.config.destination_rule import DestinationRule, TrafficPolicy
    from gateway.config.findings import Finding
    from gateway.config.service_entry import ServiceEntry

define(
    "GW240",
    "rule for an unknown host",
    "warning",
    "No ServiceEntry has a host that this DestinationRule is for: it has no effect.",
)
define(
    "GW241",
    "subset without endpoints",
    "error",
    "No endpoint of the host carries the labels of the subset. Requests sent there are answered with 503"
    " `no healthy upstream` (flag UH).",
)
define(
    "GW242",
    "setting for an unknown port",
    "warning",
    "portLevelSettings name a port of the service (ports[].number), not one of its endpoints.",
)
define(
    "GW243",
    "several rules for a host",
    "warning",
    "DestinationRules of the same host and namespace are put together: all subsets, and the traffic policy of"
    " the first.",
)
define(
    "GW260",
    "host in ServiceEntries of several namespaces",
    "warning",
    "ServiceEntries of one namespace that share a host add up. Of several namespaces one is used: the"
    " gateway's own (GatewaySettings.namespace), else the one with the oldest document.",
)
define(
    "GW261",
    "selector without workloads",
    "warning",
    "No WorkloadEntry of the same namespace carries these labels, so the service has no endpoints."
    " Requests are answered with 503 `no healthy upstream` (flag UH).",
)
define(
    "GW262",
    "service without endpoints",
    "warning",
    "Resolution STATIC takes the endpoints from the document, and there are none; resolution NONE, the"
    " default, means the address a client dialled, which a gateway does not know. Requests are answered"
    " with 503 `no healthy upstream` (flag UH).",
)
define(
    "GW263",
    "service without ports",
    "warning",
    "Without ports no destination reaches a service. Requests are answered with 503 (flag NC).",
)


def destination_rules(survey: Survey) -> Iterator[Finding]:
    """Rules and subsets that concern nobody."""
    seen: dict[tuple[str, str], DestinationRule] = {}
    wild = any(host.startswith("*") for host in survey.services)
    for rule in survey.config.destination_rules:
        namespace = rule.metadata.namespace
        pattern = survey.full(rule.spec.host, namespace)
        concerned = [survey.services[pattern]] if pattern in survey.services else []
        if not concerned and (wild or pattern.startswith("*")):
            hosts = [host for host in survey.services if covers(pattern, host) or covers(host, pattern)]
            concerned = [survey.services[host] for host in hosts]
        if not concerned and pattern != WRAPPED_APP:
            message = f'no ServiceEntry has the host "{rule.spec.host}"'
            hint = survey.guess(rule.spec.host, namespace)
            yield survey.finding(rule, ("spec", "host"), "GW240", message, hint)
        for index, subset in enumerate(rule.spec.subsets):
            endpoints = [labels for item in concerned for labels in item.endpoints or ()]
            wanted = subset.labels.items()
            if endpoints and not any(wanted <= labels.items() for labels in endpoints):
                shown = ", ".join(f"{name}: {value}" for name, value in wanted)
                message = f'no endpoint of "{rule.spec.host}" has the labels {shown}'
                path: Path = ("spec", "subsets", index, "labels")
                yield survey.finding(rule, path, "GW241", message, _carried(endpoints, subset.labels))
        ports = {port for item in concerned for port in item.ports}
        if ports:
            yield from _unknown_ports(survey, rule, ports)
        first = seen.setdefault((namespace, pattern), rule)
        if first is not rule and first.spec.workload_selector == rule.spec.workload_selector:
            message = (
                f'"{rule.spec.host}" has a rule already, at {survey.where(first)}: they are put together'
            )
            yield survey.finding(rule, ("spec", "host"), "GW243", message, "write one document for a host")


def _carried(endpoints: Iterable[Mapping[str, str]], names: Iterable[str]) -> str | None:
    """The values the endpoints have for these labels."""
    values = sorted({f"{name}: {labels[name]}" for labels in endpoints for name in names if name in labels})
    return f"they have {', '.join(values[:8])}" if values else None


def _unknown_ports(survey: Survey, rule: DestinationRule, ports: set[int]) -> Iterator[Finding]:
    policies: list[tuple[Path, TrafficPolicy | None]] = [
        (("spec", "trafficPolicy"), rule.spec.traffic_policy)
    ]
    for index, subset in enumerate(rule.spec.subsets):
        policies.append((("spec", "subsets", index, "trafficPolicy"), subset.traffic_policy))
    listed = ", ".join(map(str, sorted(ports)))
    for at, policy in policies:
        for index, item in enumerate(policy.port_level_settings if policy else ()):
            if item.port.number not in ports:
                path = (*at, "portLevelSettings", index, "port", "number")
                message = f'"{rule.spec.host}" has no port {item.port.number}'
                yield survey.finding(rule, path, "GW242", message, f"it has {listed}")


def service_entries(survey: Survey) -> Iterator[Finding]:
    """ServiceEntries that cannot serve, or that another one hides."""
    for entry in survey.config.service_entries:
        for index, host in enumerate(entry.spec.hosts):
            used = survey.services.get(survey.full(host, entry.metadata.namespace))
            if used is not None and used.namespace != entry.metadata.namespace:
                message = f'"{host}" is a host of namespace {used.namespace} already: this one is not used'
                yield survey.finding(entry, ("spec", "hosts", index), "GW260", message)
        if not entry.spec.ports:
            hint = "add ports: [{number: 80, name: http, protocol: HTTP}]"
            yield survey.finding(entry, ("spec", "hosts"), "GW263", f"{entry.title} has no ports", hint)
        yield from _no_endpoints(survey, entry)


def _no_endpoints(survey: Survey, entry: ServiceEntry) -> Iterator[Finding]:
    spec = entry.spec
    if spec.resolution in {None, "NONE"}:
        at: Path = ("spec", "resolution") if spec.resolution else ("spec", "hosts")
        message = f"{entry.title} has no endpoints: its resolution is NONE"
        hint = "write resolution: STATIC and endpoints, or resolution: DNS"
        yield survey.finding(entry, at, "GW262", message, hint)
    elif spec.workload_selector is not None:
        if not workload_labels(survey.config, entry):
            message = f"no WorkloadEntry of namespace {entry.metadata.namespace} has these labels"
            yield survey.finding(entry, ("spec", "workloadSelector", "labels"), "GW261", message)
    elif spec.resolution == "STATIC" and not spec.endpoints:
        message = f"{entry.title} has no endpoints"
        yield survey.finding(entry, ("spec", "resolution"), "GW262", message, "add endpoints")
