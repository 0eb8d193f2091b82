"""Who sees whose documents, and which of several comes first (Istio's rules).

Lifetime: config; plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config.resource import Resource


def exported(export_to: Sequence[str], own: str, reader: str) -> bool:
    """Whether a document of namespace `own` is visible in namespace `reader` (`exportTo`; default: it is)."""
    return not export_to or "*" in export_to or reader in export_to or ("." in export_to and own == reader)


def age(resource: Resource) -> tuple[float, str, str]:
    """Sorts documents as Istio does: oldest first, then by name and namespace. No timestamp is oldest."""
    created = resource.metadata.creation_timestamp
    return created.timestamp() if created else 0.0, resource.metadata.name, resource.metadata.namespace
