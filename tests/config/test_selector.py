"""Selectors and targets of policies."""

from __future__ import annotations

import pytest
from support.documents import validated

from gateway.config.selector import WorkloadSelector

HEAD = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: p}\n"


def said(spec: str) -> list[tuple[str, int, int, str]]:
    return [(code, line - 3, column, severity) for code, line, column, severity, _ in validated(HEAD + spec)]


@pytest.mark.parametrize(
    ("labels", "selected"),
    [({}, False), ({"a": "b"}, False), ({"a": "b", "c": "d"}, True), ({"a": "b", "c": "d", "e": "f"}, True)],
)
def test_every_label_must_be_there(labels: dict[str, str], selected: bool) -> None:
    """Labels are joined by and; further ones do not matter."""
    assert WorkloadSelector(match_labels={"a": "b", "c": "d"}).matches(labels) is selected


def test_an_empty_selector_is_named() -> None:
    """It selects everything, which was hardly the wish."""
    assert said("spec:\n  selector: {}") == [("GW051", 2, 3, "warning")]


@pytest.mark.parametrize("label", ["a*: b", "a: '*'", "-a: b", "a: b c"])
def test_labels_are_labels(label: str) -> None:
    """Wildcards and what Kubernetes refuses would select nobody."""
    assert [code for code, *_ in said(f"spec:\n  selector: {{matchLabels: {{{label}}}}}")] == ["GW041"]


def test_targets_are_few_and_near() -> None:
    """At most 16, of the own namespace, and not beside another way to aim."""
    target = "{kind: Service, name: a}"
    many = ", ".join([target] * 17)

    assert said(f"spec:\n  targetRefs: [{many}]") == [("GW037", 2, 3, "error")]
    assert said("spec:\n  targetRef: {kind: Service, name: a, namespace: b}") == [("GW045", 2, 50, "error")]
    assert said(f"spec:\n  targetRef: {target}\n  targetRefs: [{target}]") == [("GW040", 3, 3, "error")]
