"""ServiceEntry and WorkloadEntry: what is read, and what is refused where."""

from __future__ import annotations

import textwrap

import pytest

from gateway.config import load

HEAD = "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: backend}}\nspec:\n"
PORT = "ports: [{number: 80, name: http, protocol: HTTP}]\n"


def said(spec: str, kind: str = "ServiceEntry") -> list[tuple[str, int, int]]:
    """Findings of a spec, its lines and columns counted from 1."""
    text = HEAD.format(kind=kind) + textwrap.indent(textwrap.dedent(spec), "  ")
    findings = load([], texts={"f": text}).findings
    return [(item.code, item.line - 4, item.column - 2) for item in findings if item.code < "GW2"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            (
                f"{PORT}hosts: [reviews]\nresolution: STATIC\n"
                "endpoints: [{address: 127.0.0.1, ports: {http: 9001}}]\n"
            ),
            [],
        ),
        (f"{PORT}hosts: [a.b]\nresolution: DNS\n", []),
        (f"{PORT}hosts: [a.b]\nresolution: DNS\nendpoints: [{{address: c.d}}]\n", []),
        (f"{PORT}hosts: [a.b]\nresolution: STATIC\nendpoints: [{{address: 'unix:///x'}}]\n", []),
        (f"{PORT}hosts: [a]\nresolution: STATIC\nworkloadSelector: {{labels: {{app: a}}}}\n", []),
        (PORT, [("GW032", 0, -1)]),
        (f"{PORT}hosts: [a, '*']\n", [("GW035", 2, 12)]),
        (f"{PORT}hosts: [a]\nresolution: static\n", [("GW033", 3, 13)]),
        (f"{PORT}hosts: [a]\nendpoints: [{{address: 1.2.3.4}}]\n", [("GW081", 3, 1)]),
        (f"{PORT}hosts: [a]\nresolution: STATIC\nendpoints: [{{address: a.b}}]\n", [("GW081", 4, 23)]),
        (f"{PORT}hosts: ['*.a']\nresolution: DNS\n", [("GW081", 2, 9)]),
        (f"{PORT}hosts: [a]\nresolution: DNS\naddresses: [10.0.0.0/8]\n", [("GW081", 4, 13)]),
        (f"{PORT}hosts: [a]\nresolution: DNS\nendpoints: [{{address: 'unix:///x'}}]\n", [("GW081", 4, 23)]),
        (
            f"{PORT}hosts: [a]\nresolution: DNS_ROUND_ROBIN\nendpoints: [{{address: a}}, {{address: b}}]\n",
            [("GW081", 4, 27)],
        ),
        (
            f"{PORT}hosts: [a]\nresolution: STATIC\nendpoints: [{{address: 1.2.3.4, ports: {{htpp: 1}}}}]\n",
            [("GW080", 4, 46)],
        ),
        (
            (
                f"{PORT}hosts: [a]\nresolution: STATIC\nendpoints: [{{address: 1.2.3.4}}]\n"
                "workloadSelector: {labels: {a: b}}\n"
            ),
            [("GW040", 5, 1)],
        ),
        ("hosts: [a]\nports: [{number: 80, name: a}, {number: 80, name: b}]\n", [("GW043", 2, 41)]),
        ("hosts: [a]\nports: [{number: 80, name: a}, {number: 81, name: a}]\n", [("GW043", 2, 51)]),
        ("hosts: [a]\nports: [{number: 80, name: a, protocol: HTTQ}]\n", [("GW033", 2, 41)]),
        ("hosts: [a]\nports: [{number: 0, name: a}]\n", [("GW037", 2, 18)]),
        ("hosts: [a]\naddresses: [x]\n", [("GW035", 2, 13)]),
    ],
)
def test_service_entries(spec: str, expected: list[tuple[str, int, int]]) -> None:
    """The resolution decides what endpoints may be; ports have one name and number."""
    assert expected == said(spec)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("address: 10.0.0.1\nlabels: {app: a}\nweight: 3\nlocality: eu/a/1\n", []),
        ("address: a.b\n", []),
        ("network: n\n", []),
        ("labels: {app: a}\n", [("GW032", 0, -1)]),
        ("address: a_b\n", [("GW035", 1, 10)]),
        ("address: unix://x\n", [("GW035", 1, 10)]),
        ("address: unix:///x\nports: {http: 1}\n", [("GW040", 2, 1)]),
        ("address: a\nports: {http: 0}\n", [("GW037", 2, 15)]),
        ("address: a\nweight: -1\n", [("GW037", 2, 9)]),
    ],
)
def test_workload_entries(spec: str, expected: list[tuple[str, int, int]]) -> None:
    """An address of one of three forms."""
    assert expected == said(spec, "WorkloadEntry")
