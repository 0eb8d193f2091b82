"""Which documents are for a workload: namespace, root namespace, selector.

Lifetime: config.

A document is for the workloads of its namespace, one in the root namespace for those of all; a selector
narrows that down to workloads that carry its labels. Where a destination has several endpoints and only some
carry them, the document is for the destination: what protects one endpoint cannot be left to the dice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.config.selector import WorkloadSelector

T = TypeVar("T")


class Workload(NamedTuple):
    """An endpoint of a destination, or the gateway itself."""

    labels: Mapping[str, str]
    port: int = 0
    """The port it listens on; 0: any."""


class Target(NamedTuple):
    """Where requests go: the namespace of a service and the endpoints they may reach."""

    namespace: str
    workloads: tuple[Workload, ...]


class Document(NamedTuple, Generic[T]):
    """A document while it is being filed."""

    namespace: str
    selector: Mapping[str, str]
    """Labels; empty: every workload."""
    item: T


def labels_of(selector: WorkloadSelector | None) -> Mapping[str, str]:
    """The labels a selector asks for; none for no selector."""
    return {} if selector is None else selector.match_labels


class Scope(Generic[T]):
    """Documents of one kind, found by workload without looking at all of them."""

    __slots__ = ("_root", "_selecting", "_whole")

    def __init__(self, documents: Iterable[Document[T]], root: str) -> None:
        self._root = root
        self._whole: dict[str, list[tuple[int, T]]] = {}
        self._selecting: dict[tuple[str, str, str], list[tuple[int, Mapping[str, str], T]]] = {}
        for order, (namespace, selector, item) in enumerate(documents):
            if not selector:
                self._whole.setdefault(namespace, []).append((order, item))
                continue
            # One label is enough to find it by; the one that tells most is not worth looking for.
            name, value = next(iter(selector.items()))
            self._selecting.setdefault((namespace, name, value), []).append((order, selector, item))

    def whole(self, namespace: str) -> list[T]:
        """Documents without selector that stand in `namespace`, in their order."""
        return [item for _, item in self._whole.get(namespace, ())]

    def selecting(self, namespace: str, workloads: Iterable[Workload]) -> list[T]:
        """Documents of `namespace` whose selector matches one of `workloads`, in their order."""
        return [item for _, item in sorted(self._selected(namespace, workloads).items())]

    def of(self, target: Target) -> tuple[T, ...]:
        """Every document that is for a target, in their order."""
        found: dict[int, T] = {}
        for namespace in {target.namespace, self._root}:
            found.update(self._whole.get(namespace, ()))
            found.update(self._selected(namespace, target.workloads))
        return tuple(found[order] for order in sorted(found))

    def _selected(self, namespace: str, workloads: Iterable[Workload]) -> dict[int, T]:
        found: dict[int, T] = {}
        for labels in {id(workload.labels): workload.labels for workload in workloads}.values():
            for name, value in labels.items():
                for order, selector, item in self._selecting.get((namespace, name, value), ()):
                    if selector.items() <= labels.items():
                        found[order] = item  # noqa: PERF403 - three loops in one expression
        return found


def distinct(items: Sequence[T], others: Sequence[T]) -> list[T]:
    """Those of `items` that are not among `others`, by identity."""
    known = set(map(id, others))
    return [item for item in items if id(item) not in known]
