"""Names of services and clusters, and who may see whose documents (Istio's rules).

Lifetime: config; plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.resource import Resource


def fqdn(host: str, namespace: str, domain: str) -> str:
    """A host in full and lower case: `reviews` of namespace `shop` is `reviews.shop.svc.cluster.local`."""
    host = host.lower()
    if "." in host or "*" in host or ":" in host:
        return host
    return f"{host}.{namespace}.svc.{domain.lower()}"


def cluster_name(host: str, port: int, subset: str | None) -> str:
    """Envoy's name of a cluster in Istio: `outbound|9080|v1|reviews.default.svc.cluster.local`."""
    return f"outbound|{port}|{subset or ''}|{host}"


def covers(pattern: str, host: str) -> bool:
    """Whether `pattern`, a name or `*.suffix`, stands for `host`; `*.a.b` does not for `a.b`."""
    if pattern.startswith("*"):
        return len(host) >= len(pattern) and host.endswith(pattern[1:])
    return pattern == host


def exported(export_to: Sequence[str], own: str, reader: str) -> bool:
    """Whether a document of namespace `own` is visible in namespace `reader` (`exportTo`)."""
    return not export_to or "*" in export_to or reader in export_to or ("." in export_to and own == reader)


def age(resource: Resource) -> tuple[float, str, str]:
    """Sorts documents as Istio does: oldest first, then by name and namespace. No timestamp is oldest."""
    created = resource.metadata.creation_timestamp
    return created.timestamp() if created else 0.0, resource.metadata.name, resource.metadata.namespace
