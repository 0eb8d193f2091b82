"""Analyzers of policies: whom do they protect, and is what they rely on there?

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.codes import define
from gateway.config.suggest import nearest
from gateway.config.visibility import age

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.config.analysis.survey import Survey
    from gateway.config.findings import Finding
    from gateway.config.resource import Resource
    from gateway.config.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
    from gateway.config.telemetry import Telemetry

    Selecting = AuthorizationPolicy | PeerAuthentication | RequestAuthentication | Telemetry

define(
    "GW232",
    "claim without verified token",
    "error",
    "A rule matches a claim of a JWT, and no RequestAuthentication is for this gateway: there is never a"
    " verified token, so the claim is never there.",
)
define(
    "GW270",
    "selector without workloads",
    "warning",
    "No endpoint of the namespace and not the gateway itself (GatewaySettings.labels) carries these labels:"
    " the document is for nobody. A policy that protects nobody is most likely misspelt.",
)
define(
    "GW271",
    "several documents for everything",
    "warning",
    "Of several PeerAuthentication or Telemetry documents without selector in one namespace only the oldest"
    " counts (metadata.creationTimestamp, then name).",
)
define(
    "GW272",
    "policy for a namespace without services",
    "warning",
    "A policy without selector is for the requests to services of its namespace, and for all requests if that"
    " is the gateway's own namespace or the root namespace. There is no service in this one, so it protects"
    " nobody.",
)
define(
    "GW273",
    "STRICT, and nobody asks for certificates",
    "warning",
    "STRICT refuses every request whose client showed no verified certificate (403), and no server of a"
    " Gateway document asks for one. In a mesh this document is for sidecars; here it is for the clients of"
    " this process. Where another server terminates TLS and asks (`uvicorn --ssl-cert-reqs 2`), ignore this.",
)

ASKING = frozenset({"MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"})
"""Modes of a server that ask clients for a certificate."""


def unverified_claims(survey: Survey) -> Iterator[Finding]:
    """Matches on claims that nobody verifies."""
    own = survey.config.settings.spec.labels
    places = {survey.namespace, survey.config.settings.spec.root_namespace}
    for policy in survey.config.request_authentications:
        selector = policy.spec.selector
        # Without labels of its own the gateway cannot be told from others: benefit of the doubt.
        if policy.metadata.namespace in places and (selector is None or not own or selector.matches(own)):
            return
    for service in survey.config.virtual_services:
        for number, http in enumerate(service.spec.http):
            for index, match in enumerate(http.match):
                for field in ("headers", "without_headers"):
                    for name in getattr(match, field):
                        if name.startswith("@request.auth."):
                            path = ("spec", "http", number, "match", index, field, name)
                            message = f'"{name}" is never there: no RequestAuthentication is for this gateway'
                            yield survey.finding(service, path, "GW232", message)


def idle_selectors(survey: Survey) -> Iterator[Finding]:
    """Selectors that select nobody."""
    settings = survey.config.settings.spec
    known: list[tuple[str, Mapping[str, str]]] = [(survey.namespace, settings.labels)]
    for service in survey.services.values():
        known += [(service.namespace, labels) for labels in service.endpoints or ()]
    for resource in _selecting(survey):
        selector, namespace = resource.spec.selector, resource.metadata.namespace
        if selector is None or not selector.match_labels:
            continue
        candidates = [labels for place, labels in known if namespace in {place, settings.root_namespace}]
        if not any(selector.matches(labels) for labels in candidates):
            labels = ", ".join(f"{name}: {value}" for name, value in selector.match_labels.items())
            message = f"{resource.title} is for nobody: nothing in its namespace has the labels {labels}"
            yield survey.finding(resource, ("spec", "selector", "matchLabels"), "GW270", message)


def empty_namespaces(survey: Survey) -> Iterator[Finding]:
    """Policies for everything in a namespace where there is nothing."""
    config = survey.config
    inhabited = {service.namespace for service in survey.services.values()}
    inhabited |= {survey.namespace, config.settings.spec.root_namespace}
    protecting: tuple[AuthorizationPolicy | PeerAuthentication | RequestAuthentication, ...] = (
        *config.authorization_policies,
        *config.peer_authentications,
        *config.request_authentications,
    )
    for policy in protecting:
        namespace = policy.metadata.namespace
        if namespace in inhabited or (policy.spec.selector is not None and policy.spec.selector.match_labels):
            continue
        message = f"{policy.title} is for nobody: no service is in the namespace {namespace}"
        advice = nearest(namespace, inhabited) or f"the gateway's own namespace is {survey.namespace}"
        yield survey.finding(policy, ("metadata", "namespace"), "GW272", message, advice)


def unasked_certificates(survey: Survey) -> Iterator[Finding]:
    """Certificates that are demanded of everybody and asked of nobody."""
    servers = [server for gateway in survey.config.gateways for server in gateway.spec.servers]
    if any(server.tls is not None and server.tls.mode in ASKING for server in servers):
        return
    for policy in survey.config.peer_authentications:
        spec = policy.spec
        if spec.strict:
            here = "mtls" if spec.mtls is not None and spec.mtls.mode == "STRICT" else "port_level_mtls"
            message = "no listener asks clients for a certificate, so whatever this is for is refused"
            advice = "give a Gateway server tls with mode OPTIONAL_MUTUAL or MUTUAL, or write PERMISSIVE"
            yield survey.finding(policy, ("spec", here), "GW273", message, advice)


def _selecting(survey: Survey) -> Iterator[Selecting]:
    config = survey.config
    yield from config.authorization_policies
    yield from config.peer_authentications
    yield from config.request_authentications
    yield from config.telemetries


def rival_documents(survey: Survey) -> Iterator[Finding]:
    """Documents for a whole namespace of which only one counts."""
    config = survey.config
    peers = [item for item in config.peer_authentications if not item.spec.selector]
    telemetries = [
        item
        for item in config.telemetries
        if not item.spec.selector and not item.spec.target_ref and not item.spec.target_refs
    ]
    yield from _rivals(survey, peers)
    yield from _rivals(survey, telemetries)


def _rivals(survey: Survey, resources: Iterable[Resource]) -> Iterator[Finding]:
    first: dict[str, Resource] = {}
    for resource in sorted(resources, key=age):
        counting = first.setdefault(resource.metadata.namespace, resource)
        if counting is not resource:
            message = f"{counting.title} at {survey.where(counting)} counts, and this one does not"
            yield survey.finding(
                resource, ("metadata", "name"), "GW271", message, "keep one, or add a selector"
            )
