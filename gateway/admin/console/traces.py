"""Requests that were sampled, among the last ones.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.explain.story import summary

if TYPE_CHECKING:
    from gateway.admin.console.sources import Sources

MOST: Final = 100


def traces(sources: Sources) -> dict[str, Any]:
    """The youngest first, each with its trace id; `spans` is what `/requests/ID` tells of the attempts."""
    recorder = sources.recorder
    found: list[dict[str, Any]] = []
    for entry in recorder.entries() if recorder is not None else ():
        trace_id = trace_of(entry.exchange)
        if trace_id:
            found.append({**summary(entry, recorder.moment(entry.ended_at)), "trace_id": trace_id})  # type: ignore[union-attr]
            if len(found) == MOST:
                break
    return {"traces": found}


def trace_of(exchange: Any) -> str:
    """Its trace id in hexadecimal; empty when it was not sampled."""
    trace = getattr(exchange, "trace", None)
    number = getattr(trace, "trace_id", 0)
    return f"{number:032x}" if isinstance(number, int) and number else str(number or "")
