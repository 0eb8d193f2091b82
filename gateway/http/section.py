"""The header section of a request head: what stands below its request line (RFC 9110 6.3).

Lifetime: process (one connection). Clients say the same of themselves in each request of a connection, so
what was judged once is kept for the next one that is equal, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.http.headers import Headers
    from gateway.http.host import Authority

LONGEST_KEPT: Final = 2048
"""Bytes; a longer one is forgotten with its request, for idle connections must stay small."""


class Section:
    """A header section that breaks no rule. Requests share it: nobody changes it."""

    __slots__ = ("admitted", "authority", "headers", "keep_alive", "length", "raw")

    def __init__(
        self, raw: bytes, headers: Headers, authority: Authority, length: int = 0, *, keep_alive: bool = True
    ) -> None:
        self.raw = raw
        """From the line end of the request line to the blank line, both included."""
        self.headers = headers
        self.authority = authority
        """The Host header, taken apart."""
        self.length = length
        """Content-Length; 0 when there is none."""
        self.keep_alive = keep_alive
        self.admitted: Any = None
        """What hygiene has made of it; None: nothing yet."""
