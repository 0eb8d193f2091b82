"""Which rules of a delegate fit into a rule that delegates.

Lifetime: config; plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.fields import StringMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.http_match import HTTPMatchRequest

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
