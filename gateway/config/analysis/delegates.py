"""Analyzers of delegation: does the other VirtualService exist, and do its rules fit in?

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.codes import define
from gateway.config.delegation import conflict
from gateway.config.suggest import nearest
from gateway.config.visibility import exported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.analysis.survey import Survey
    from gateway.config.findings import Finding
    from gateway.config.virtual_service import VirtualService

define(
    "GW250",
    "unknown delegate",
    "error",
    "The VirtualService that continues the decision does not exist, or is not exported to this namespace."
    " The rule vanishes, as in Istio: its requests go to the rules after it, or get 404.",
)
define(
    "GW251",
    "not a delegate",
    "error",
    "A delegate is a VirtualService without hosts and gateways. One with hosts stands for itself, and the"
    " rule that delegates to it vanishes, as in Istio.",
)
define(
    "GW252",
    "delegate's rule does not fit",
    "warning",
    "A delegate may narrow what the delegating rule takes, not widen it: equal values, a longer prefix, an"
    " exact path within the prefix; a regex only where the other side has nothing. The delegate's rule is"
    " left out, as in Istio.",
)
define(
    "GW253",
    "nobody delegates",
    "warning",
    "A VirtualService without hosts has effect only when another one delegates to it.",
)


def delegation(survey: Survey) -> Iterator[Finding]:
    """Delegates that are missing, do not fit, or are not used."""
    known = {
        (service.metadata.namespace, service.metadata.name): service
        for service in survey.config.virtual_services
    }
    used: set[int] = set()
    for service in survey.config.virtual_services:
        for number, http in enumerate(service.spec.http):
            if http.delegate is None or service.spec.is_delegate:
                continue
            namespace = http.delegate.namespace or service.metadata.namespace
            delegate = known.get((namespace, http.delegate.name))
            path = ("spec", "http", number, "delegate", "name")
            if delegate is None:
                message = f'no VirtualService "{http.delegate.name}" in namespace {namespace}'
                names = [
                    name
                    for place, name in known
                    if place == namespace and known[place, name].spec.is_delegate
                ]
                yield survey.finding(service, path, "GW250", message, nearest(http.delegate.name, names))
            elif not delegate.spec.is_delegate:
                message = f"{delegate.title} has hosts, so it is no delegate"
                yield survey.finding(service, path, "GW251", message, "remove its hosts and gateways")
            elif not exported(delegate.spec.export_to, namespace, service.metadata.namespace):
                message = f"{delegate.title} is not exported to namespace {service.metadata.namespace}"
                yield survey.finding(service, path, "GW250", message, "add it to its exportTo")
            else:
                used.add(id(delegate))
                yield from _misfits(survey, service, number, delegate)
    for service in survey.config.virtual_services:
        if service.spec.is_delegate and id(service) not in used:
            message = f"nobody delegates to {service.title}"
            yield survey.finding(
                service, ("metadata", "name"), "GW253", message, "give it hosts, or remove it"
            )


def _misfits(
    survey: Survey, root: VirtualService, number: int, delegate: VirtualService
) -> Iterator[Finding]:
    outer = root.spec.http[number].match
    for index, http in enumerate(delegate.spec.http):
        for position, leaf in enumerate(http.match if outer else ()):
            if all(conflict(item, leaf) for item in outer):
                message = (
                    f"this takes requests that the rule at {_line(survey, root, number)} does not delegate"
                )
                path = ("spec", "http", index, "match", position)
                yield survey.finding(delegate, path, "GW252", message, "narrow it, or widen the other")


def _line(survey: Survey, root: VirtualService, number: int) -> str:
    here = survey.config.origin(root).position("spec", "http", number)
    return f"{here.path}:{here.line}"
