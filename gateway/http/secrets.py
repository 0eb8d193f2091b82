"""Which values are credentials, and what stands in their place where people look.

Lifetime: config (constants) and plain functions. A record is made to be pasted into a ticket, so rather too
much is hidden than too little: by the name a value stands under, and by the shape of a token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = "[redacted]"

_HEADER = re.compile(
    r"authorization|cookie|token|secret|passw|credential|signature|session|jwt|assertion|csrf|xsrf"
    r"|(?:^|[-_.])(?:key|auth|otp|pin|pwd)(?:$|[-_.])|[-_]?(?:api|access|private)[-_]?key|client-cert",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"token|secret|passw|pwd|key|jwt|auth|code|sig|session|assertion|ticket|otp|nonce|(?:^|[-_])sid$",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*")
_BEARER = re.compile(r"(?i)\b(bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=-]{6,}")
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*@")


def is_secret(header: str) -> bool:
    """Whether a header, cookie or claim of this name holds a credential."""
    return _HEADER.search(header) is not None


def clean(text: str) -> str:
    """`text` without what looks like a token, wherever it stands."""
    if "eyJ" in text:
        text = _JWT.sub(HIDDEN, text)
    text = _BEARER.sub(lambda found: f"{found[1]} {HIDDEN}", text)
    return _USERINFO.sub(f"{HIDDEN}@", text)


def clean_value(name: str, value: str) -> str:
    """The value of header `name` as it may be shown."""
    return HIDDEN if is_secret(name) else clean(value)


def clean_query(query: str) -> str:
    """A raw query (no `?`) without the values of parameters that are credentials."""
    return "&".join(_parameter(part) for part in query.split("&"))


def is_secret_parameter(name: str) -> bool:
    """Whether a query parameter of this name holds a credential."""
    return _PARAMETER.search(name) is not None


def clean_target(target: str) -> str:
    """A path with its query as they may be shown."""
    path, mark, query = target.partition("?")
    return clean(path) + (f"?{clean_query(query)}" if mark else "")


def shown_target(path: bytes, query: bytes) -> bytes:
    """The same, in bytes, for what is written of every request; innocent queries are remembered."""
    if b"eyJ" in path:
        path = clean(path.decode("latin-1")).encode("latin-1")
    if not query:
        return path
    shown = query
    if query not in _queries:
        shown = clean_query(query.decode("latin-1")).encode("latin-1")
        if shown == query and len(query) <= LONGEST_KEPT:
            if len(_queries) >= MOST_KEPT:
                _queries.clear()
            _queries.add(query)
    return path + b"?" + shown


_BYTES_USERINFO = re.compile(rb"(?<=://)[^/?#\s@]*@")
_is_credential = re.compile(
    rb"(?i)(?:(?:access|id|refresh|auth|session|security|bearer)[-_]?)?(?:token|jwt)|(?:api|access|auth|secret)[-_]?key"
    rb"|(?:client[-_]?)?secret|pass(?:word|wd)?|pwd|sig(?:nature)?|session(?:[-_]?id)?|sid|assertion|otp"
    rb"|x-amz-(?:signature|credential|security-token)"
).fullmatch
"""Parameters that are credentials beyond doubt: those that only sound so are kept where they are needed."""


def without_credentials(target: bytes) -> bytes:
    """A path, or a URL, with its query, but for user and parameters that let somebody in."""
    if b"@" in target:
        target = _BYTES_USERINFO.sub(b"", target)
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    parts = query.split(b"&")
    kept = [part for part in parts if _is_credential(unquote_to_bytes(part.partition(b"=")[0])) is None]
    if len(kept) == len(parts):
        return target
    return path + b"?" + b"&".join(kept) if kept else path


_queries: set[bytes] = set()
LONGEST_KEPT = 256
MOST_KEPT = 1024
"""Queries that are known to hold no credential."""


def clean_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    """Header lines as they may be shown, in order."""
    shown = []
    for key, value in headers:
        name, text = key.decode("latin-1"), value.decode("latin-1")
        shown.append(
            [
                name,
                clean_target(text)
                if name in _TARGETS
                else clean_location(text)
                if name in _LINKS
                else clean_value(name, text),
            ]
        )
    return shown


def clean_location(url: str) -> str:
    """A URL as it may be shown: neither user, nor secret parameters, nor fragment values."""
    before, mark, fragment = url.partition("#")
    return _USERINFO.sub(f"{HIDDEN}@", clean_target(before)) + (f"#{clean_query(fragment)}" if mark else "")


_TARGETS = frozenset({"x-envoy-original-path", ":path"})
_LINKS = frozenset({"referer", "location", "content-location", "origin"})


def _parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    if equals and value and _PARAMETER.search(name):
        return f"{name}={HIDDEN}"
    return clean(part)
