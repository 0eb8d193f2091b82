"""Header lists: name and value bytes, names lower-case, order and repetition kept.

Lifetime: config (constants).
"""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]
"""What ASGI calls headers: lower-case names, one pair a line."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Never forwarded, either way (RFC 9110 7.6.1; security.md C08)."""
