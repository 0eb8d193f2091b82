"""Delegation, carried out before anything is compiled."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.virtual_service import VirtualService
from gateway.routing.delegates import Rule, rules


def service(
    name: str, http: list[dict[str, Any]], *, namespace: str = "default", **spec: Any
) -> VirtualService:
    return VirtualService.model_validate(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"http": http, **spec},
        }
    )


TO = {"route": [{"destination": {"host": "b"}}]}


def merged(root: dict[str, Any], inner: dict[str, Any] | list[dict[str, Any]], **spec: Any) -> list[Rule]:
    """The rules of a root with one delegating rule."""
    items = inner if isinstance(inner, list) else [inner]
    outer = service("root", [{**root, "delegate": {"name": "leaf"}}], hosts=["a"])
    leaf = service("leaf", [{**TO, **item} for item in items], **spec)
    return list(rules(outer, {("default", "leaf"): leaf}))


def matches(root: list[dict[str, Any]], inner: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The merged match list; None when the delegate's rule vanished."""
    found = merged({"match": root}, {"match": inner})
    if not found:
        return None
    return [match.model_dump(exclude_defaults=True, exclude_none=True) for match in found[0].http.match]


def test_rules_without_delegate_stay() -> None:
    """With their place."""
    plain = service("root", [TO, {**TO, "name": "second"}], hosts=["a"])

    assert [(rule.http.name, rule.owner, rule.number) for rule in rules(plain, {})] == [
        (None, plain, 0),
        ("second", plain, 1),
    ]


@pytest.mark.parametrize(
    ("root", "inner", "expected"),
    [
        ([], [{"uri": {"exact": "/a"}}], [{"uri": {"exact": "/a"}}]),
        ([{"uri": {"prefix": "/a"}}], [], [{"uri": {"prefix": "/a"}}]),
        ([{"uri": {"prefix": "/a"}}], [{"uri": {"prefix": "/a/b"}}], [{"uri": {"prefix": "/a/b"}}]),
        ([{"uri": {"prefix": "/a"}}], [{"uri": {"exact": "/a/b"}}], [{"uri": {"exact": "/a/b"}}]),
        ([{"uri": {"prefix": "/a/b"}}], [{"uri": {"prefix": "/a"}}], None),
        ([{"uri": {"exact": "/a"}}], [{"uri": {"exact": "/a"}}], [{"uri": {"exact": "/a"}}]),
        ([{"uri": {"exact": "/a"}}], [{"uri": {"prefix": "/a"}}], None),
        ([{"uri": {"regex": "/a"}}], [{"uri": {"exact": "/a"}}], None),
        ([{"uri": {"prefix": "/a"}}], [{"uri": {"regex": "/a/.*"}}], None),
        ([{"uri": {"regex": "/a"}}], [{"method": {"exact": "GET"}}], [{"uri": {"regex": "/a"}, "method": {"exact": "GET"}}]),
        ([{"headers": {"x": {"exact": "1"}}}], [{"headers": {"y": {"exact": "2"}}}], [{"headers": {"x": {"exact": "1"}, "y": {"exact": "2"}}}]),
        ([{"headers": {"x": {"exact": "1"}}}], [{"headers": {"x": {"exact": "2"}}}], None),
        ([{"headers": {"x": {}}}], [{"headers": {"x": {"exact": "2"}}}], [{"headers": {"x": {"exact": "2"}}}]),
        ([{"headers": {"x": {"exact": "1"}}}], [{"headers": {"x": {}}}], None),
        ([{"queryParams": {"x": {"exact": "1"}}}], [{"queryParams": {"x": None}}], None),
        ([{"withoutHeaders": {"x": {}}}], [{"withoutHeaders": {"x": {"exact": "1"}}}], None),
        ([{"uri": {"prefix": "/A"}, "ignoreUriCase": True}], [{"uri": {"prefix": "/A"}}], None),
        ([{"port": 80}], [{"port": 81}], None),
        ([{"port": 80}], [{"method": {"exact": "GET"}}], [{"port": 80, "method": {"exact": "GET"}}]),
        ([{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}], [{"uri": {"prefix": "/b/c"}}], [{"uri": {"prefix": "/b/c"}}]),
        ([{"uri": {"prefix": "/a"}}], [{"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/c"}}], None),
        ([{"gateways": ["a", "b"]}], [{"gateways": ["b"]}], [{"gateways": ("b",)}]),
        ([{"gateways": ["a", "b"]}], [{"port": 1}], [{"gateways": ("a", "b"), "port": 1}]),
        ([{"gateways": ["a"]}], [{"gateways": ["a", "b"]}], None),
        ([{"sourceLabels": {"a": "1"}}], [{"sourceLabels": {"b": "2"}}], [{"sourceLabels": {"a": "1", "b": "2"}}]),
        ([{"sourceLabels": {"a": "1"}}], [{"sourceLabels": {"a": "2"}}], None),
        ([{"sourceNamespace": "a"}], [{"sourceNamespace": "b"}], None),
        ([{"name": "r", "uri": {"prefix": "/a"}}], [{"name": "l"}], [{"name": "r-l", "uri": {"prefix": "/a"}}]),
    ],
)  # fmt: skip
def test_a_delegate_narrows_what_it_was_given(
    root: list[dict[str, Any]], inner: list[dict[str, Any]], expected: Any
) -> None:
    """Both hold; a rule that could take other requests than the delegating one vanishes."""
    assert expected == matches(root, inner)


def test_fields_of_the_delegate_win_and_missing_ones_come_from_the_root() -> None:
    """Name, timeout, retries, headers and the rest."""
    (rule,) = merged(
        {"name": "root", "timeout": "5s", "retries": {"attempts": 7}, "rewrite": {"uri": "/r"}, "headers": {"request": {"set": {"x": "1"}}}},
        {"name": "leaf", "timeout": "1s"},
    )  # fmt: skip

    assert (rule.http.name, rule.http.timeout) == ("root-leaf", 1.0)
    assert rule.http.retries is not None
    assert rule.http.retries.attempts == 7
    assert rule.http.rewrite is not None
    assert rule.http.headers is not None
    assert (rule.owner.metadata.name, rule.number, rule.http.delegate) == ("leaf", 0, None)


def test_a_delegate_with_a_mirror_of_its_own_takes_no_share_from_the_root() -> None:
    """Mirror and percentage belong together."""
    (rule,) = merged(
        {"mirror": {"host": "m"}, "mirrorPercentage": {"value": 1.0}},
        {"mirrors": [{"destination": {"host": "n"}}]},
    )

    assert (rule.http.mirror, rule.http.mirror_percentage, len(rule.http.mirrors)) == (None, None, 1)


def test_only_the_rules_that_fit_remain() -> None:
    """One conflicting rule does not take the others with it."""
    found = merged(
        {"match": [{"uri": {"prefix": "/a"}}]}, [{"match": [{"uri": {"prefix": "/b"}}]}, {"name": "kept"}]
    )

    assert [rule.http.name for rule in found] == ["kept"]


def test_a_missing_or_hidden_delegate_takes_only_its_rule_along() -> None:
    """Also one that is not exported to the root's namespace."""
    outer = service("root", [{"delegate": {"name": "leaf"}}, {**TO, "name": "rest"}], hosts=["a"])
    hidden = service("leaf", [TO], exportTo=["other"])

    assert [rule.http.name for rule in rules(outer, {})] == ["rest"]
    assert [rule.http.name for rule in rules(outer, {("default", "leaf"): hidden})] == ["rest"]
