"""Trace context on the wire: W3C `traceparent`, B3 in one header or several.

Lifetime: request (plain functions over header lines).

What does not parse is as if it were not there: a new trace begins (security.md D23).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.http.headers import Headers

TRACEPARENT, TRACESTATE, BAGGAGE, B3 = b"traceparent", b"tracestate", b"baggage", b"b3"
B3_TRACE, B3_SPAN, B3_PARENT = b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid"
B3_SAMPLED, B3_FLAGS = b"x-b3-sampled", b"x-b3-flags"
B3_MANY = frozenset({B3_TRACE, B3_SPAN, B3_PARENT, B3_SAMPLED, B3_FLAGS})
NAMES = frozenset({TRACEPARENT, TRACESTATE, BAGGAGE, B3}) | B3_MANY
"""Every header that is part of a trace context."""
LONGEST_STATE, MOST_STATES = 512, 32
"""Bytes and members of `tracestate` (W3C Trace Context 3.3.1.5)."""
LONGEST_BAGGAGE = 8192
"""Bytes of `baggage` (W3C Baggage 3.3.2)."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ONE = re.compile(rb"([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-([01d]))?(?:-([0-9a-f]{16}))?")
_TRACE = re.compile(rb"[0-9a-f]{32}|[0-9a-f]{16}")
_SPAN = re.compile(rb"[0-9a-f]{16}")
_YES, _NO = frozenset({b"1", b"true", b"d"}), frozenset({b"0", b"false"})


class Incoming(NamedTuple):
    """The context that a request came with."""

    trace: int = 0
    """0: there was none."""
    span: int = 0
    sampled: bool | None = None
    """What the caller decided; None: nothing."""
    style: str = ""
    """`w3c`, `b3` or `b3multi`: how it was written; empty: not at all."""
    broken: bool = False
    """Some of it did not parse, or was too long: only the rest may go on."""


NOTHING = Incoming()


def incoming(headers: Iterable[tuple[bytes, bytes]]) -> Incoming:
    """The context of these header lines; W3C goes before B3."""
    found: dict[bytes, bytes] = {}
    broken = False
    for name, value in headers:
        if name in NAMES:
            broken = broken or (name in found and name not in {TRACESTATE, BAGGAGE})
            found[name] = found[name] + b"," + value if name in found else value
    if not found:
        return NOTHING
    if _too_long(found):
        broken = True
    if not broken and TRACEPARENT in found:
        context = _w3c(found[TRACEPARENT])
        if context is not None:
            return context
        broken = True
    if TRACEPARENT not in found and not broken:
        context = _b3(found)
        if context is not None:
            return context
        broken = not found.keys() <= {TRACESTATE, BAGGAGE}
    return Incoming(broken=broken)


def _too_long(found: dict[bytes, bytes]) -> bool:
    state = found.get(TRACESTATE, b"")
    baggage = found.get(BAGGAGE, b"")
    return len(state) > LONGEST_STATE or state.count(b",") >= MOST_STATES or len(baggage) > LONGEST_BAGGAGE


def _w3c(value: bytes) -> Incoming | None:
    match = _PARENT.fullmatch(value)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    if not int(trace, 16) or not int(span, 16):
        return None
    return Incoming(int(trace, 16), int(span, 16), bool(int(flags, 16) & 1), "w3c")


def _b3(found: dict[bytes, bytes]) -> Incoming | None:
    if B3 in found:
        value = found[B3]
        if value in {b"0", b"1", b"d"}:
            return Incoming(sampled=value != b"0", style="b3")
        match = _ONE.fullmatch(value)
        if match is None:
            return None
        trace, span, decision, _ = match.groups()
        return _made(trace, span, decision or b"", "b3")
    decision = b"1" if found.get(B3_FLAGS) == b"1" else found.get(B3_SAMPLED, b"")
    trace, span = found.get(B3_TRACE, b""), found.get(B3_SPAN, b"")
    if not trace and not span:
        return Incoming(sampled=decision in _YES, style="b3multi") if decision in _YES | _NO else None
    if not _TRACE.fullmatch(trace) or not _SPAN.fullmatch(span):
        return None
    return _made(trace, span, decision, "b3multi")


def _made(trace: bytes, span: bytes, decision: bytes, style: str) -> Incoming | None:
    if not int(trace, 16) or not int(span, 16):
        return None
    sampled = True if decision in _YES else False if decision in _NO else None
    return Incoming(int(trace, 16), int(span, 16), sampled, style)


def traceparent(trace: int, span: int, *, sampled: bool) -> bytes:
    """The value of a `traceparent` header."""
    return b"00-%032x-%016x-%02x" % (trace, span, sampled)


def outgoing(trace: int, span: int, parent: int, *, sampled: bool, styles: Iterable[str]) -> Headers:
    """The header lines that pass a context on: W3C always, B3 where it is asked for."""
    lines: Headers = [(TRACEPARENT, traceparent(trace, span, sampled=sampled))]
    if "b3" in styles:
        lines.append((B3, b"%032x-%016x-%d-%016x" % (trace, span, sampled, parent)))
    if "b3multi" in styles:
        lines += (
            (B3_TRACE, b"%032x" % trace),
            (B3_SPAN, b"%016x" % span),
            (B3_PARENT, b"%016x" % parent),
            (B3_SAMPLED, b"%d" % sampled),
        )
    return lines


_REPLACED = frozenset({TRACEPARENT, B3}) | B3_MANY


def replaced(headers: Iterable[tuple[bytes, bytes]], lines: Headers, *, all_of_it: bool = False) -> Headers:
    """`headers` with this context instead of theirs; `all_of_it`: without their state and baggage too."""
    gone = NAMES if all_of_it else _REPLACED
    return [pair for pair in headers if pair[0] not in gone] + lines
