"""Analyzers of delegation: does the other VirtualService exist, and do its rules fit in?

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.analysis.survey import exported
from gateway.config.codes import define
from gateway.config.fields import StringMatch
from gateway.config.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.analysis.survey import Survey
    from gateway.config.findings import Finding
    from gateway.config.http_match import HTTPMatchRequest
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


_PRESENT = StringMatch()


def conflict(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> bool:
    """Whether `leaf` could hold for a request that `root` does not take (Istio's `hasConflict`)."""
    for field in ("uri", "scheme", "method", "authority"):
        if _texts_conflict(getattr(root, field), getattr(leaf, field)):
            return True
    for field in ("headers", "query_params"):
        outer: Mapping[str, StringMatch | None] = getattr(root, field)
        inner: Mapping[str, StringMatch | None] = getattr(leaf, field)
        for name in outer.keys() & inner.keys():
            if _texts_conflict(outer[name] or _PRESENT, inner[name] or _PRESENT):
                return True
    return (
        any(root.without_headers.get(name, text) != text for name, text in leaf.without_headers.items())
        or any(root.source_labels.get(name, value) != value for name, value in leaf.source_labels.items())
        or bool(root.ignore_uri_case) != bool(leaf.ignore_uri_case)
        or bool(root.port and leaf.port and root.port != leaf.port)
        or bool(root.gateways and not set(leaf.gateways) <= set(root.gateways))
        or bool(root.source_namespace and leaf.source_namespace not in {None, root.source_namespace})
    )


def _texts_conflict(root: StringMatch | None, leaf: StringMatch | None) -> bool:
    if root is None or leaf is None:
        return False
    if root.regex is not None or leaf.regex is not None:
        return True
    if root.exact is not None:
        return leaf.exact != root.exact
    text = leaf.exact if leaf.exact is not None else leaf.prefix
    return root.prefix is not None and (text is None or not text.startswith(root.prefix))
