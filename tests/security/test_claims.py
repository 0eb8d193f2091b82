"""Claims by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.security.claims import header_value, named, nested, principal, texts, with_lists


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", {"b": 1, "c": {"d": 2}}),
        ("a.b", 1),
        ("a.c.d", 2),
        ("x.y", 3),
        ("a.x", None),
        ("a.b.c", None),
        ("z", None),
        ("", None),
        ("https://a.test/groups", ["g"]),
    ],
)
def test_names(name: str, expected: Any) -> None:
    """Nested by dots, unless a claim has just that name."""
    claims = {"a": {"b": 1, "c": {"d": 2}}, "x.y": 3, "https://a.test/groups": ["g"]}

    assert named(claims, name) == expected


def test_paths_end_where_there_is_no_object() -> None:
    """A text has no members."""
    assert nested({"a": "text"}, ["a", "b"]) is None
    assert nested(None, ["a"]) is None


def test_only_named_texts_are_split() -> None:
    """Lists stay, and nothing else is touched."""
    claims = {"scope": " a b ", "roles": ["a b"], "n": 1}

    assert with_lists(claims, ["scope", "roles", "n", "none"]) == {
        "scope": ["a", "b"],
        "roles": ["a b"],
        "n": 1,
    }
    assert with_lists(claims, ["n"]) is claims


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", [b"a"]), (["a", 1, "é"], [b"a", "é".encode()]), (1, []), (None, []), ({"a": 1}, []), (True, [])],
)
def test_texts(value: Any, expected: list[bytes]) -> None:
    """What a claim may equal."""
    assert texts(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, b"true"),
        (0, b"0"),
        (-5, b"-5"),
        (2**60 + 1, b"1152921504606846977"),
        (3.0, b"3"),
        (-3.0, b"-3.000000"),
        (1e30, b"1000000000000000019884624838656.000000"),
        ("a, b", b"a, b"),
        ("a\tb", None),
    ],
)
def test_header_values(value: Any, expected: bytes | None) -> None:
    """As Envoy writes them, but whole numbers whole."""
    assert header_value(value) == expected


@settings(max_examples=200)
@given(st.text(max_size=20))
def test_a_header_value_is_one_line(value: str) -> None:
    """And reads as the claim it was made of."""
    made = header_value(value)

    assert made is None or (
        made.decode() == value and made.strip() == made and not set(made) & set(range(32))
    )


def test_principals_have_both_parts() -> None:
    """Or there is none."""
    assert principal("i", "s") == "i/s"
    assert principal("", "s") == principal("i", "") == ""
