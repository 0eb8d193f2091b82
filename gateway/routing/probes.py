"""What an index looks up of a request: path, prefix, headers, query, method, authority.

Lifetime: config. A probe maps values to collectors; it adds what it finds and never decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import re2

from gateway.routing.strings import Form, Pattern

if TYPE_CHECKING:
    from gateway.http.request import Request
    from gateway.routing.conditions import Check

SET_SIZE = 1024
"""Patterns of one RE2 Set. Measured: 1000 patterns cost 6.1, 1.6 and 0.5 us in sets of 64, 256 and 1000."""


class Candidate(NamedTuple):
    """A route that may be the answer: its place in the order, what is left to check, and itself."""

    order: int
    checks: tuple[Check, ...]
    route: Any


Bucket = Sequence[Candidate]
"""Candidates in order."""


class Collector(Protocol):
    """Adds buckets of routes that a request may match."""

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends to `found`; a bucket may come twice."""


class Few:
    """One bucket."""

    __slots__ = ("_bucket",)

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def collect(self, _: Request, found: list[Bucket]) -> None:
        """Appends the bucket."""
        found.append(self._bucket)


class ByAttribute:
    """Looks an attribute of the request up: the path, the method, the authority."""

    __slots__ = ("_read", "_values")

    def __init__(self, read: Callable[[Request], Any], values: Mapping[Any, Collector]) -> None:
        self._read = read
        self._values = values

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends what is filed under the attribute's value."""
        collector = self._values.get(self._read(request))
        if collector is not None:
            collector.collect(request, found)


class ByPrefix:
    """Finds every configured prefix of the path, by binary search over their lengths.

    The table holds each prefix, and the beginnings that lead the search to longer ones (Waldvogel,
    "Scalable High Speed IP Routing Lookups", 1997); each entry lists the prefixes of itself, so the deepest
    hit tells all.
    """

    __slots__ = ("_lengths", "_read", "_table")

    def __init__(self, read: Callable[[Request], bytes], prefixes: Mapping[bytes, Collector]) -> None:
        self._read = read
        lengths = sorted({len(prefix) for prefix in prefixes})
        stops: set[bytes] = set(prefixes)
        for prefix in prefixes:
            low, high = 0, len(lengths)
            while low < high:
                middle = (low + high) // 2
                if lengths[middle] > len(prefix):
                    high = middle
                    continue
                stops.add(prefix[: lengths[middle]])
                low = middle + 1
        self._lengths = lengths
        self._table = {
            stop: tuple(
                prefixes[start]
                for length in lengths
                if length <= len(stop) and (start := stop[:length]) in prefixes
            )
            for stop in stops
        }

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends what is filed under any prefix of the path."""
        path, table, lengths = self._read(request), self._table, self._lengths
        deepest: tuple[Collector, ...] = ()
        low, high = 0, len(lengths)
        while low < high:
            middle = (low + high) // 2
            length = lengths[middle]
            hit = table.get(path[:length]) if length <= len(path) else None
            if hit is None:
                high = middle
            else:
                deepest = hit
                low = middle + 1
        for collector in deepest:
            collector.collect(request, found)


class Lines(NamedTuple):
    """What is filed under one header or query parameter."""

    values: Mapping[bytes, Collector]
    """By exact value."""
    present: Collector | None
    """For any value."""
    patterns: PatternSets | None
    """By pattern of the value."""


class ByHeader:
    """Looks the values of headers up, by the configured or the received names, whichever are fewer."""

    __slots__ = ("_names",)

    def __init__(self, names: Mapping[bytes, Lines]) -> None:
        self._names = dict(names)

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends what is filed under the request's headers."""
        names = self._names
        for name in names.keys() & request.header_map.keys():
            values, present, patterns = names[name]
            if present is not None:
                present.collect(request, found)
            for value in request.header_values(name) if request.repeated else (request.header_map[name],):
                collector = values.get(value)
                if collector is not None:
                    collector.collect(request, found)
                if patterns is not None:
                    patterns.search(value, request, found)


class ByQuery:
    """Looks the values of query parameters up."""

    __slots__ = ("_names",)

    def __init__(self, names: Mapping[bytes, Lines]) -> None:
        self._names = dict(names)

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends what is filed under the first value of each of the request's parameters."""
        if not request.query:
            return
        names, seen = self._names, set()
        for part in request.query.split(b"&"):
            name, _, value = part.partition(b"=")
            if name not in names or name in seen:
                continue
            seen.add(name)
            values, present, _ = names[name]
            if present is not None:
                present.collect(request, found)
            collector = values.get(value)
            if collector is not None:
                collector.collect(request, found)


class ByPathPattern:
    """Runs all patterns of the path at once."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: PatternSets) -> None:
        self._patterns = patterns

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends what is filed under patterns that match the path."""
        self._patterns.search(request.path, request, found)


class PatternSets:
    """Many patterns of one value, run together by RE2."""

    __slots__ = ("_always", "_sets")

    def __init__(self, patterns: Sequence[tuple[Pattern, Collector]]) -> None:
        self._sets: list[tuple[Callable[[bytes], list[int] | None], int, tuple[Collector, ...]]] = []
        self._always: list[Collector] = []
        """Patterns that RE2 cannot run in a Set: tried for every value."""
        for start in range(0, len(patterns), SET_SIZE):
            self._add(patterns[start : start + SET_SIZE])

    def _add(self, patterns: Sequence[tuple[Pattern, Collector]]) -> None:
        together = re2.Set.FullMatchSet(_set_options())
        try:
            for pattern, _ in patterns:
                together.Add(_source(pattern))
            # Matches everything: missing from an answer, it tells that RE2 ran out of memory, which the
            # binding does not.
            witness = together.Add(b"(?s).*")
            together.Compile()
        except re2.error:
            if len(patterns) == 1:
                self._always.append(patterns[0][1])
                return
            half = len(patterns) // 2
            self._add(patterns[:half])
            self._add(patterns[half:])
            return
        self._sets.append((together.Match, witness, tuple(collector for _, collector in patterns)))

    def search(self, value: bytes, request: Request, found: list[Bucket]) -> None:
        """Appends what is filed under patterns that match `value`."""
        for match, witness, collectors in self._sets:
            hits = match(value)
            for hit in range(witness) if hits is None or witness not in hits else hits:
                if hit != witness:
                    collectors[hit].collect(request, found)
        for collector in self._always:
            collector.collect(request, found)


def _set_options() -> re2.Options:
    chosen = re2.Options()
    chosen.log_errors = False
    chosen.never_capture = True
    chosen.encoding = re2.Options.Encoding.LATIN1
    return chosen


def _source(pattern: Pattern) -> bytes:
    text: bytes = pattern.text if pattern.form is Form.REGEX else re2.escape(pattern.text)
    match pattern.form:
        case Form.PREFIX:
            return text + b"(?s).*"
        case Form.SUFFIX:
            return b"(?s).*" + text
        case Form.CONTAINS:
            return b"(?s).*" + text + b"(?s).*"
    return text
