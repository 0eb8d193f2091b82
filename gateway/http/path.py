r"""The canonical path: the one spelling that is matched, authorized, logged and forwarded.

Lifetime: config (`PathRules`) and plain functions.

Theory. Two spellings of one resource are how access rules are walked around (`/public/%2e%2e/admin`), so a
path is brought to one form before anybody looks at it, and what has no single form is refused. In order:

1. refuse bytes that no path has: control, blank, DEL, non-ASCII, `#`; refuse `%00`
2. escaped slashes (`%2F`, `%5C`): keep, refuse, or unescape (and redirect)
3. unless the mode is NONE: refuse half-written escapes; `\` becomes `/`; decode escapes of unreserved
   characters; escape what RFC 3986 wants escaped; refuse `..;x`, which some backends take for `..`;
   resolve `.` and `..`
4. merge `//`, only after dot segments are gone: `/a//../b` is `/a/b`, as RFC 3986 5.2.4 reads it

Escapes of other characters keep their case (`%3f` stays `%3f`), as Istio's golden pairs want.
"""

from __future__ import annotations

import re
import string
from typing import Final

from gateway.http.reply import Reply, bad_request

REFUSED: Final = bad_request("path_normalization_failed")
"""Answer to a path that has no canonical form (Envoy's details string)."""

_UNRESERVED = (string.ascii_letters + string.digits + "-._~").encode()
_PLAIN = _UNRESERVED + b"!$&'()*+,=:@;[]"
"""Bytes of a segment that no step changes, unless they form a dot segment."""
_ALLOWED = _PLAIN + b'/%\\"<>^`{|}'
"""`_PLAIN`, and what the steps decode, resolve or escape."""
_SEGMENT = re.escape(_PLAIN)
_SEGMENT_START = re.escape(_PLAIN.replace(b".", b""))
_is_canonical = re.compile(rb"/(?:[" + _SEGMENT_START + rb"][" + _SEGMENT + rb"]*+/?+)*+").fullmatch
"""The fast way out: possessive, so one pass; a segment that starts with a dot takes the slow one."""

_ESCAPED_NUL = b"%00"
_ESCAPED_SLASH = re.compile(rb"%(?:2[fF]|5[cC])")
_HALF_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNRESERVED_ESCAPE = re.compile(rb"%(?:2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
_TO_ESCAPE = re.compile(rb'["<>^`{|}]')
_DOT_WITH_PARAMETERS = re.compile(rb"/\.\.?(?:;|%3[bB])")
_DOT_SEGMENT = re.compile(rb"/\.\.?(?:/|;|%3[bB]|\Z)")
_SLASHES = re.compile(rb"//+")
_LITERAL_TO_ESCAPE = re.compile(rb'[^!-~]|["#<>\\^`{|}]')


class PathRules:
    """How far paths are normalized: Istio's `pathNormalization`, and what becomes of escaped slashes."""

    __slots__ = ("_keep", "_merge", "_normalize", "_redirect", "_reject")

    def __init__(self, normalization: str = "MERGE_SLASHES", escaped_slashes: str = "REJECT") -> None:
        """Takes the values of GatewaySettings `pathNormalization` and `escapedSlashes`.

        DECODE_AND_MERGE_SLASHES unescapes slashes by its name, so REJECT and KEEP_UNCHANGED yield to it.
        """
        decode = normalization == "DECODE_AND_MERGE_SLASHES"
        self._normalize = normalization != "NONE"
        self._merge = normalization in {"MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"}
        self._reject = escaped_slashes == "REJECT" and not decode
        self._keep = escaped_slashes == "KEEP_UNCHANGED" and not decode
        self._redirect = escaped_slashes == "UNESCAPE_AND_REDIRECT"

    def apply(self, path: bytes, query: bytes) -> bytes | Reply:
        """The slow path of `canonical`."""
        if path[:1] != b"/" or path.translate(None, _ALLOWED) or _ESCAPED_NUL in path:
            return REFUSED
        if self._normalize and b"%" in path and _HALF_ESCAPE.search(path):
            return REFUSED
        unescaped = path
        if not self._keep and b"%" in path:
            unescaped = _ESCAPED_SLASH.sub(_decode, path)
            if unescaped != path and self._reject:
                return REFUSED
        plain = self._normalized(unescaped)
        if plain is None:
            return REFUSED
        if self._redirect and unescaped != path:
            # A Location that starts with `//` (or `/\\`, to browsers) would name a foreign host.
            target = b"/" + plain.lstrip(b"/\\")
            location = target + b"?" + query if query else target
            return Reply(307, details="path_normalization_redirect", headers=((b"location", location),))
        return plain

    def _normalized(self, path: bytes) -> bytes | None:
        if not self._normalize:
            return path
        path = path.replace(b"\\", b"/")
        path = _UNRESERVED_ESCAPE.sub(_decode, path)
        path = _TO_ESCAPE.sub(_escape, path)
        if b"/." in path:
            if _DOT_WITH_PARAMETERS.search(path):
                return None
            path = _resolve(path)
        return _SLASHES.sub(b"/", path) if self._merge else path


def canonical(path: bytes, rules: PathRules, query: bytes = b"") -> bytes | Reply:
    """The canonical form of a raw path (no query), or the reply that refuses or redirects it.

    `query` (raw, without `?`) only goes into the Location of a redirect. Idempotent: a canonical path comes
    back unchanged.
    """
    return path if _is_canonical(path) else rules.apply(path, query)


def has_dot_segment(path: bytes) -> bool:
    """Whether some backend might read `path` as another: it has `.`, `..` or `..;x` as a segment."""
    return b"/." in path and _DOT_SEGMENT.search(path) is not None


def escape_literal(text: str) -> bytes:
    """Configured text as it may stand in a request target or Location: UTF-8, unsafe bytes escaped."""
    return _LITERAL_TO_ESCAPE.sub(_escape, text.encode())


def _decode(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[0][1:].decode())


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _resolve(path: bytes) -> bytes:
    """Removes dot segments (RFC 3986 5.2.4); `..` beyond the root stays at the root."""
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in {b".", b".."}:
        kept.append(b"")
    return b"/" + b"/".join(kept)
