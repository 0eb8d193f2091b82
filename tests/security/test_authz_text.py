"""Strings of policies against what Istio says they mean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.security.text import compile_test, encoded, parse, parse_path, template


@pytest.mark.parametrize(
    ("value", "text", "matches"),
    [
        ("abc", "abc", True),
        ("abc", "ABC", False),
        ("abc", "abcd", False),
        ("abc*", "abc", True),
        ("abc*", "abcd", True),
        ("abc*", "ab", False),
        ("*abc", "abc", True),
        ("*abc", "xabc", True),
        ("*abc", "abcx", False),
        ("*", "x", True),
        ("*", "", False),
        ("a*c", "a*c", True),
        ("a*c", "abc", False),
        ("*b*", "b*", True),
        ("*b*", "abc", False),
        ("a.b", "aXb", False),
        ("a.*", "a.b", True),
        ("a.*", "aXb", False),
    ],
)
def test_strings(value: str, text: str, matches: bool) -> None:
    """Exact, prefix, suffix, presence; any other star is a star, and a dot is a dot."""
    assert bool(compile_test([parse(value)])(text)) is matches
    assert bool(compile_test(encoded([parse(value)]))(text.encode())) is matches


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/allow/admin/{**}", "/allow/admin", False),
        ("/allow/admin/{**}", "/allow/admin/", True),
        ("/allow/admin/{**}", "/allow/admin/a/b", True),
        ("/store/{**}/cart", "/store//cart", True),
        ("/store/{**}/cart", "/store/a/b/cart", True),
        ("/store/{**}/cart", "/store/cart", False),
        ("/foo/{*}/bar/{**}", "/foo//bar/bat.txt", False),
        ("/foo/{*}/bar/{**}", "/foo/x/bar/bat.txt", True),
        ("/foo/{*}/bar/{**}", "/foo/x/y/bar/bat.txt", False),
        ("/foo/{*}", "/foo/a*b", True),
        ("/foo/{*}", "/foo/a%2Fb", True),
        ("/foo/{*}", "/foo/", False),
        ("/a.b/{*}", "/aXb/c", False),
    ],
)
def test_path_templates(pattern: str, path: str, matches: bool) -> None:
    """`{*}` is one segment of any bytes but none, `{**}` the rest, empty too; the rest is literal."""
    assert bool(compile_test(encoded([parse_path(pattern)]))(path.encode())) is matches


SHORT = st.text("ab*/.", max_size=5)


@settings(max_examples=300)
@given(st.lists(SHORT.filter(bool), min_size=1, max_size=5), SHORT)
def test_several_values_are_alternatives(values: list[str], text: str) -> None:
    """A compiled list says yes when one value, read by its own definition, does."""

    def means(value: str) -> bool:
        if value == "*":
            return text != ""
        if value.startswith("*"):
            return text.endswith(value[1:])
        if value.endswith("*"):
            return text.startswith(value[:-1])
        return text == value

    assert bool(compile_test([parse(value) for value in values])(text)) is any(map(means, values))


SEGMENT = st.sampled_from(["{*}", "a", "b.c", "x*"])


@settings(max_examples=200)
@given(st.lists(SEGMENT, min_size=1, max_size=4), st.booleans(), st.text("abxc.*/", max_size=10))
def test_templates_are_regular_expressions_over_segments(parts: list[str], rest: bool, tail: str) -> None:
    """The same as the definition written out."""
    pattern = "/" + "/".join([*parts, "{**}"] if rest else parts)
    regex = re.escape(pattern).replace(r"\{\*\*\}", "(?s:.*)").replace(r"\{\*\}", "[^/]+")
    path = "/" + tail

    assert bool(template(pattern)(path.encode())) is bool(re.fullmatch(regex, path))
