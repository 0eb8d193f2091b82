"""Requests that were sampled, among the last ones.

Lifetime: request (pure functions).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gateway.explain.story import summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.admin.console.sources import Sources

MOST: Final = 100
_W3C: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})(?:-|\Z)")
_B3: Final = re.compile(rb"([0-9a-fA-F]{16}|[0-9a-fA-F]{32})-[0-9a-fA-F]{16}-[1d](?:-|\Z)")
_TRACE_ID: Final = re.compile(rb"(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})\Z")


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


def trace_of(headers: Mapping[bytes, bytes]) -> str:
    """The trace id of a request that was sampled, in hexadecimal; empty when it was not.

    Whoever decided, it stands in the request as it was forwarded: W3C's header, or else one of B3's.
    """
    found = _W3C.match(headers.get(b"traceparent", b""))
    if found is not None:
        return found[1].decode() if int(found[2], 16) & 1 and found[1].strip(b"0") else ""
    found = _B3.match(headers.get(b"b3", b""))
    if found is not None:
        return found[1].decode().lower()
    trace_id = headers.get(b"x-b3-traceid", b"")
    sampled = headers.get(b"x-b3-sampled") in {b"1", b"true"} or headers.get(b"x-b3-flags") == b"1"
    return trace_id.decode().lower() if sampled and _TRACE_ID.match(trace_id) else ""
