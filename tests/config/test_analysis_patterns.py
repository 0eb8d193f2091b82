"""Regexes against `limits.regexBytes`."""

from __future__ import annotations

import pytest
from support.documents import analyzed

SETTINGS = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec: {limits: {regexBytes: %d}}
---
"""
HEAD = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
"""


@pytest.mark.parametrize(
    "rule",
    [
        "match: [{uri: {regex: REGEX}}], directResponse: {status: 200}",
        "match: [{method: {exact: GET}}, {headers: {x: {regex: REGEX}}}], directResponse: {status: 200}",
        "match: [{withoutHeaders: {x: null, y: {regex: REGEX}}}], directResponse: {status: 200}",
        "match: [{queryParams: {x: {regex: REGEX}}}], directResponse: {status: 200}",
        "corsPolicy: {allowOrigins: [{exact: a}, {regex: REGEX}]}, route: [{destination: {host: shop}}]",
        "rewrite: {uriRegexRewrite: {match: REGEX, rewrite: /}}, route: [{destination: {host: shop}}]",
    ],
)
def test_a_regex_that_is_too_long_is_refused_where_it_stands(rule: str) -> None:
    """Bytes count, not characters; the limit itself is allowed."""
    text = SETTINGS % 8 + HEAD + f"  - {{{rule}}}\n"

    assert analyzed(text.replace("REGEX", "/ééé."), "GW234") == []
    (finding,) = analyzed(text.replace("REGEX", "/éééé"), "GW234")
    assert finding.fatal
    assert finding.column == 3 + text.splitlines()[-1].index("REGEX") - 2
    assert "9 bytes; at most 8" in finding.message


def test_without_settings_the_limit_is_istios() -> None:
    """1024 bytes."""
    text = HEAD + "  - {match: [{uri: {regex: REGEX}}], directResponse: {status: 200}}\n"

    assert analyzed(text.replace("REGEX", "/" + "a" * 1023), "GW234") == []
    assert len(analyzed(text.replace("REGEX", "/" + "a" * 1024), "GW234")) == 1
