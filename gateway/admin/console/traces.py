"""Requests that were sampled, among the last ones.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.explain.story import summary
from gateway.explain.trace import trace_of

if TYPE_CHECKING:
    from gateway.admin.console.sources import Sources

MOST: Final = 100


def traces(sources: Sources) -> dict[str, Any]:
    """The youngest first, each with its trace id; `/requests/ID` tells what its spans are made of."""
    recorder = sources.recorder
    found: list[dict[str, Any]] = []
    if recorder is None:
        return {"traces": found}
    for entry in recorder.entries():
        trace_id = trace_of(entry.exchange.request.header_map)
        if trace_id:
            found.append({**summary(entry, recorder.moment(entry.ended_at)), "trace_id": trace_id})
            if len(found) == MOST:
                break
    return {"traces": found}
