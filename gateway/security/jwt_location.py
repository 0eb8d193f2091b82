"""Where tokens stand in a request, and how they are taken out of it again.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.http.request import percent_decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gateway.config.request_authentication import JWTRule
    from gateway.http.request import Request

BEARER = b"Bearer "
"""Case-sensitive, as in Envoy: `bearer` is no token, and the request has no identity."""
DEFAULT_PARAMETER = b"access_token"


class InHeader(NamedTuple):
    """A header; the token is all that follows the prefix, wherever in the value that stands."""

    name: bytes
    """Lower-case."""
    prefix: bytes = b""

    def tokens(self, request: Request) -> Sequence[bytes]:
        """One for each line of the header that has the prefix."""
        value = request.header_map.get(self.name)
        if value is None:
            return ()
        prefix = self.prefix
        if request.repeated:
            return [
                line.partition(prefix)[2].strip(b" ") if prefix else line
                for line in request.header_values(self.name)
                if prefix in line
            ]
        if not prefix:
            return (value,)
        at = value.find(prefix)
        return () if at < 0 else (value[at + len(prefix) :].strip(b" "),)

    def remove(self, request: Request) -> None:
        """Takes the header away, every line of it."""
        remove_headers(request, (self.name,))


class InParameter(NamedTuple):
    """A query parameter."""

    name: bytes

    def tokens(self, request: Request) -> Sequence[bytes]:
        """One for each time the parameter is given: a backend may read another one than we do."""
        query = request.query
        if not query or (self.name not in query and b"%" not in query):
            return ()
        return [_decoded(value) for key, value in _pairs(query) if _decoded(key) == self.name]

    def remove(self, request: Request) -> None:
        """Takes the parameter out of the query; the others stay as they are, byte for byte."""
        parts = request.query.split(b"&")
        request.query = b"&".join(p for p in parts if _decoded(p.partition(b"=")[0]) != self.name)


class InCookie(NamedTuple):
    """A cookie. It stays in the request: cookies are not taken apart (as in Envoy)."""

    name: bytes

    def tokens(self, request: Request) -> Sequence[bytes]:
        """One for each cookie of the name, without quotes around the value."""
        if b"cookie" not in request.header_map:
            return ()
        return [
            value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
            for line in request.header_values(b"cookie")
            for part in line.split(b";")
            for key, _, value in (part.strip(b" \t").partition(b"="),)
            if key == self.name
        ]

    def remove(self, request: Request) -> None:
        """Nothing."""


Location = InHeader | InParameter | InCookie


def locations(rule: JWTRule) -> Iterator[Location]:
    """Where the tokens of a rule stand; any place that is named replaces the default ones."""
    if not rule.from_headers and not rule.from_params and not rule.from_cookies:
        yield InHeader(b"authorization", BEARER)
        yield InParameter(DEFAULT_PARAMETER)
    for header in rule.from_headers:
        yield InHeader(header.name.lower().encode(), (header.prefix or "").encode())
    for name in rule.from_params:
        yield InParameter(name.encode())
    for name in rule.from_cookies:
        yield InCookie(name.encode())


def remove_headers(request: Request, names: Collection[bytes]) -> None:
    """Takes headers (lower-case) out of a request, every line of them."""
    if len(names) == 1 and not request.repeated:
        (name,) = names
        value = request.header_map.pop(name, None)
        if value is not None:
            request.headers.remove((name, value))
        return
    found = [name for name in names if request.header_map.pop(name, None) is not None]
    if found:
        request.headers = [pair for pair in request.headers if pair[0] not in found]
        if request.repeated:
            request.repeated = len(request.header_map) != len(request.headers)


def _pairs(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        yield key, value


def _decoded(text: bytes) -> bytes:
    return percent_decode(text) if b"%" in text else text
