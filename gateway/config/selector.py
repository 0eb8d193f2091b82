"""Which workloads a security or telemetry document is for: `selector` and `targetRef(s)`.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BeforeValidator

from gateway.config.fields import (
    Checked,
    FrozenMap,
    Many,
    Model,
    Namespace,
    NonEmpty,
    Problem,
    Str,
    StringMap,
)
from gateway.config.names import check_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_TARGETS = 16


class WorkloadSelector(Checked):
    """Labels a workload must carry, all of them."""

    match_labels: StringMap = FrozenMap()
    """Compared with the labels of a destination's endpoints, and with `GatewaySettings.labels`."""

    def _rules(self) -> Iterator[Problem]:
        for name, value in self.match_labels.items():
            if "*" in name or "*" in value:
                yield Problem("GW041", "a selector takes no wildcard", ("matchLabels", name))
            elif (message := check_label(name, value)) is not None:
                yield Problem("GW041", message, ("matchLabels", name))
        if not self.match_labels:
            message = "a selector without labels selects every workload of the namespace"
            yield Problem("GW051", message, (), "leave selector out", severity="warning", fatal=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a workload with these labels is selected."""
        return all(labels.get(name) == value for name, value in self.match_labels.items())


class PolicyTargetReference(Model):
    """A Kubernetes object a policy is attached to."""

    group: Str = ""
    kind: NonEmpty
    name: NonEmpty
    namespace: Namespace | None = None


def _null_is_empty(value: Any) -> Any:
    return {} if value is None else value


EmptyIfNull = BeforeValidator(_null_is_empty)
"""A specification that may be left out: `spec:` is `spec: {}`, which in a policy means something."""


class Targeted(Checked):
    """What a specification has that is aimed by `selector` or by `targetRef(s)`, never by both."""

    selector: WorkloadSelector | None = None
    """Default: every workload of the namespace; of all namespaces, in the root namespace."""
    target_ref: PolicyTargetReference | None = None
    """Deprecated: `targetRefs`."""
    target_refs: Many[PolicyTargetReference] = ()
    """Kubernetes objects this is for."""

    def _rules(self) -> Iterator[Problem]:
        given = {"selector": self.selector, "targetRef": self.target_ref, "targetRefs": self.target_refs}
        for name in [name for name, value in given.items() if value][1:]:
            yield Problem("GW040", "only one of selector, targetRef, targetRefs", (name,))
        if len(self.target_refs) > MAX_TARGETS:
            yield Problem("GW037", f"at most {MAX_TARGETS} targetRefs", ("targetRefs",))
        for at, reference in self.targets():
            if reference.namespace is not None:
                message = "a target is in the document's own namespace"
                yield Problem("GW045", message, (*at, "namespace"), "leave it out")

    def targets(self) -> Iterator[tuple[tuple[str | int, ...], PolicyTargetReference]]:
        """Every target, with its path below the specification."""
        if self.target_ref is not None:
            yield ("targetRef",), self.target_ref
        for index, reference in enumerate(self.target_refs):
            yield ("targetRefs", index), reference
