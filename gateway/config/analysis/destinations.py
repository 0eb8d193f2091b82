"""Analyzers of destinations: does what a route names exist?

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.analysis.survey import WRAPPED_APP, destinations
from gateway.config.codes import define
from gateway.config.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.analysis.survey import Path, Service, Survey
    from gateway.config.findings import Finding
    from gateway.config.references import Destination
    from gateway.config.virtual_service import VirtualService

define(
    "GW201",
    "unknown destination",
    "error",
    "No ServiceEntry has this host, so nobody knows where its backends are. The route is kept, and its"
    " requests are answered with 503 (flag NC), as in Istio. A name without a dot is completed with the"
    " namespace of its document.",
)
define(
    "GW202",
    "unknown subset",
    "error",
    "The DestinationRule of this host has no subset of that name. The route is kept, and its requests are"
    " answered with 503 (flag NC), as in Istio.",
)
define(
    "GW203",
    "which port?",
    "error",
    "The service has several ports and the destination names none. Istio falls back to the port of the"
    " listener; if the service does not have that one, requests are answered with 503 (flag NC).",
)
define(
    "GW204",
    "unknown port",
    "error",
    "The service has no port of this number. Requests are answered with 503 (flag NC).",
)
define(
    "GW205",
    "health check of an unknown host",
    "warning",
    "No ServiceEntry has this host, so nobody is asked how they are. A name without a dot is completed with"
    " the gateway's namespace.",
)


def unknown_health_checks(survey: Survey) -> Iterator[Finding]:
    """Keys of GatewaySettings `healthChecks` that name no service."""
    settings = survey.config.settings
    for host in settings.spec.health_checks:
        if survey.full(host, survey.namespace) not in survey.services:
            hint = survey.guess(host, survey.namespace) or "add a ServiceEntry, or remove it"
            path = ("spec", "healthChecks", host)
            yield survey.finding(settings, path, "GW205", f'no ServiceEntry has the host "{host}"', hint)


def unknown_destinations(survey: Survey) -> Iterator[Finding]:
    """Hosts, subsets and ports that do not exist."""
    for service in survey.config.virtual_services:
        for path, destination in destinations(service):
            if destination.host.lower() == WRAPPED_APP:
                continue
            known = survey.service(survey.full(destination.host, service.metadata.namespace))
            if known is None:
                yield _unknown_host(survey, service, path, destination)
                continue
            yield from _port_problem(survey, service, path, known, destination)
            if destination.subset is not None:
                yield from _subset_problem(survey, service, path, known, destination)


def _unknown_host(survey: Survey, service: VirtualService, path: Path, destination: Destination) -> Finding:
    hint = survey.guess(destination.host, service.metadata.namespace)
    message = f'no ServiceEntry has the host "{destination.host}"'
    return survey.finding(
        service, (*path, "host"), "GW201", message, hint or "add a ServiceEntry that says where it is"
    )


def _port_problem(
    survey: Survey, service: VirtualService, path: Path, known: Service, destination: Destination
) -> Iterator[Finding]:
    ports = known.ports
    listed = ", ".join(map(str, ports))
    if destination.port is None:
        if len(ports) > 1:
            message = f'"{destination.host}" has the ports {listed}: which one?'
            hint = f"add port: {{number: {ports[0]}}}"
            yield survey.finding(service, (*path, "host"), "GW203", message, hint)
    elif ports and destination.port.number not in ports:
        message = f'"{destination.host}" has no port {destination.port.number}'
        hint = f"it has {listed}"
        yield survey.finding(service, (*path, "port", "number"), "GW204", message, hint)


def _subset_problem(
    survey: Survey, service: VirtualService, path: Path, known: Service, destination: Destination
) -> Iterator[Finding]:
    rules = survey.rules(known)
    subsets = {subset.name for rule in rules for subset in rule.spec.subsets}
    if destination.subset in subsets:
        return
    at = (*path, "subset")
    if not rules:
        message = f'"{destination.host}" has no subsets: no DestinationRule is for it'
        hint = "add a DestinationRule with subsets, or leave subset out"
    else:
        message = f'the DestinationRule of "{destination.host}" has no subset "{destination.subset}"'
        listed = ", ".join(sorted(subsets)) or "none"
        hint = nearest(str(destination.subset), subsets) or f"it has {listed}"
    yield survey.finding(service, at, "GW202", message, hint)
