"""Which trace a request belongs to.

Lifetime: request (pure functions).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_W3C: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})(?:-|\Z)")
_B3: Final = re.compile(rb"([0-9a-fA-F]{16}|[0-9a-fA-F]{32})-[0-9a-fA-F]{16}-[1d](?:-|\Z)")
_TRACE_ID: Final = re.compile(rb"(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})\Z")


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
