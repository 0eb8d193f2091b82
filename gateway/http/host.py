"""The authority of a request: `host[:port]` of RFC 3986 3.2, and nothing else.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

MAX_HOST = 255
"""Octets of a host name (RFC 1035 2.3.4)."""

_LABEL = rb"[A-Za-z0-9_~-]+"
_AUTHORITY = re.compile(
    rb"(?:(" + _LABEL + rb"(?:\." + _LABEL + rb")*)\.?|(\[[0-9A-Fa-f:.]+\]))(?::([0-9]{1,5}))?"
)
"""Stricter than RFC 3986: no userinfo, no escapes, no sub-delims (a comma is two Host lines joined), no zone,
and a colon is followed by a port. No label is empty, but for the root's behind a last dot."""


class Authority(NamedTuple):
    """A Host header or `:authority`, taken apart."""

    host: str
    """Lower-case, without the root's dot at its end; an IPv6 literal in brackets and in its shortest form.
    Selects the virtual host: `shop.test.` is `shop.test`, to backends too."""
    port: int | None
    """The port as written, 1 to 65535; None when there is none."""


@lru_cache(maxsize=4096)  # Hosts repeat; longer values than MAX_HOST are never kept, so memory is bounded.
def _split(authority: bytes) -> Authority | None:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    host, digits = (match[1] or match[2]).decode("ascii").lower(), match[3]
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1]).compressed}]"
        except AddressValueError:
            return None
    if digits is None:
        return Authority(host, None)
    port = int(digits)
    return Authority(host, port) if 0 < port < 65536 else None


def split(authority: bytes) -> Authority | None:
    """Host and port of a Host header; None when it is not `host[:port]` (answer 400)."""
    return _split(authority) if len(authority) <= MAX_HOST + 6 else None
