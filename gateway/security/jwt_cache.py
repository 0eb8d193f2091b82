"""Tokens that were verified, so that a client's second request costs no signature.

Lifetime: process.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TOKENS = 2048
MOST_BYTES = 2 * 1024 * 1024
"""Of all tokens together, as they came; their claims take a few times that."""


class Verified(NamedTuple):
    """A genuine token, as far as requests are concerned."""

    claims: Mapping[str, Any]
    """Its payload; lists written as text are lists."""
    principal: str
    """`issuer/subject`; empty when one is missing."""
    expires_at: float
    """Seconds since the epoch after which it is refused; infinity: never."""
    headers: tuple[tuple[bytes, bytes], ...]
    """What the backend is told of it."""
    size: int
    """Bytes of the token."""


def digest(token: bytes) -> bytes:
    """What a token is filed under, so that no memory image of the cache holds a credential."""
    return sha256(token).digest()


class TokenCache:
    """The tokens of one rule that were seen last. An entry is found again only by the whole token."""

    __slots__ = ("_found", "_size", "hits", "misses")

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, Verified] = OrderedDict()
        self._size = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: bytes, now: float) -> Verified | None:
        """The entry, unless it has expired by `now`."""
        entry = self._found.get(key)
        if entry is None:
            self.misses += 1
            return None
        if now > entry.expires_at:
            self._size -= entry.size
            del self._found[key]
            self.misses += 1
            return None
        self._found.move_to_end(key)
        self.hits += 1
        return entry

    def put(self, key: bytes, entry: Verified) -> None:
        """Remembers a token; the one that was not seen for longest goes when there is no room."""
        old = self._found.pop(key, None)
        if old is not None:
            self._size -= old.size
        self._found[key] = entry
        self._size += entry.size
        while len(self._found) > MOST_TOKENS or self._size > MOST_BYTES:
            _, gone = self._found.popitem(last=False)
            self._size -= gone.size

    def clear(self) -> None:
        """Forgets every token: the keys that vouched for them have changed."""
        self._found.clear()
        self._size = 0
