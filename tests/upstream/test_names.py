"""Names and visibility."""

from __future__ import annotations

import pytest

from gateway.upstream.names import cluster_name, covers, exported, fqdn


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


def test_clusters_are_named_as_in_istio() -> None:
    assert cluster_name("reviews.default.svc.cluster.local", 9080, "v1") == (
        "outbound|9080|v1|reviews.default.svc.cluster.local"
    )
    assert cluster_name("api.example.com", 443, None) == "outbound|443||api.example.com"


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
    ],
)
def test_wildcards_cover_what_is_below_them(pattern: str, host: str, covered: bool) -> None:
    assert covers(pattern, host) == covered


@pytest.mark.parametrize(
    ("export_to", "visible"),
    [
        ((), True),
        (("*",), True),
        ((".",), False),
        (("other", "reader"), True),
        (("other",), False),
        (("~",), False),
    ],
)
def test_export_to_limits_who_sees_a_document(export_to: tuple[str, ...], visible: bool) -> None:
    assert exported(export_to, "own", "reader") == visible
    assert exported((".",), "own", "own")
