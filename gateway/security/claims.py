"""Claims of a verified token: found by name, as lists, as header values.

Lifetime: config (plain functions).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ALWAYS_SPLIT = ("permission", "scope")
"""Claims that are lists written as text everywhere (RFC 8693 4.2)."""
_breaks = re.compile(r"[\x00-\x1f\x7f]").search


def nested(claims: Any, path: Iterable[str]) -> Any:
    """The value at a path of members; None when there is none."""
    for name in path:
        claims = claims.get(name) if isinstance(claims, Mapping) else None
    return claims


def named(claims: Mapping[str, Any], name: str) -> Any:
    """The claim called `name`; `a.b` is the member `b` of `a`, unless a claim has that very name."""
    return claims[name] if name in claims else nested(claims, name.split("."))


def with_lists(claims: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The claims, those called `names` split at blanks; the same object when nothing is to split."""
    split = {name: claims[name].split() for name in names if isinstance(claims.get(name), str)}
    return {**claims, **split} if split else claims


def texts(value: Any) -> list[bytes]:
    """What a claim is compared by: its text, or those of a list. Numbers and objects match nothing."""
    members = value if isinstance(value, list | tuple) else (value,)
    return [member.encode(errors="replace") for member in members if isinstance(member, str)]


def header_value(value: Any) -> bytes | None:
    """A claim as a header value: text, numbers, booleans. None when it has none that means just this.

    Text with control characters or blanks at its ends is left out: it would be read as something else.
    """
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return b"%d" % value if value.is_integer() and 0 <= value < 2**64 else b"%f" % value
    if isinstance(value, str) and value and not _breaks(value) and value.strip(" ") == value:
        return value.encode()
    return None


def principal(issuer: str, subject: str) -> str:
    """`issuer/subject` (`request.auth.principal`); empty when either is missing."""
    return f"{issuer}/{subject}" if issuer and subject else ""
