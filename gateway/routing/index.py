"""First match among many routes, in a time that hardly depends on how many there are.

Lifetime: config.

Theory. Trying routes in order costs as much as there are routes. Instead, every route is filed once, under
the rarest thing it demands: an exact path, a prefix, a header or query value, a method, an authority. A
request looks up what it has of each (`probes`) and gets a few candidates; they are tried in route order, so
the answer is the one that trying every route would give (a property test holds this). Where many routes share
their rarest demand, they form an index of their own, below it. Regexes are filed under their literal
beginning, or else run together in an RE2 Set. Up to `FEW` routes are simply tried.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from gateway.routing.probes import (
    Bucket,
    ByAttribute,
    ByHeader,
    ByPathPattern,
    ByPrefix,
    ByQuery,
    Candidate,
    Collector,
    Few,
    Lines,
    PatternSets,
)
from gateway.routing.strings import Form, literal_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gateway.http.request import Request
    from gateway.routing.conditions import Condition

FEW = 8
"""Routes that are tried one by one: below this the probes of an index cost more than they save."""


class Matchable(Protocol):
    """What is indexed: anything with conditions."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All must hold."""


R = TypeVar("R", bound=Matchable)


def compile_index(routes: Sequence[R]) -> Callable[[Request], R | None]:
    """A function that returns the first of `routes` whose conditions all hold, or None."""
    if routes and not routes[0].conditions:
        only = routes[0]
        return lambda _: only
    entries = [_Entry(order, route, route.conditions) for order, route in enumerate(routes)]
    return Tried(_bucket(entries)).match if len(entries) <= FEW else Index(entries).match


class Tried:
    """A few routes, tried in order."""

    __slots__ = ("_candidates",)

    def __init__(self, candidates: Bucket) -> None:
        # Plain tuples of exactly what the loop reads.
        self._candidates = tuple((checks, route) for _, checks, route in candidates)

    def match(self, request: Request) -> Any:
        """The first route whose conditions hold."""
        for checks, route in self._candidates:
            for check in checks:
                if not check(request):
                    break
            else:
                return route
        return None


class Index:
    """Probes of all that these routes demand, and the routes that demand nothing that can be looked up."""

    __slots__ = ("_always", "_probes")

    def __init__(self, entries: Sequence[_Entry]) -> None:
        filed, always = _file(entries)
        self._always = _bucket(always)
        self._probes = tuple(_probes(filed))

    def collect(self, request: Request, found: list[Bucket]) -> None:
        """Appends the buckets of routes that this request may match."""
        for probe in self._probes:
            probe.collect(request, found)
        if self._always:
            found.append(self._always)

    def match(self, request: Request) -> Any:
        """The first route, in order, whose conditions all hold."""
        found: list[Bucket] = []
        self.collect(request, found)
        if not found:
            return None
        candidates = found[0] if len(found) == 1 else sorted(chain.from_iterable(found), key=_ORDER)
        for _, checks, route in candidates:
            for check in checks:
                if not check(request):
                    break
            else:
                return route
        return None


_ORDER = itemgetter(0)


class _Entry(NamedTuple):
    """A route while it is being filed."""

    order: int
    route: Matchable
    open: tuple[Condition, ...]
    """Conditions that must still be checked."""
    spent: frozenset[Condition] = frozenset()
    """Those of them the route is already filed under."""


class _Key(NamedTuple):
    """What a route can be filed under."""

    kind: str
    """Names the probe; ` set` at the end: patterns that are run together."""
    name: bytes
    """Of a header or query parameter."""
    value: bytes | None
    """None: any value."""
    condition: Condition
    decisive: bool
    """Whether finding the key proves the condition."""

    @property
    def place(self) -> tuple[str, bytes, bytes | None]:
        """Equal for routes that are filed together."""
        return self.kind, self.name, self.value


_Filed = list[tuple[_Key, _Entry]]


def _bucket(entries: Iterable[_Entry]) -> tuple[Candidate, ...]:
    return tuple(Candidate(entry.order, tuple(c.check for c in entry.open), entry.route) for entry in entries)


def _keys(condition: Condition) -> Iterator[_Key]:
    """The ways to file a route by one condition."""
    if condition.inverted:
        return
    form, text, name = condition.pattern.form, condition.pattern.text, condition.name
    match condition.subject, form:
        case "path", Form.EXACT | Form.PREFIX:
            kind = "path" if form is Form.EXACT else "prefix"
            yield _Key(f"folded {kind}" if condition.folded else kind, b"", text, condition, decisive=True)
        case "path", _:
            literal = literal_prefix(text) if form is Form.REGEX else b""
            if len(literal) > 1:
                yield _Key("prefix", b"", literal, condition, decisive=False)
            if text.isascii():
                yield _Key("path set", b"", text, condition, decisive=False)
        case ("header" | "query" | "method" | "authority") as kind, Form.EXACT:
            yield _Key(kind, name, text, condition, decisive=True)
        case ("header" | "query") as kind, Form.PRESENT:
            yield _Key(kind, name, None, condition, decisive=True)
        case "header", _ if text.isascii():
            yield _Key("header set", name, text, condition, decisive=False)


def _file(entries: Sequence[_Entry]) -> tuple[_Filed, list[_Entry]]:
    """Each route with the key it is filed under, and the routes that have none."""
    options = [[k for c in entry.open if c not in entry.spent for k in _keys(c)] for entry in entries]
    crowd = Counter(key.place for keys in options for key in keys)
    too_many = max(FEW, len(entries) // 4)

    def cost(key: _Key) -> tuple[bool, bool, int]:
        # A dictionary beats a Set, unless it only leads to a crowd.
        in_set = key.kind.endswith(" set")
        return not in_set and crowd[key.place] > too_many, in_set, crowd[key.place]

    filed, always = [], []
    for entry, keys in zip(entries, options, strict=True):
        if keys:
            filed.append((min(keys, key=cost), entry))
        else:
            always.append(entry)
    return filed, always


def _collector(filed: _Filed) -> Collector:
    """What is found under one key: a bucket, or an index of its own when that would be long."""
    entries = [
        entry._replace(open=tuple(c for c in entry.open if c is not key.condition))
        if key.decisive
        else entry._replace(spent=entry.spent | {key.condition})
        for key, entry in filed
    ]
    return Few(_bucket(entries)) if len(entries) <= FEW else Index(entries)


def _probes(filed: _Filed) -> Iterator[Collector]:
    kinds: Mapping[str, _Filed] = _grouped(filed, lambda key: key.kind)
    for kind, read in _READERS.items():
        if kind in kinds:
            yield ByAttribute(read, _by_value(kinds[kind]))
    if "method" in kinds:
        by_name = {value.decode(): found for value, found in _by_value(kinds["method"]).items()}
        yield ByAttribute(attrgetter("method"), by_name)
    if "prefix" in kinds:
        yield ByPrefix(attrgetter("path"), _by_value(kinds["prefix"]))
    if "folded prefix" in kinds:
        yield ByPrefix(_READERS["folded path"], _by_value(kinds["folded prefix"]))
    if "path set" in kinds:
        yield ByPathPattern(_pattern_sets(kinds["path set"]))
    headers = [*kinds.get("header", ()), *kinds.get("header set", ())]
    if headers:
        yield ByHeader({name: _lines(part) for name, part in _grouped(headers, lambda k: k.name).items()})
    if "query" in kinds:
        yield ByQuery(
            {name: _lines(part) for name, part in _grouped(kinds["query"], lambda k: k.name).items()}
        )


_READERS: Mapping[str, Callable[[Request], bytes]] = {
    "path": attrgetter("path"),
    "folded path": lambda request: request.path.lower(),
    "authority": attrgetter("authority"),
}


def _grouped(filed: _Filed, by: Callable[[_Key], Any]) -> dict[Any, _Filed]:
    groups: defaultdict[Any, _Filed] = defaultdict(list)
    for key, entry in filed:
        groups[by(key)].append((key, entry))
    return dict(groups)


def _by_value(filed: _Filed) -> dict[Any, Collector]:
    return {value: _collector(part) for value, part in _grouped(filed, lambda key: key.value).items()}


def _lines(filed: _Filed) -> Lines:
    plain = [(key, entry) for key, entry in filed if key.kind in {"header", "query"}]
    patterns = [(key, entry) for key, entry in filed if key.kind == "header set"]
    values = _by_value(plain)
    present = values.pop(None, None)
    return Lines(values, present, _pattern_sets(patterns) if patterns else None)


def _pattern_sets(filed: _Filed) -> PatternSets:
    groups = _grouped(filed, lambda key: (key.condition.pattern.form, key.value))
    return PatternSets([(part[0][0].condition.pattern, _collector(part)) for part in groups.values()])
