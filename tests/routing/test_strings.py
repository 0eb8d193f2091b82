"""StringMatch on bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.fields import StringMatch
from gateway.routing.strings import Form, compile_match, literal_prefix, regex


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        ({"exact": "v1"}, [b"v1"], [b"V1", b"v1 ", b""]),
        ({"exact": ""}, [b""], [b"x"]),
        ({"prefix": "v1"}, [b"v1", b"v12"], [b"v", b"xv1"]),
        ({"regex": "v[0-9]+"}, [b"v1", b"v12"], [b"v", b"v1x", b"xv1"]),
        ({"regex": "a|b"}, [b"a", b"b"], [b"ab", b"a|b"]),
        ({"regex": ".*Chrome.*"}, [b"Chrome", b"a Chrome/1"], [b"chrome", b"Chrom"]),
        ({"regex": "^/a\\.b$"}, [b"/a.b"], [b"/axb", b"^/a.b$"]),
        ({"regex": "(?i)v1"}, [b"V1"], [b"v2"]),
        ({"regex": "a.n"}, [b"a\xefn", b"a n"], [b"a\xc3\xafn"]),
        ({"regex": "caf\u00e9s?"}, ["caf\u00e9".encode()], [b"caf\xe9"]),
        ({}, [b"", b"x"], []),
        ({"regex": "*"}, [b"", b"x"], []),
    ],
)
def test_a_match_compares_the_whole_value(match: dict[str, str], yes: list[bytes], no: list[bytes]) -> None:
    """Exact and prefix are case-sensitive; a regex never searches; a byte is a character."""
    test = compile_match(StringMatch.model_validate(match)).test

    assert all(test(value) for value in yes)
    assert not any(test(value) for value in no)


@pytest.mark.parametrize(
    ("pattern", "form", "text"),
    [
        (".*Chrome.*", Form.CONTAINS, b"Chrome"),
        ("/a/.*", Form.PREFIX, b"/a/"),
        (".*\\.png", Form.SUFFIX, b".png"),
        ("^exactly$", Form.EXACT, b"exactly"),
        (".*", Form.PRESENT, b""),
        ("a.b", Form.REGEX, b"a.b"),
    ],
)
def test_simple_regexes_need_no_engine(pattern: str, form: Form, text: bytes) -> None:
    """They are what they mean: a search, a beginning, an end, equality."""
    found = regex(pattern)

    assert (form, text) == (found.form, found.text)
    assert f'regex "{pattern}"' == str(found)


def test_a_dot_is_no_line_feed() -> None:
    """Where values may have one (query parameters, claims), a simple regex keeps RE2's reading."""
    assert not regex(".*b", lines=True).test(b"a\nb")
    assert regex(".*b", lines=True).test(b"ab")


def test_a_hostile_regex_takes_linear_time() -> None:
    """Backtracking engines double their time with every character of this."""
    assert not regex("(a+)+$").test(b"a" * 4000 + b"!")


def test_a_regex_too_large_for_a_dfa_still_matches() -> None:
    """A Set has no memory for it; the slower engine answers."""
    test = regex("[ab]{1000}" * 98).test

    assert test(b"ab" * 49_000)
    assert not test(b"ab" * 49_001)


PIECES = [
    "/",
    "a",
    "b",
    ".",
    ".*",
    "[ab]",
    "(a|b)",
    "a?",
    "b+",
    "|",
    "\\.",
    "a{2}",
    "(?i)",
    "^",
    "$",
    "(/a)*",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5), st.text("/ab.", max_size=6))
def test_every_match_begins_with_the_literal_prefix(pieces: list[str], value: str) -> None:
    """Filing a regex under its beginning loses no request."""
    import re2

    pattern = "".join(pieces)
    try:
        re2.compile(pattern)
    except re2.error:
        return

    if regex(pattern).test(value.encode()):
        assert value.encode().startswith(literal_prefix(pattern.encode()))
    assert bool(re2.fullmatch(pattern, value)) == bool(regex(pattern).test(value.encode()))
