"""First matching rule among many, in a time that hardly depends on how many there are.

Lifetime: config.

Theory. A rule cannot take a request unless one of a few literals is there: one of its paths, say, or one of
its principals. Every rule is filed under such a set, the one that fewest other rules share. A request looks
up what it has, gets a few candidates, and tries them in order; so the answer is the one that trying every
rule would give (a property test holds this). Rules without literals are always tried. An attribute that
cannot be read makes every rule filed under it a candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.security.text import Form, Text, literal_beginning

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.http.request import Request
    from gateway.security.attributes import Attribute, Read
    from gateway.security.policies import Taker
    from gateway.security.rules import Alternatives, CompiledRule

FEW = 8
"""Rules that are tried one by one: below this the look-ups cost more than they save."""

Find = Callable[["Request"], "Taker | None"]
"""The rule that takes a request."""


def compile_find(takers: Sequence[Taker]) -> Find:
    """A function that returns the first of `takers`, by identifier, whose rule takes a request."""
    ordered = sorted(takers, key=lambda taker: taker.identifier)
    return Tried(ordered).find if len(ordered) <= FEW else Index(ordered).find


class Tried:
    """A few rules, tried in order."""

    __slots__ = ("_takers",)

    def __init__(self, takers: Iterable[Taker]) -> None:
        self._takers = tuple((taker.rule.matches, taker) for taker in takers)

    def find(self, request: Request) -> Taker | None:
        """The first rule that takes the request."""
        for matches, taker in self._takers:
            if matches(request):
                return taker
        return None


class Joined:
    """Two sets of rules as one: those that many destinations have, and those of one destination."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Find, other: Find) -> None:
        self._one = one
        self._other = other

    def find(self, request: Request) -> Taker | None:
        """The first rule, by identifier, that takes the request."""
        one, other = self._one(request), self._other(request)
        if one is None or other is None:
            return one or other
        return min(one, other, key=lambda taker: taker.identifier)


class _Table(NamedTuple):
    """What is filed under one attribute."""

    read: Read
    exact: dict[Any, list[int]]
    prefixes: tuple[tuple[int, dict[Any, list[int]]], ...]
    """By length."""
    suffixes: tuple[tuple[int, dict[Any, list[int]]], ...]
    everything: list[int]


class Index:
    """Many rules, filed."""

    __slots__ = ("_always", "_tables", "_takers")

    def __init__(self, takers: Sequence[Taker]) -> None:
        self._takers = tuple((taker.rule.matches, taker) for taker in takers)
        options = [list(_options(taker.rule)) for taker in takers]
        crowd = Counter(
            (option.attribute.name, text) for keys in options for option in keys for text in option.texts
        )
        always: list[int] = []
        filed: dict[str, list[tuple[_Option, int]]] = {}
        for number, keys in enumerate(options):
            if not keys:
                always.append(number)
                continue
            best = min(
                keys, key=lambda option: sum(crowd[option.attribute.name, text] for text in option.texts)
            )
            filed.setdefault(best.attribute.name, []).append((best, number))
        self._always = tuple(always)
        self._tables = tuple(_table(part) for part in filed.values())

    def find(self, request: Request) -> Taker | None:
        """The first rule that takes the request."""
        found = set(self._always)
        for read, exact, prefixes, suffixes, everything in self._tables:
            readings = read(request)
            if readings is None:
                found.update(everything)
                continue
            for value in readings:
                numbers = exact.get(value)
                if numbers is not None:
                    found.update(numbers)
                for length, table in prefixes:
                    if (numbers := table.get(value[:length])) is not None:
                        found.update(numbers)
                for length, table in suffixes:
                    if (numbers := table.get(value[-length:])) is not None:
                        found.update(numbers)
        takers = self._takers
        for number in sorted(found) if len(found) > 1 else found:
            matches, taker = takers[number]
            if matches(request):
                return taker
        return None


class _Option(NamedTuple):
    """A way to file a rule: it takes no request unless this attribute matches one of these."""

    attribute: Attribute
    texts: frozenset[Text]


def _options(rule: CompiledRule) -> Iterable[_Option]:
    parts: list[Alternatives] = [rule.operations, rule.sources]
    parts += [((term,),) for term in rule.conditions]
    for part in parts:
        if part:
            yield from _of_part(part)


def _of_part(part: Alternatives) -> Iterable[_Option]:
    """Attributes that every alternative pins down."""
    first, *others = [
        {term.attribute.name: term for term in terms if term.attribute is not None and _literal(term.texts)}
        for terms in part
    ]
    for name, term in first.items():
        if all(name in other for other in others):
            texts = [text for terms in (first, *others) for text in terms[name].texts]
            assert term.attribute is not None
            yield _Option(term.attribute, frozenset(map(_key, texts)))


def _literal(texts: Sequence[Text]) -> bool:
    return all(text.form is not Form.ANY and _key(text).text for text in texts)


def _key(text: Text) -> Text:
    return Text(Form.PREFIX, literal_beginning(text)) if text.form is Form.TEMPLATE else text


def _table(filed: Sequence[tuple[_Option, int]]) -> _Table:
    exact: dict[Any, list[int]] = {}
    affixes: dict[Form, dict[int, dict[Any, list[int]]]] = {Form.PREFIX: {}, Form.SUFFIX: {}}
    for option, number in filed:
        for form, text in option.texts:
            table = exact if form is Form.EXACT else affixes[form].setdefault(len(text), {})
            table.setdefault(text, []).append(number)
    by_length = itemgetter(0)
    return _Table(
        filed[0][0].attribute.read,
        exact,
        tuple(sorted(affixes[Form.PREFIX].items(), key=by_length)),
        tuple(sorted(affixes[Form.SUFFIX].items(), key=by_length)),
        [number for _, number in filed],
    )
