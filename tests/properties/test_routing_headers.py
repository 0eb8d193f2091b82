"""Header operations do what their order says, whatever they are."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.routing import KnownFacts

from gateway.config.http_actions import HeaderOperations
from gateway.routing.header_ops import compile_request_ops

NAMES = st.sampled_from(["a", "B", "c", "X-D"])
VALUES = st.sampled_from(["1", "2", "%REQ(a)%", "x%REQ(b?c)%", "", "%REQ(none)%"])
CHANGES = st.dictionaries(NAMES, VALUES, max_size=3)
OPERATIONS = st.one_of(
    st.none(), st.fixed_dictionaries({"set": CHANGES, "add": CHANGES, "remove": st.lists(NAMES, max_size=2)})
)
HEADERS = st.lists(st.tuples(NAMES.map(str.lower), st.sampled_from(["p", "q"])), max_size=5)


def value_of(text: str, headers: list[tuple[str, str]]) -> str:
    """The few formats above, read off a header list."""

    def first(*names: str) -> str:
        return next((value for wanted in names for name, value in headers if name == wanted), "")

    return (
        text.replace("%REQ(a)%", first("a")).replace("%REQ(b?c)%", first("b", "c")).replace("%REQ(none)%", "")
    )


def level(headers: list[tuple[str, str]], operations: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Remove, then every set, then every add; values are read after removal."""
    removed = {name.lower() for one in operations for name in one["remove"]}
    headers = [pair for pair in headers if pair[0] not in removed]
    before = list(headers)
    for one in operations:
        for name, text in sorted(one["set"].items(), key=lambda item: item[0].lower()):
            if value := value_of(text, before):
                headers = [pair for pair in headers if pair[0] != name.lower()] + [(name.lower(), value)]
    for one in operations:
        for name, text in sorted(one["add"].items(), key=lambda item: item[0].lower()):
            if value := value_of(text, before):
                headers.append((name.lower(), value))
    return headers


def by_name(headers: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Values in order, name by name: between names order means nothing."""
    return {name: [value for key, value in headers if key == name] for name, _ in headers}


@settings(max_examples=300)
@given(HEADERS, OPERATIONS, OPERATIONS, st.booleans())
def test_header_operations_keep_their_order(
    headers: list[tuple[str, str]],
    route: dict[str, Any] | None,
    destination: dict[str, Any] | None,
    several: bool,
) -> None:
    """One level with one destination; with several the destination's level, then the route's."""
    groups = [[destination], [route]] if several else [[route, destination]]
    expected = headers
    for group in groups:
        expected = level(expected, [one for one in group if one is not None])

    read = [None if one is None else HeaderOperations.model_validate(one) for one in (route, destination)]
    compiled = compile_request_ops(*read, several=several)
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    changed = pairs if compiled is None else compiled.apply(pairs, KnownFacts())

    assert by_name(expected) == by_name([(name.decode(), value.decode()) for name, value in changed])
