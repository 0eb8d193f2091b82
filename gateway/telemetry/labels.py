"""Istio's labels of a request's source and destination.

Lifetime: config. Resolved once for each pair of destination and endpoint, never per request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.telemetry.catalog import ISTIO_LABELS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.settings import GatewaySettingsSpec
    from gateway.routing.route import Destination
    from gateway.upstream import Endpoint

CANONICAL_NAME = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
CANONICAL_REVISION = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
WORKLOAD = ("service.istio.io/workload-name",)
CLUSTER = "Kubernetes"
"""Istio's name of a mesh's first cluster."""
_SPACE: Final = re.compile(r"spiffe://[^/]+/ns/([^/]+)/")
"""Of a SPIFFE ID: it knows its namespace better than the configuration does (Istio)."""


def _first(labels: Mapping[str, str], names: tuple[str, ...], otherwise: str = UNKNOWN) -> str:
    return next((labels[name] for name in names if labels.get(name)), otherwise)


def source_labels(settings: GatewaySettingsSpec) -> dict[str, str]:
    """Who the gateway is. It reports as `source`: a sidecar at the destination would report the same request
    as `destination`.
    """
    labels = settings.labels
    name = _first(labels, CANONICAL_NAME, settings.server_name or UNKNOWN)
    return {
        "reporter": "source",
        "source_workload": _first(labels, WORKLOAD, name),
        "source_canonical_service": name,
        "source_canonical_revision": _first(labels, CANONICAL_REVISION, "latest"),
        "source_workload_namespace": settings.namespace,
        "source_principal": UNKNOWN,
        "source_app": _first(labels, ("app",), name),
        "source_version": _first(labels, ("version",)),
        "source_cluster": CLUSTER,
    }


_NOWHERE = dict.fromkeys((name for name in ISTIO_LABELS if name.startswith("destination_")), UNKNOWN)


def principal_labels(endpoint: Endpoint | None) -> dict[str, str]:
    """Who showed which certificate on the way to an endpoint: the gateway, and the endpoint at its last
    handshake. Unknown without TLS, or without a URI in it (Istio's source reporter: `uriSanLocalCertificate`,
    `uriSanPeerCertificate` of the upstream connection).
    """
    if endpoint is None or endpoint.pool.tls is None:
        return {}
    found = {"source_principal": endpoint.pool.tls.context.local_uri or UNKNOWN}
    if endpoint.principal:
        found["destination_principal"] = endpoint.principal
        if (space := _SPACE.match(endpoint.principal)) is not None:
            found["destination_workload_namespace"] = space[1]
    return found


def destination_labels(destination: Destination | None, endpoint: Endpoint | None) -> dict[str, str]:
    """Where a request went: the cluster's host, never the Host header; unknown when no route took it."""
    if destination is None:
        return _NOWHERE
    cluster = destination.cluster
    _, _, subset, host = (*destination.cluster_name.split("|"), "", "", "")[:4]
    found = {**_NOWHERE, "destination_service": host or UNKNOWN}
    first, _, rest = host.partition(".")
    inside = rest.split(".")
    in_mesh = len(inside) > 1 and inside[1] == "svc"
    found["destination_service_name"] = (first if in_mesh else host) or UNKNOWN
    if cluster is None:
        return found
    config = cluster.config
    found["destination_service_namespace"] = config.namespace
    labels = workload_labels(destination, endpoint)
    name = _first(labels, CANONICAL_NAME, first if in_mesh else host)
    found.update(
        destination_workload=_first(labels, WORKLOAD, name),
        destination_workload_namespace=config.namespace,
        destination_app=_first(labels, ("app",), name),
        destination_version=_first(labels, ("version",), subset or UNKNOWN),
        destination_canonical_service=name,
        destination_canonical_revision=_first(labels, CANONICAL_REVISION, "latest"),
        destination_cluster=CLUSTER,
    )
    return found


def workload_labels(destination: Destination, endpoint: Endpoint | None) -> Mapping[str, str]:
    """Labels of the endpoint; of an address that DNS gave, those all endpoints of the cluster agree on."""
    cluster = destination.cluster
    places = () if cluster is None else cluster.config.endpoints
    if endpoint is not None:
        for place in places:
            if place.address == endpoint.host and place.port == endpoint.port:
                return place.labels
    if not places:
        return {}
    common = dict(places[0].labels)
    for place in places[1:]:
        common = {key: value for key, value in common.items() if place.labels.get(key) == value}
    return common
