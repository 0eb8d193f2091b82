"""Delegation that leads nowhere or does not fit."""

from __future__ import annotations

import pytest
from support.documents import analyzed, places

CODES = ("GW250", "GW251", "GW252", "GW253")


def service(name: str, spec: str, *, namespace: str = "default") -> str:
    head = f"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    return head + "spec:\n" + "".join(f"  {line}\n" for line in spec.splitlines()) + "---\n"


def root(delegate: str = "{name: d}", match: str = "[]") -> str:
    return service("root", f"hosts: [a]\nhttp:\n- match: {match}\n  delegate: {delegate}")


def leaf(match: str = "[]", *, namespace: str = "default", more: str = "") -> str:
    return service("d", f"{more}http:\n- match: {match}\n  redirect: {{uri: /x}}", namespace=namespace)


def test_a_delegate_that_fits_is_fine() -> None:
    """Of the own namespace or another."""
    assert places(root() + leaf(), *CODES) == []
    assert places(root("{name: d, namespace: prod}") + leaf(namespace="prod"), *CODES) == []


def test_a_missing_delegate_is_pointed_at() -> None:
    """With what was probably meant; nobody then uses the other."""
    found = analyzed(root("{name: dd}") + leaf(), *CODES)

    assert [(item.code, item.line, item.column, item.severity, item.suggestion) for item in found] == [
        ("GW250", 8, 22, "error", 'did you mean "d"?'),
        ("GW253", 12, 18, "warning", "give it hosts, or remove it"),
    ]


def test_a_delegate_of_another_namespace_must_be_exported() -> None:
    """exportTo holds for delegation."""
    private = leaf(namespace="prod", more='exportTo: ["."]\n')

    assert [item[0] for item in places(root("{name: d, namespace: prod}") + private, "GW250")] == ["GW250"]


def test_a_service_with_hosts_is_no_delegate() -> None:
    """It stands for itself."""
    assert places(root() + leaf(more="hosts: [b]\n"), *CODES) == [("GW251", 8, 22, "error")]


def test_an_unused_delegate_is_named() -> None:
    """It has no effect."""
    assert places(leaf(), *CODES) == [("GW253", 3, 18, "warning")]


@pytest.mark.parametrize(
    ("outer", "inner", "fits"),
    [
        ("[]", "[{uri: {prefix: /a}}]", True),
        ("[{uri: {prefix: /a}}]", "[]", True),
        ("[{uri: {prefix: /a}}]", "[{uri: {prefix: /a/b}}]", True),
        ("[{uri: {prefix: /a}}]", "[{uri: {exact: /a}}]", True),
        ("[{uri: {prefix: /a}}]", "[{uri: {prefix: /}}]", False),
        ("[{uri: {prefix: /a}}]", "[{uri: {}}]", False),
        ("[{uri: {exact: /a}}]", "[{uri: {prefix: /a}}]", False),
        ("[{uri: {exact: /a}}]", "[{uri: {exact: /a}}]", True),
        ("[{uri: {regex: /a}}]", "[{uri: {regex: /a}}]", False),
        ("[{uri: {regex: /a}}]", "[{method: {exact: GET}}]", True),
        ("[{uri: {prefix: /a}}, {uri: {prefix: /b}}]", "[{uri: {prefix: /bc}}]", True),
        ("[{uri: {prefix: /a}}]", "[{uri: {prefix: /ab}, ignoreUriCase: true}]", False),
        ("[{headers: {a: {exact: b}}}]", "[{headers: {a: {exact: c}}}]", False),
        ("[{headers: {a: {}}}]", "[{headers: {a: {exact: c}}}]", True),
        ("[{headers: {a: {exact: b}}}]", "[{headers: {c: {exact: d}}}]", True),
        ("[{queryParams: {a: {exact: b}}}]", "[{queryParams: {a: {exact: c}}}]", False),
        ("[{withoutHeaders: {a: {}}}]", "[{withoutHeaders: {a: {exact: b}}}]", False),
        ("[{port: 80}]", "[{port: 81}]", False),
        ("[{gateways: [a]}]", "[{gateways: [a, b]}]", False),
        ("[{sourceLabels: {a: b}}]", "[{sourceLabels: {a: c}}]", False),
        ("[{sourceNamespace: a}]", "[{sourceNamespace: b}]", False),
    ],
)
def test_a_delegate_may_narrow_and_not_widen(outer: str, inner: str, fits: bool) -> None:
    """Istio's rules of what a delegate's match may be."""
    found = places(root(match=outer) + leaf(inner), *CODES)

    assert found == ([] if fits else [("GW252", 15, 13, "warning")])
