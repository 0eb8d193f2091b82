"""Header operations: order within a level, order of levels, and what may not get in."""

from __future__ import annotations

import pytest
from support.routing import KnownFacts

from gateway.config.http_actions import HeaderOperations
from gateway.routing.header_ops import authority_override, compile_request_ops, compile_response_ops


def ops(**fields: object) -> HeaderOperations:
    return HeaderOperations.model_validate(fields)


def names(headers: list[tuple[bytes, bytes]]) -> list[str]:
    return [f"{name.decode()}={value.decode()}" for name, value in headers]


def test_nothing_to_do_is_nothing() -> None:
    """Absent operations are compiled away."""
    assert compile_request_ops(None) is None
    assert compile_request_ops(ops(), ops()) is None
    assert compile_request_ops(ops(set={"host": "x"})) is None
    assert compile_request_ops(ops(set={"x-a": ""})) is None


def test_remove_comes_before_set_and_set_before_add() -> None:
    """`set` replaces every line, `add` appends one; names in any case."""
    operations = compile_request_ops(
        ops(remove=["X-Old", "x-both"], set={"X-Set": "new"}, add={"x-add": "2", "x-both": "again"})
    )
    headers = [(b"x-old", b"1"), (b"x-set", b"1"), (b"x-set", b"2"), (b"x-add", b"1"), (b"x-both", b"1")]
    assert operations is not None

    changed = operations.apply(headers, KnownFacts())

    assert names(changed) == ["x-add=1", "x-set=new", "x-add=2", "x-both=again"]
    assert len(headers) == 5


def test_one_destination_overrides_its_route() -> None:
    """Both are one list, the destination's operations after the route's."""
    operations = compile_request_ops(
        ops(set={"x-a": "route"}, add={"x-b": "route"}),
        ops(set={"x-a": "destination"}, add={"x-b": "destination"}),
    )
    assert operations is not None

    assert names(operations.apply([], KnownFacts())) == ["x-a=destination", "x-b=route", "x-b=destination"]


def test_with_several_destinations_the_route_wins() -> None:
    """Envoy evaluates the chosen destination first, then the route."""
    operations = compile_request_ops(
        ops(set={"x-a": "route"}, add={"x-b": "route"}, remove=["x-c"]),
        ops(set={"x-a": "destination"}, add={"x-b": "destination", "x-c": "destination"}),
        several=True,
    )
    assert operations is not None

    assert names(operations.apply([], KnownFacts())) == ["x-b=destination", "x-a=route", "x-b=route"]


def test_the_authority_of_one_of_several_is_there_before_the_rule_looks() -> None:
    """Envoy gives the weighted cluster its authority between its own operations and the route's."""
    rule = ops(set={"x-rule": "%REQ(:AUTHORITY)%"})
    destination = ops(set={"host": "own.test", "x-own": "%REQ(:AUTHORITY)%"})
    several = compile_request_ops(rule, destination, several=True)
    only = compile_request_ops(rule, destination)
    assert several is not None
    assert only is not None

    assert names(several.apply([], KnownFacts())) == ["x-own=reviews:8080", "x-rule=own.test"]
    assert names(only.apply([], KnownFacts())) == ["x-rule=reviews:8080", "x-own=reviews:8080"]


def test_values_see_the_headers_after_removal_and_before_the_rest() -> None:
    """All values of a level are rendered before one is put in place; the next level sees the result."""
    facts = KnownFacts()
    operations = compile_request_ops(
        ops(set={"x-seen": "%REQ(x-add)%"}),
        ops(
            remove=["x-gone"],
            set={"x-was": "%REQ(x-set)%", "x-set": "new", "x-no": "%REQ(x-gone)%"},
            add={"x-add": "%REQ(:PATH)%"},
        ),
        several=True,
    )
    assert operations is not None

    changed = operations.apply([(b"x-gone", b"1"), (b"x-set", b"old")], facts)

    assert sorted(names(changed)) == ["x-add=/new?q=1", "x-seen=/new?q=1", "x-set=new", "x-was=old"]


def test_response_operations_read_response_headers() -> None:
    """`%RESP()%` sees what stands there after removal."""
    operations = compile_response_ops(ops(remove=["x-a"], set={"x-c": "%RESP(x-b)%%RESP(x-a)%"}))
    assert operations is not None

    assert names(operations.apply([(b"x-a", b"1"), (b"x-b", b"2")], KnownFacts())) == ["x-b=2", "x-c=2"]


@pytest.mark.parametrize("value", ["%REQ(x-none)%", ""])
def test_an_empty_value_changes_nothing(value: str) -> None:
    """Not even what `set` would have replaced (measured on Envoy)."""
    operations = compile_request_ops(ops(set={"x-a": value, "x-z": "1"}, add={"x-b": value}))
    assert operations is not None

    assert names(operations.apply([(b"x-a", b"old")], KnownFacts())) == ["x-a=old", "x-z=1"]


@pytest.mark.parametrize("value", ["a\r\nx-admin: 1", "a\nb", "a\rb", "a\x00b"])
def test_a_value_never_starts_another_header(value: str) -> None:
    """A certificate's name or a claim with CR, LF or NUL is left out, and the client's own value does not stay."""
    facts = KnownFacts(peer_uri_san=value)
    operations = compile_request_ops(
        ops(set={"x-peer": "%DOWNSTREAM_PEER_URI_SAN%"}, add={"x-also": "by %DOWNSTREAM_PEER_URI_SAN%"})
    )
    assert operations is not None

    assert operations.apply([(b"x-peer", b"forged")], facts) == []


def test_the_authority_is_no_header() -> None:
    """`host` is a rewrite of the authority, `set` before `add`; pseudo headers are dropped."""
    assert authority_override(ops(add={"Host": "b"}, set={":authority": "a"})) == b"a"
    assert authority_override(ops(add={"Host": "b"})) == b"b"
    assert authority_override(ops(set={"x-a": "1"})) is None
    assert authority_override(None) is None


def test_operations_are_legible() -> None:
    """Dumps show what is done to which header."""
    operations = compile_request_ops(
        ops(remove=["b", "a"], set={"c": "1"}), ops(add={"d": "1"}), several=True
    )

    assert repr(operations) == "<HeaderOps +d then -a -b =c>"
