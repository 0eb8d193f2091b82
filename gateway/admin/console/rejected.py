"""Requests that never became one: which rule refused them, and the bytes that broke it.

Lifetime: request (pure functions). The bytes were freed of credentials when they were kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.admin.console.sources import Sources


def rejected(sources: Sources) -> dict[str, Any]:
    """Counts by reason, and the last ones, youngest first; not `available` when the server is not ours."""
    edge = sources.edge()
    if edge is None:
        return {"available": False, "counts": {}, "last": []}
    refusals = edge.refusals
    last = [
        {
            "at": each.at,
            "id": each.request_id,
            "reason": each.reason,
            "status": each.status,
            "client": each.client,
            "bytes": each.head.hex(),
        }
        for each in reversed(list(refusals.last))
    ]
    counts = sorted(dict(refusals.counts).items(), key=lambda item: -item[1])
    return {"available": True, "counts": dict(counts), "last": last}
