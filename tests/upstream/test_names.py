"""Names of clusters."""

from __future__ import annotations

from gateway.upstream.names import cluster_name


def test_clusters_are_named_as_in_istio() -> None:
    assert cluster_name("reviews.default.svc.cluster.local", 9080, "v1") == (
        "outbound|9080|v1|reviews.default.svc.cluster.local"
    )
    assert cluster_name("api.example.com", 443, None) == "outbound|443||api.example.com"
