"""Header lines taken apart, and remembered: most lines of a connection's heads were seen before.

Lifetime: process (the memory); bounded, since peers choose what they send.

Theory. A head is split at CRLF, and each line looked up whole. A line that is not known yet has to match the
strict grammar below; what does not is nobody's but llhttp's to judge, so the caller falls back to it. The
grammar is a part of what llhttp accepts, with the same result (a property test holds the two together).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.http.headers import Headers

MOST_REMEMBERED: Final = 2048
"""Lines; at this number all are forgotten, and those in use come back at once."""
LONGEST_REMEMBERED: Final = 256
"""Bytes; longer lines hardly repeat, and would make the memory large."""
_SECRET = frozenset(
    {
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-api-key",
        b"x-amz-security-token",
    }
)
"""Not kept in memory beyond their request."""

_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):[\t ]*+"
    rb"((?:[\x21-\x7e\x80-\xff]++(?:[\t ]++(?=[\x21-\x7e\x80-\xff]))?)*+)[\t ]*+"
).fullmatch
"""A field line (RFC 9110 5.5): token, colon, value without the blanks around it."""

Field = tuple[bytes, bytes]


class Lines:
    """A memory of header lines."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Field] = {}

    def __len__(self) -> int:
        return len(self._known)

    def fields(self, lines: list[bytes]) -> Headers | None:
        """Name (lower-case) and value of each line; None when one of them is not plainly well-formed."""
        fields = list(map(self._known.get, lines))
        while None in fields:
            index = fields.index(None)
            learnt = self._learn(lines[index])
            if learnt is None:
                return None
            fields[index] = learnt
        return fields  # type: ignore[return-value] # no None is left

    def _learn(self, line: bytes) -> Field | None:
        match = _LINE(line)
        if match is None:
            return None
        field = match[1].lower(), match[2]
        if len(line) <= LONGEST_REMEMBERED and field[0] not in _SECRET:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[line] = field
        return field
