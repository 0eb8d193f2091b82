"""VirtualService: what is read, and what is refused where."""

from __future__ import annotations

import textwrap

import pytest

from gateway.config import load
from gateway.config.virtual_service import VirtualServiceSpec

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop}\nspec:\n"
ROUTE = "route: [{destination: {host: a}}]"


def said(spec: str) -> list[tuple[str, int, int, str, bool]]:
    """Findings of a spec, its lines counted from 1."""
    text = HEAD + textwrap.indent(textwrap.dedent(spec), "  ")
    return [
        (item.code, item.line - 4, item.column - 2, item.severity, item.fatal)
        for item in load([], texts={"f": text}).findings
        if item.code < "GW2"
    ]


def rule(text: str) -> list[tuple[str, int, int, str, bool]]:
    """Findings of one http rule; its first line is line 1 and its first column 1."""
    spec = "hosts: [a]\nhttp:\n- " + textwrap.indent(textwrap.dedent(text), "  ")[2:]
    return [
        (code, line - 2, column - 2, severity, fatal) for code, line, column, severity, fatal in said(spec)
    ]


def error(code: str, line: int, column: int) -> tuple[str, int, int, str, bool]:
    return (code, line, column, "error", True)


def test_names_are_istio_s_in_snake_case() -> None:
    """Both spellings are read; absent fields are None, lists tuples, maps dicts."""
    spec = VirtualServiceSpec.model_validate(
        {
            "hosts": ["a"],
            "exportTo": ["."],
            "http": [
                {
                    "name": "r",
                    "match": [
                        {
                            "uri": {"prefix": "/"},
                            "ignoreUriCase": True,
                            "headers": {"x": {"exact": "1"}},
                            "without_headers": {"y": None},
                            "queryParams": {"q": {}},
                            "sourceLabels": {"app": "x"},
                            "port": 80,
                        }
                    ],
                    "route": [
                        {"destination": {"host": "b", "subset": "v1", "port": {"number": 1}}, "weight": 5}
                    ],
                    "retries": {"attempts": 3, "perTryTimeout": "2s", "retry_on": "5xx,503"},
                    "timeout": "1m",
                    "mirror_percentage": {"value": 12.5},
                    "mirror": {"host": "c"},
                }
            ],
        }
    )
    http = spec.http[0]

    assert (spec.export_to, spec.gateways, http.timeout, http.rewrite) == ((".",), (), 60.0, None)
    assert (http.match[0].headers["x"].exact, http.match[0].without_headers["y"]) == ("1", None)
    assert (http.route[0].destination.port.number, http.route[0].weight) == (1, 5)
    assert (http.retries.per_try_timeout, http.retries.retry_on, http.mirror_percentage.value) == (
        2.0,
        "5xx,503",
        12.5,
    )
    assert hash(spec) == hash(spec.model_copy())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (f"hosts: [a]\nhttp: [{{{ROUTE}}}]\n", []),
        (f"hosts: [a_b]\nhttp: [{{{ROUTE}}}]\n", [error("GW035", 1, 9)]),
        (f"hosts: [10.0.0.1]\nhttp: [{{{ROUTE}}}]\n", []),
        (f"hosts: [a.x, b, '*.x']\nhttp: [{{{ROUTE}}}]\n", [error("GW043", 1, 17)]),
        (f"hosts: ['*']\nhttp: [{{{ROUTE}}}]\n", [("GW057", 1, 9, "error", False)]),
        (f"hosts: ['*']\ngateways: [g, mesh]\nhttp: [{{{ROUTE}}}]\n", [("GW057", 1, 9, "error", False)]),
        (f"hosts: ['*']\ngateways: [g]\nhttp: [{{{ROUTE}}}]\n", []),
        (f"hosts: [a]\ngateways: [n/g, g, N/g, g]\nhttp: [{{{ROUTE}}}]\n", [error("GW035", 2, 20)]),
        (f"hosts: [a]\ngateways: [g, g]\nhttp: [{{{ROUTE}}}]\n", [error("GW043", 2, 15)]),
        (f"hosts: [a]\ngateways: [g.ns.svc]\nhttp: [{{{ROUTE}}}]\n", [("GW050", 2, 12, "warning", False)]),
        ("hosts: [a]\n", [error("GW032", 0, -1)]),
        ("hosts: [a]\ntcp: [{}]\n", [error("GW045", 2, 1)]),
        ("hosts: [a]\ntls: [{}]\n", [error("GW045", 2, 1)]),
        (f"hosts: [a]\nexportTo: [x, Y]\nhttp: [{{{ROUTE}}}]\n", [error("GW026", 2, 15)]),
        (f"hosts: [a]\nexportTo: ['~', x]\nhttp: [{{{ROUTE}}}]\n", [error("GW040", 2, 1)]),
        (f"gateways: [g]\nhttp: [{{{ROUTE}}}]\n", [error("GW056", 1, 1)]),
        (f"http: [{{{ROUTE}}}]\n", []),
        ("http: [{delegate: {name: x}}]\n", [error("GW056", 1, 9)]),
        ("hosts: [a]\nhttp: [null]\n", [error("GW042", 2, 8)]),
    ],
)
def test_rules_of_the_whole(spec: str, expected: list[tuple[str, int, int, str, bool]]) -> None:
    """Hosts, gateways, exports, delegates; each finding under what is wrong."""
    assert expected == said(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x", [error("GW055", 1, 1)]),
        (f"{ROUTE}\nredirect: {{uri: /x}}", [error("GW040", 2, 1)]),
        (f"{ROUTE}\ndelegate: {{name: x}}", [error("GW040", 2, 1)]),
        (
            "redirect: {uri: /x}\nfault: {abort: {httpStatus: 500, percentage: {value: 1}}}",
            [error("GW040", 2, 1)],
        ),
        ("directResponse: {status: 200}\nrewrite: {uri: /x}", [error("GW040", 2, 1)]),
        ("route: [{destination: {host: a}, weight: 0}, {destination: {host: b}}]", [error("GW054", 1, 1)]),
        ("route: [{destination: {host: a}, weight: 0}, {destination: {host: b}, weight: 1}]", []),
        ("route: [{destination: {host: a}, weight: -1}]", [error("GW037", 1, 42)]),
        ("route: [{destination: {host: '*'}}]", [error("GW035", 1, 30)]),
        ("route: [{destination: {host: a, subset: a.b}}]", [error("GW026", 1, 41)]),
        ("route: [{destination: {subset: a}}]", [error("GW032", 1, 10)]),
        (f"{ROUTE}\ntimeout: 0s", [error("GW034", 2, 10)]),
        (f"{ROUTE}\ntimeout: 10", [error("GW034", 2, 10)]),
        (f"{ROUTE}\nmirror: {{host: a}}\nmirrors: [{{destination: {{host: b}}}}]", [error("GW040", 3, 1)]),
        (f"{ROUTE}\nmirror: {{host: a}}\nmirror_percent: 5", [("GW050", 3, 17, "warning", False)]),
        (f"{ROUTE}\nmirror: {{host: a}}\nmirrorPercent: 101", [error("GW037", 3, 16)]),
        (f"{ROUTE}\nmirror: {{host: a}}\nmirrorPercentage: {{value: 100.5}}", [error("GW037", 3, 27)]),
        (f"{ROUTE}\nmirrorPercentage: {{value: 5}}", [("GW051", 2, 1, "warning", False)]),
        (
            f"{ROUTE}\nrewrite: {{authority: x}}\nheaders: {{request: {{set: {{Host: y}}}}}}",
            [error("GW040", 3, 33)],
        ),
        (
            f"{ROUTE}\nheaders: {{request: {{set: {{host: a}}, add: {{':authority': b}}}}}}",
            [error("GW040", 2, 57)],
        ),
        (
            f"{ROUTE}\ntimeout: 1s\nretries: {{attempts: 1, perTryTimeout: 1s}}",
            [("GW051", 3, 39, "warning", False)],
        ),
    ],
)
def test_rules_of_a_route(text: str, expected: list[tuple[str, int, int, str, bool]]) -> None:
    """One action, weights that add up, mirrors, one authority, timeouts."""
    assert expected == rule(text)
