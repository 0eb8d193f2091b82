"""The strings of a policy: exact, `prefix*`, `*suffix`, `*`, and path templates.

Lifetime: config.

A star in the middle is a star. `*` wants something, so it does not match the empty text. Everything is
compared with regard to case; whoever wants otherwise lowers both sides first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

Test = Callable[[Any], Any]
"""Whether a value (text, or bytes when the texts were `encoded`) matches: the truth of what it returns."""


class Form(Enum):
    """How a text compares."""

    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()
    ANY = auto()
    """Everything but the empty text."""
    TEMPLATE = auto()


class Text(NamedTuple):
    """One value of a policy, without the star that gave it its form."""

    form: Form
    text: Any
    """What is compared with: text or bytes; of a TEMPLATE its source."""


ANY = Text(Form.ANY, "")


def parse(value: str) -> Text:
    """A value as Istio reads it: a leading star goes before a trailing one."""
    if value == "*":
        return ANY
    if value.startswith("*"):
        return Text(Form.SUFFIX, value[1:])
    if value.endswith("*"):
        return Text(Form.PREFIX, value[:-1])
    return Text(Form.EXACT, value)


def parse_path(value: str) -> Text:
    """As `parse`; with `{*}` or `{**}` in it, a template, where stars mean nothing."""
    if "{*}" in value or "{**}" in value:
        return Text(Form.TEMPLATE, value)
    return parse(value)


def encoded(texts: Sequence[Text]) -> tuple[Text, ...]:
    """The same texts for values that are bytes."""
    return tuple(text._replace(text=text.text.encode()) for text in texts)


def compile_test(texts: Sequence[Text]) -> Test:
    """Whether a value matches one of `texts`."""
    if any(text.form is Form.ANY for text in texts):
        return bool
    exact = frozenset(text.text for text in texts if text.form is Form.EXACT)
    prefixes = tuple(text.text for text in texts if text.form is Form.PREFIX)
    suffixes = tuple(text.text for text in texts if text.form is Form.SUFFIX)
    templates = [template(text.text) for text in texts if text.form is Form.TEMPLATE]
    tests: list[Test] = [*templates]
    if suffixes:
        tests.insert(0, lambda value: value.endswith(suffixes))
    if prefixes:
        tests.insert(0, lambda value: value.startswith(prefixes))
    if exact or not tests:
        tests.insert(0, exact.__contains__)
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, other = tests
        return lambda value: one(value) or other(value)
    several = tuple(tests)
    return lambda value: any(test(value) for test in several)


def template(source: str | bytes) -> Test:
    """A path template: `{*}` is a segment of at least one byte, `{**}` any bytes, slashes among them.

    Any byte of a segment will do, stars too (CVE-2025-46821 is what happens otherwise).
    """
    text = source.encode() if isinstance(source, str) else source
    pattern = b"".join(_PIECES.get(piece) or re.escape(piece) for piece in _SPLIT.split(text))
    return re.compile(pattern, re.DOTALL).fullmatch


_SPLIT = re.compile(rb"(\{\*\*?\})")
_PIECES = {b"{*}": rb"[^/]++", b"{**}": rb".*"}


def literal_beginning(text: Text) -> Any:
    """What every match of a TEMPLATE begins with."""
    brace = b"{" if isinstance(text.text, bytes) else "{"
    return text.text.partition(brace)[0]
