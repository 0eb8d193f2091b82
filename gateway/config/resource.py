"""What every document has in common, and which class reads which kind.

Lifetime: config. The registry is filled while modules are imported and not changed afterwards.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotation
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, Strict, model_validator

from gateway.config.fields import Model, Namespace, Problem, StringMap, rejection
from gateway.config.names import check_resource_name

_FROM_THE_CLUSTER = {
    "annotations",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
} - {"annotations"}
"""Fields `kubectl get -o yaml` shows that mean nothing outside a cluster; accepted and dropped."""


def _resource_name(value: str) -> str:
    message = check_resource_name(value)
    if message is not None:
        raise rejection(Problem("GW026", message))
    return value


class Metadata(Model):
    """Who a resource is."""

    name: Annotated[str, Strict(), AfterValidator(_resource_name)]
    namespace: Namespace = "default"
    labels: StringMap = Field(default_factory=dict)
    annotations: StringMap = Field(default_factory=dict)
    creation_timestamp: datetime | None = None
    """Orders resources as Istio does: oldest first. Without it, by name, then namespace."""

    @model_validator(mode="before")
    @classmethod
    def _drop(cls, value: Any) -> Any:
        if isinstance(value, dict) and not _FROM_THE_CLUSTER.isdisjoint(value):
            return {key: item for key, item in value.items() if key not in _FROM_THE_CLUSTER}
        return value


class Resource(Model):
    """One document. Subclasses say their kind with `@register` and give `spec` its type."""

    api_version: str
    kind: str
    metadata: Metadata

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace, name: what `kubectl apply` replaces by."""
        return self.kind, self.metadata.namespace, self.metadata.name

    @property
    def title(self) -> str:
        """`VirtualService default/reviews`, for messages."""
        return f"{self.kind} {self.metadata.namespace}/{self.metadata.name}"


R = TypeVar("R", bound=type[Resource])

KINDS: dict[tuple[str, str], type[Resource]] = {}
"""(API group, kind) -> class; filled by `register`."""
VERSIONS: dict[str, tuple[str, ...]] = {}
"""API group -> versions that are read, newest first."""


def register(group: str, kind: str, *versions: str) -> Any:
    """Class decorator: documents `group/version`, `kind` are read into the class."""

    def add(cls: R) -> R:
        KINDS[group, kind] = cls
        VERSIONS[group] = versions
        return cls

    return add
