"""Durations, patterns and other single values."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.config.fields import (
    Bool,
    Duration,
    DurationOrZero,
    FrozenMap,
    Int,
    Labels,
    Many,
    Map,
    Port,
    Str,
    StringMatch,
    format_duration,
    parse_duration,
    regex_error,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("+1s", 1.0),
        ("1h1ms", 3600.001),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("1000us", 0.001),
        ("1000µs", 0.001),
        ("1000000ns", 0.001),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    """Every unit of Go's time.ParseDuration, and sums of them."""
    assert seconds == TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "10",
        "s",
        "1 s",
        "1S",
        "1d",
        "-1s",
        "0s",
        "0",
        "1us",
        "0.5ms",
        "1.0005s",
        "1e3s",
        "9" * 30 + "h",
        10,
        True,
        None,
    ],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """Bare numbers, unknown units, less than or not whole milliseconds, negative, absurd."""
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(value)


def test_zero_is_a_duration_where_it_means_something() -> None:
    """`0s` disables an idle timeout; negative stays refused."""
    zero = TypeAdapter(DurationOrZero)

    assert zero.validate_python("0s") == 0.0
    with pytest.raises(ValidationError):
        zero.validate_python("-1s")


@given(st.integers(min_value=1, max_value=10**13))
@settings(max_examples=200)
def test_a_written_duration_reads_the_same(milliseconds: int) -> None:
    """`format_duration` and `parse_duration` are inverse to the millisecond."""
    assert milliseconds * 10**6 == parse_duration(format_duration(milliseconds / 1000))


@given(st.text(alphabet="0123456789.+-nsumhµ ", max_size=20))
@settings(max_examples=300)
def test_any_text_is_a_duration_or_none(text: str) -> None:
    """Parsing never raises."""
    assert isinstance(parse_duration(text), int | None)


def test_a_duration_is_dumped_as_istio_writes_it() -> None:
    """JSON dumps can be read again."""
    assert TypeAdapter(Duration).dump_json(1.5) == b'"1.5s"'


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Str, 1),
        (Str, True),
        (Int, "1"),
        (Int, 1.0),
        (Int, True),
        (Int, 2**31),
        (Bool, "true"),
        (Bool, 1),
        (Port, 0),
        (Port, 65536),
        (Labels, {"a b": "c"}),
        (Labels, {"a": "x" * 64}),
        (Labels, {"a": 1}),
        (Many[Str], "a"),
        (Map[Str, Str], ["a"]),
    ],
)
def test_types_are_strict(kind: object, value: object) -> None:
    """What Kubernetes refuses is refused: nothing is converted."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_null_lists_and_maps_are_empty() -> None:
    """Null is unset, as in proto-JSON."""
    assert TypeAdapter(Many[Str]).validate_python(None) == ()
    assert TypeAdapter(Map[Str, Str]).validate_python(None) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.__setitem__("b", 1),
        lambda m: m.__delitem__("a"),
        lambda m: m.update(b=1),
        lambda m: m.pop("a"),
        lambda m: m.clear(),
        lambda m: m.setdefault("b", 1),
        lambda m: m.popitem(),
        lambda m: m.__ior__({"b": 1}),
    ],
)
def test_a_frozen_map_cannot_change(change) -> None:
    """Every way to write is refused."""
    with pytest.raises(TypeError, match="frozen"):
        change(FrozenMap({"a": 1}))


def test_a_frozen_map_is_a_value() -> None:
    """Equal maps hash alike, in any order, and survive copies and pickles."""
    one, two = FrozenMap({"a": 1, "b": 2}), FrozenMap({"b": 2, "a": 1})

    assert hash(one) == hash(two)
    assert one == two == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        r"(a)\1",
        "(",
        "a{2000}",
        "*",
        "",
        "(abcdefghijklmnopqr){1000}(stuvwxyzABCDEFGHI){1000}",
        "a" * 65537,
    ],
)
def test_what_re2_does_not_take_is_no_regex(pattern: str) -> None:
    """No lookaround, no backreferences, nothing that is too large for Istio."""
    assert regex_error(pattern) is not None


@pytest.mark.parametrize("pattern", [".*Chrome.*", r"\pN+", "(?i)abc", "(?P<n>a)", "a" * 2000])
def test_re2_syntax_is_taken(pattern: str) -> None:
    """Istio's dialect."""
    assert regex_error(pattern) is None


def test_a_string_match_has_one_form() -> None:
    """Two of exact, prefix, regex contradict each other."""
    with pytest.raises(ValidationError, match="only one of exact, prefix, regex"):
        StringMatch(exact="a", prefix="b")


def test_presence_is_no_form_or_a_star() -> None:
    """`{}` and the regex `*` ask only whether a value is there."""
    assert [
        match.presence
        for match in (StringMatch(), StringMatch(regex="*"), StringMatch(exact=""), StringMatch(regex=".*"))
    ] == [True, True, False, False]


def test_models_are_values() -> None:
    """Frozen, hashable, equal by content."""
    match = StringMatch(exact="a")

    assert hash(match) == hash(StringMatch(exact="a"))
    with pytest.raises(ValidationError, match="frozen"):
        match.exact = "b"  # type: ignore[misc]
