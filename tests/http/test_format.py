"""The grammar of command operators."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.format import OPERATORS, FormatError, Operator, parse


def test_literals_and_operators_come_in_order() -> None:
    """A percent sign is written twice; neighbouring literals are one."""
    parsed = parse("100%% of %REQ(X-Id?:path):8% in %DURATION%ms")

    assert parsed == ("100% of ", Operator("REQ", "X-Id?:path", 8), " in ", Operator("DURATION"), "ms")


def test_header_names_are_lower_case_with_the_substitute_last() -> None:
    """`?` separates what is wanted from what stands in for it."""
    assert Operator("REQ", "X-Id?:Path").headers == ("x-id", ":path")


def test_a_time_format_has_percent_signs_of_its_own() -> None:
    """They end at the parenthesis."""
    assert parse("%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%") == (
        Operator("START_TIME", "%Y-%m-%dT%H:%M:%S.%3fZ"),
    )


@pytest.mark.parametrize("text", ["", "plain", "%%", "a%%b%%"])
def test_text_without_operators_is_text(text: str) -> None:
    """Only the doubled percent signs change."""
    assert text.replace("%%", "%") == "".join(str(piece) for piece in parse(text))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("50% off", 2),
        ("%", 0),
        ("%%%", 2),
        ("%REQ(x)", 0),
        ("a %NOPE% b", 2),
        ("%duration%", 0),
        ("%VIRTUAL_CLUSTER_NAME%", 0),
        ("%REQ%", 0),
        ("%REQ()%", 0),
        ("%REQ(a b)%", 0),
        ("%REQ(a?b?c)%", 0),
        ("%DURATION(x)%", 0),
        ("%DURATION:3%", 0),
        ("%START_TIME(%Q)%", 0),
        ("%ENVIRONMENT%", 0),
        ("%REQ(:nope)%", 0),
    ],
)
def test_a_wrong_format_says_where(text: str, position: int) -> None:
    """The offset is that of the percent sign, for the caret."""
    with pytest.raises(FormatError) as raised:
        parse(text)

    assert position == raised.value.position


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["%", "%%", "(", ")", ":3", "x", "REQ", "?", *sorted(OPERATORS)]),
            st.text(max_size=3),
        ),
        max_size=8,
    )
)
def test_any_text_is_a_format_or_an_error(pieces: list[str]) -> None:
    """Nothing but FormatError comes of a wrong one, and no literal is lost of a right one."""
    text = "".join(pieces)
    try:
        parsed = parse(text)
    except FormatError:
        return

    literals = "".join(piece for piece in parsed if isinstance(piece, str))
    assert literals == text.replace("%%", "%") or any(isinstance(piece, Operator) for piece in parsed)
