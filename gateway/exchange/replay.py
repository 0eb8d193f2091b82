"""The beginning of a request body, kept so that it can be sent again: to the next try, or to a mirror.

Lifetime: request. Chunks are kept as they came, without a copy; a body that is too long is not kept at all,
streams on, and can no longer be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exchange.retry import IDEMPOTENT
from gateway.http.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.routing.policies import RetryPolicy

REPLAY_BYTES = 1024 * 1024
"""Longest body that is kept, in bytes (Envoy's default buffer limit)."""

TOO_LARGE = Reply(
    507,
    b"exceeded request buffer limit while retrying upstream",
    None,
    "request_payload_exceeded_retry_buffer_limit",
)
"""What the client gets whose body outgrows the buffer while there is no connection to stream it to."""


class Replay:
    """A bounded tee: everything that was appended, in order, until it is too much."""

    __slots__ = ("_chunks", "limit", "overflowed", "size")

    def __init__(self, limit: int = REPLAY_BYTES) -> None:
        self.limit = limit
        """Bytes; a body of exactly so many is kept."""
        self.size = 0
        """Bytes kept."""
        self.overflowed = False
        """The body is longer than `limit`; nothing of it is kept."""
        self._chunks: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Replay {'overflowed' if self.overflowed else self.size} of {self.limit}>"

    def __len__(self) -> int:
        return len(self._chunks)

    def fits(self, chunk: bytes) -> bool:
        """Whether `append` would keep it."""
        return not self.overflowed and self.size + len(chunk) <= self.limit

    def append(self, chunk: bytes) -> bool:
        """Keeps a chunk; False when the body has become too long, and all of it is let go."""
        if self.overflowed:
            return False
        size = self.size + len(chunk)
        if size > self.limit:
            self.overflowed = True
            self.size = 0
            self._chunks.clear()
            return False
        self.size = size
        self._chunks.append(chunk)
        return True

    def chunk(self, index: int) -> bytes:
        """The chunk at `index`, which is below `len()`."""
        return self._chunks[index]

    def chunks(self) -> Sequence[bytes]:
        """All that is kept so far."""
        return tuple(self._chunks)


def replay_for(
    policy: RetryPolicy | None,
    method: str,
    length: int | None,
    *,
    mirrored: bool = False,
    limit: int = REPLAY_BYTES,
) -> Replay | None:
    """A buffer for a body of `length` bytes (None: not known), or None when keeping it would be of no use.

    It is decided before the first byte: a body that declares itself too long, or a request that no failure
    could repeat once its body is on the way, costs no memory.
    """
    if length is not None and length > limit:
        return None
    if mirrored or (policy is not None and (policy.named or method in IDEMPOTENT)):
        return Replay(limit)
    return None
