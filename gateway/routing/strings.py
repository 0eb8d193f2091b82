"""Istio's StringMatch as functions over bytes; regexes run on RE2, in linear time.

Lifetime: config.

A regex matches the whole value. It is compiled over bytes (Latin-1), so any byte a header may carry is one
character for `.`; only a pattern that itself has non-ASCII characters is read as UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple

import re2

if TYPE_CHECKING:
    from gateway.config.fields import StringMatch

Test = Callable[[bytes], Any]
"""Whether a value matches: the truth of what it returns."""


class Form(Enum):
    """How a pattern compares."""

    PRESENT = auto()
    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    CONTAINS = auto()
    REGEX = auto()


class Pattern(NamedTuple):
    """A compiled StringMatch."""

    form: Form
    text: bytes
    """What is compared with; of REGEX the pattern's source."""
    test: Test
    written: str = "present"
    """As configuration says it, for people."""

    def __str__(self) -> str:
        return self.written


PRESENT = Pattern(Form.PRESENT, b"", lambda _: True)
"""Matches every value."""


def compile_match(match: StringMatch | None, *, lines: bool = False) -> Pattern:
    """The pattern of a StringMatch; none given means presence.

    `lines`: values may hold line feeds (claims), which `.` does not match, so
    `.*x.*` cannot be turned into a search.
    """
    if match is None or match.presence:
        return PRESENT
    if match.exact is not None:
        return exact(match.exact.encode())
    if match.prefix is not None:
        return prefix(match.prefix.encode())
    return regex(match.regex or "", lines=lines)


def exact(text: bytes) -> Pattern:
    """Equality, case-sensitive."""
    return Pattern(Form.EXACT, text, text.__eq__, f'exact "{text.decode()}"')


def prefix(text: bytes) -> Pattern:
    """A beginning, case-sensitive."""
    return Pattern(Form.PREFIX, text, methodcaller("startswith", text), f'prefix "{text.decode()}"')


# `.*`, characters that mean themselves or are escaped, `.*`; anchors change nothing in a whole match.
_SIMPLE = re.compile(r"\^?(\.\*)?((?:[A-Za-z0-9 _/:;,=@~&<>\"'#%!-]|\\[^\w\s])*)(\.\*)?\$?")


@lru_cache(maxsize=1024)
def regex(pattern: str, *, lines: bool = False) -> Pattern:
    """A whole match of RE2 `pattern`; searches, prefixes and the like are recognized and need no RE2."""
    written = f'regex "{pattern}"'
    simple = None if lines else _SIMPLE.fullmatch(pattern)
    if simple is None:
        return Pattern(Form.REGEX, pattern.encode(), _regex_test(pattern), written)
    head, literal, tail = simple.groups()
    text = re.sub(r"\\(.)", r"\1", literal).encode()
    if not head and not tail:
        return exact(text)._replace(written=written)
    if not text:
        return PRESENT._replace(written=written)
    if not head:
        return prefix(text)._replace(written=written)
    if not tail:
        return Pattern(Form.SUFFIX, text, methodcaller("endswith", text), written)
    return Pattern(Form.CONTAINS, text, lambda value: text in value, written)


def options(pattern: str) -> re2.Options:
    """How RE2 reads `pattern`."""
    chosen = re2.Options()
    chosen.log_errors = False
    if pattern.isascii():
        chosen.encoding = re2.Options.Encoding.LATIN1
    return chosen


def _regex_test(pattern: str) -> Test:
    chosen, source = options(pattern), pattern.encode()
    chosen.never_capture = True
    # A Set of one answers in a third of the time of an RE2 object. It runs on the DFA alone, which Compile()
    # makes sure has memory; a pattern too large for that falls back to the object, which has other engines.
    alone = re2.Set.FullMatchSet(chosen)
    alone.Add(source)
    try:
        alone.Compile()
    except re2.error:
        return re2.compile(source, options=chosen).fullmatch  # type: ignore[no-any-return]
    return alone.Match  # type: ignore[no-any-return]


def literal_prefix(pattern: bytes) -> bytes:
    """What every match of a regex begins with; empty when that is unknown."""
    compiled = re2.compile(pattern, options=options(pattern.decode()))
    try:
        low, high = compiled.possiblematchrange(256)
    except re2.error:
        return b""
    for index, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return bytes(low[:index])
    return bytes(low[: len(high)])
