"""Short names and wildcards."""

from __future__ import annotations

import pytest

from gateway.config.hosts import aliases, covers, fqdn


@pytest.mark.parametrize(
    ("host", "full"),
    [
        ("reviews", "reviews.shop.svc.cluster.local"),
        ("Reviews", "reviews.shop.svc.cluster.local"),
        ("reviews.prod", "reviews.prod"),
        ("API.example.com", "api.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("*", "*"),
        ("*.example.com", "*.example.com"),
    ],
)
def test_a_host_without_a_dot_is_a_service_of_the_namespace(host: str, full: str) -> None:
    assert fqdn(host, "shop", "cluster.local") == full


def test_a_service_has_its_short_names() -> None:
    """Hosts of the cluster only."""
    assert aliases("reviews.shop.svc.cluster.local", "cluster.local") == (
        "reviews.shop.svc.cluster.local",
        "reviews.shop.svc",
        "reviews.shop",
        "reviews",
    )
    for host in ("reviews.shop.svc.other", "*.shop.svc.cluster.local", "api.example.com"):
        assert aliases(host, "cluster.local") == (host,)


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("*.a.b", "x.a.b", True),
        ("*.a.b", "y.x.a.b", True),
        ("*.a.b", "a.b", False),
        ("*.a.b", "xa.b", False),
        ("a.b", "a.b", True),
        ("a.b", "x.a.b", False),
        ("*", "a", True),
        ("*.a.b", "*.x.a.b", True),
        ("*.a.b", "*", False),
        ("*.A.b", "X.a.B", True),
    ],
)
def test_wildcards_cover_what_is_below_them(pattern: str, host: str, covered: bool) -> None:
    assert covers(pattern, host) == covered
