"""Changes to the headers of a request or response, in Istio's and Envoy's order.

Lifetime: config.

Within a level: first `remove`, then every `set`, then every `add`. With one destination the route's and the
destination's operations are one level, the destination's after the route's. With several, the destination is
a level of its own and comes first, so that the route's `set` wins (as Envoy's weighted clusters do); an
authority that it sets is there before the route's operations look at it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.routing.operators import Format, compile_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.config.http_actions import HeaderOperations
    from gateway.http.format import Facts
    from gateway.http.headers import Headers

AUTHORITY = frozenset({"host", ":authority"})
"""Names that rewrite the authority instead of a header."""

_unsafe = re.compile(rb"[\r\n\x00]").search


class HeaderOps:
    """What a route does to the headers of one side."""

    __slots__ = ("_levels", "_publish")

    def __init__(self, levels: Iterable[Level], publish: Callable[[Facts, Headers], None]) -> None:
        self._levels = tuple(levels)
        self._publish = publish

    def apply(self, headers: Headers, facts: Facts) -> Headers:
        """The headers as they are afterwards, a new list; `headers` is not changed.

        Where values have operators, `facts` is given each intermediate list as its `request_headers` (or
        `response_headers`), so that operators see what stands there then. The caller does so with the result.
        A value that came from a request and has CR, LF or NUL is left out, and so is what it would replace.
        """
        for level in self._levels:
            headers = level.apply(headers, facts, self._publish)
        return headers

    def __repr__(self) -> str:
        return f"<HeaderOps {' then '.join(map(repr, self._levels))}>"


class Level:
    """`remove`, `set` and `add` that are carried out together."""

    __slots__ = ("_added", "_authority", "_dropped", "_fixed", "_removed", "_set")

    def __init__(self, operations: Iterable[HeaderOperations], authority: bytes | None = None) -> None:
        """Operations in the order they are merged: the route's, then the destination's.

        `authority`: what operators find as the request's; None: what it is.
        """
        merged = list(operations)
        self._authority = authority
        self._removed = frozenset(name.lower().encode() for one in merged for name in one.remove)
        self._set = [item for one in merged for item in _formats(one.set)]
        self._added = [item for one in merged for item in _formats(one.add)]
        self._fixed: tuple[tuple[bytes, bytes], ...] | None = None
        self._dropped = self._removed
        values = [value for _, value in (*self._set, *self._added)]
        if all(isinstance(value, bytes) for value in values):
            fixed_set = {name: value for name, value in self._set if isinstance(value, bytes)}
            added = [(name, value) for name, value in self._added if isinstance(value, bytes)]
            self._fixed = (*fixed_set.items(), *added)
            self._dropped = self._removed | fixed_set.keys()

    def __bool__(self) -> bool:
        return bool(self._removed or self._set or self._added)

    def __repr__(self) -> str:
        parts = [f"-{name.decode()}" for name in sorted(self._removed)]
        parts += [f"={name.decode()}" for name, _ in self._set]
        parts += [f"+{name.decode()}" for name, _ in self._added]
        return " ".join(parts)

    def apply(self, headers: Headers, facts: Facts, publish: Callable[[Facts, Headers], None]) -> Headers:
        """The headers after this level, a new list."""
        dropped = self._dropped
        kept = [pair for pair in headers if pair[0] not in dropped] if dropped else list(headers)
        if self._fixed is not None:
            kept += self._fixed
            return kept
        publish(facts, kept)
        if self._authority is not None:
            facts.request_authority = self._authority
        # Every value is rendered before any is put in place, as Envoy does.
        replacing = {name: value for name, value in _rendered(self._set, facts) if value}
        added = [pair for pair in _rendered(self._added, facts) if pair[1]]
        result = [pair for pair in kept if pair[0] not in replacing]
        result += [pair for pair in (*replacing.items(), *added) if not _unsafe(pair[1])]
        return result


def _rendered(items: Iterable[tuple[bytes, bytes | Format]], facts: Facts) -> Iterable[tuple[bytes, bytes]]:
    return [(name, value if isinstance(value, bytes) else value(facts)) for name, value in items]


def _formats(changes: Mapping[str, str]) -> list[tuple[bytes, bytes | Format]]:
    """Names and values in emission order. A value that is always empty adds nothing."""
    items = [
        (name.lower().encode(), compile_format(value))
        for name, value in sorted(changes.items(), key=lambda item: item[0].lower())
        if name.lower() not in AUTHORITY and not name.startswith(":")
    ]
    return [(name, value) for name, value in items if value != b""]


def compile_request_ops(
    route: HeaderOperations | None, destination: HeaderOperations | None = None, *, several: bool = False
) -> HeaderOps | None:
    """What is done to requests; None for nothing. `several`: the route has more than one destination."""
    authority = authority_override(destination) if several else None
    return _ops(route, destination, several, _publish_request, authority)


def compile_response_ops(
    route: HeaderOperations | None, destination: HeaderOperations | None = None, *, several: bool = False
) -> HeaderOps | None:
    """What is done to responses; None for nothing. `several`: the route has more than one destination."""
    return _ops(route, destination, several, _publish_response)


def _ops(
    route: HeaderOperations | None,
    destination: HeaderOperations | None,
    several: bool,
    publish: Callable[[Facts, Headers], None],
    authority: bytes | None = None,
) -> HeaderOps | None:
    """`authority`: what the destination, one of several, makes of it."""
    groups = [[destination], [route]] if several else [[route, destination]]
    seen = [None, authority]
    levels = [
        Level([one for one in group if one is not None], was)
        for group, was in zip(groups, seen, strict=False)
    ]
    present = [level for level in levels if level]
    return HeaderOps(present, publish) if present else None


def _publish_request(facts: Facts, headers: Headers) -> None:
    facts.request_headers = headers


def _publish_response(facts: Facts, headers: Headers) -> None:
    facts.response_headers = headers


def authority_override(operations: HeaderOperations | None) -> bytes | None:
    """The authority that request operations set: `set` before `add`; None when they do not."""
    if operations is None:
        return None
    for changes in (operations.set, operations.add):
        for name, value in changes.items():
            if name.lower() in AUTHORITY:
                return value.encode()
    return None
