"""GatewaySettings `rateLimits` and `jwks`: what is read and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.config import load


def findings(limits: list[dict[str, Any]]) -> list[tuple[str, int]]:
    document = {
        "apiVersion": "gateway.asgi/v1",
        "kind": "GatewaySettings",
        "metadata": {"name": "s"},
        "spec": {"rateLimits": limits},
    }
    loaded = load([], texts={"f": yaml.safe_dump(document, sort_keys=False)})
    return [(finding.code, finding.line - 6) for finding in loaded.findings]


def test_a_limit_is_read_with_its_defaults() -> None:
    """Three words are enough: so many a second for each client."""
    text = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec:\n  rateLimits:\n  - {name: a, requests: 10}\n"
    settings = load([], texts={"f": text}).require().settings.spec
    (limit,) = settings.rate_limits

    assert (limit.key, limit.per, limit.burst, limit.match.hosts) == (("clientAddress",), 1.0, None, ())
    assert not settings.jwks.allow_http


@pytest.mark.parametrize(
    "key", [[], ["path"], ["principal", "clientAddress"], ["header:x-api-key"], ["claim:realm.tier"]]
)
def test_keys(key: list[str]) -> None:
    """Each part is one of a few words, or names a header or a claim."""
    assert findings([{"name": "a", "requests": 1, "key": key}]) == []


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"requests": 1, "key": ["ip"]}, "GW033"),
        ({"requests": 1, "key": ["claim:"]}, "GW033"),
        ({"requests": 1, "key": ["header:a b"]}, "GW039"),
        ({"requests": 1, "key": ["header:"]}, "GW039"),
        ({"requests": 1, "key": ["path", "path"]}, "GW043"),
        ({"requests": 0}, "GW037"),
        ({"requests": 1, "burst": 0}, "GW037"),
        ({"requests": 1, "per": 5}, "GW034"),
        ({"requests": 1, "match": {"paths": ["api"]}}, "GW035"),
        ({"requests": 1, "match": {"hosts": ["a b"]}}, "GW035"),
        ({"requests": 1, "match": {"routes": [""]}}, "GW032"),
        ({"requests": 1, "matches": {}}, "GW030"),
    ],
)
def test_mistakes(limit: dict[str, Any], expected: str) -> None:
    """Told with their place."""
    (found,) = {code for code, _ in findings([{"name": "a", **limit}])}

    assert found == expected


def test_names_are_unique() -> None:
    """Buckets belong to a name."""
    assert findings([{"name": "a", "requests": 1}, {"name": "a", "requests": 2}]) == [("GW043", 3)]
