"""Delegation: a rule of one VirtualService that continues with the rules of another.

Lifetime: config. The result is plain rules, as if they had been written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config.delegation import conflict
from gateway.config.visibility import exported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.config.http_match import HTTPMatchRequest
    from gateway.config.virtual_service import HTTPRoute, VirtualService

_INHERITED = (
    "rewrite",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirror_percent",
    "mirror_percentage",
    "cors_policy",
    "headers",
)
"""Fields that a delegate's rule takes from the delegating one when it has none of its own."""
_TEXTS = ("uri", "scheme", "method", "authority")
_MAPS = ("headers", "without_headers", "query_params", "source_labels")


class Rule(NamedTuple):
    """One rule, and where it is written."""

    http: HTTPRoute
    owner: VirtualService
    """The VirtualService it stands in: names in it are short for that one's namespace."""
    number: int


def rules(root: VirtualService, delegates: Mapping[tuple[str, str], VirtualService]) -> Iterator[Rule]:
    """The rules of a VirtualService with delegation carried out.

    `delegates` are the VirtualServices without hosts, by (namespace, name). A rule whose delegate is missing
    or not exported to `root` vanishes; so does a delegate's rule that delegates further, or that could take
    requests which the delegating rule does not.
    """
    for index, http in enumerate(root.spec.http):
        if http.delegate is None:
            yield Rule(http, root, index)
            continue
        namespace = http.delegate.namespace or root.metadata.namespace
        delegate = delegates.get((namespace, http.delegate.name))
        if delegate is None or not _visible(delegate, root):
            continue
        for number, inner in enumerate(delegate.spec.http):
            merged = _merged(http, inner) if inner.delegate is None else None
            if merged is not None:
                yield Rule(merged, delegate, number)


def _visible(delegate: VirtualService, root: VirtualService) -> bool:
    return exported(delegate.spec.export_to, delegate.metadata.namespace, root.metadata.namespace)


def _merged(root: HTTPRoute, inner: HTTPRoute) -> HTTPRoute | None:
    matches = _merged_matches(root.match, inner.match)
    if matches is None:
        return None
    name = f"{root.name}-{inner.name}" if root.name and inner.name else inner.name or root.name
    inherited = {field: getattr(root, field) for field in _INHERITED if getattr(inner, field) in (None, ())}
    if inner.mirror is not None or inner.mirrors:
        inherited = {field: value for field, value in inherited.items() if not field.startswith("mirror")}
    return inner.model_copy(update={**inherited, "match": matches, "name": name})


def _merged_matches(
    root: Sequence[HTTPMatchRequest], inner: Sequence[HTTPMatchRequest]
) -> tuple[HTTPMatchRequest, ...] | None:
    """Both at once; None when some inner match is within none of the root's."""
    if not root or not inner:
        return tuple(root or inner)
    merged: list[HTTPMatchRequest] = []
    for leaf in inner:
        within = [_merged_match(outer, leaf) for outer in root if not conflict(outer, leaf)]
        if not within:
            return None
        merged += within
    return tuple(merged)


def _merged_match(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> HTTPMatchRequest:
    name = f"{root.name}-{leaf.name}" if root.name and leaf.name else leaf.name or root.name
    update: dict[str, object] = {"name": name, "gateways": leaf.gateways or root.gateways}
    for field in (*_TEXTS, "port", "source_namespace"):
        if getattr(leaf, field) is None:
            update[field] = getattr(root, field)
    for field in _MAPS:
        update[field] = {**getattr(root, field), **getattr(leaf, field)}
    return leaf.model_copy(update=update)
