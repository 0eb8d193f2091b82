"""SPIFFE IDs: `spiffe://cluster.local/ns/default/sa/sleep`, strictly as they are written.

Lifetime: config (pure functions). Source: SPIFFE-ID §2; whatever is not canonical is no identity
(security.md T05), because two spellings of one name are two names to a policy.
"""

from __future__ import annotations

import re

MAX_BYTES = 2048
_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)+)", re.ASCII)


def principal(uri: str) -> str:
    """The principal that a URI names, without `spiffe://`; empty when it is not a canonical SPIFFE ID.

    A trust domain alone is nobody in particular: a path is needed.
    """
    match = _ID.fullmatch(uri) if len(uri) <= MAX_BYTES else None
    if match is None or any(segment in {".", ".."} for segment in match[2].split("/")):
        return ""
    return uri.removeprefix("spiffe://")


def trust_domain(uri: str) -> str:
    """The trust domain that a URI claims, canonical or not; empty when it is no SPIFFE URI at all."""
    scheme, colon, rest = uri.partition(":")
    if scheme.lower() != "spiffe" or not colon:
        return ""
    return re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0].lower() or "?"
