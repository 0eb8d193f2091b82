from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load
from gateway.demo.services import SERVICES, Backend, backends_of, bookinfo, parse

ROUTES = Path(__file__).parents[2] / "routes.yaml"


def test_every_loopback_endpoint_of_routes_yaml_gets_a_backend():
    """The sample configuration names all sample services, reviews in three versions."""
    config = load([ROUTES]).config
    backends = backends_of(config)
    assert {backend.service for backend in backends} == set(SERVICES)
    assert [b.version for b in backends if b.service == "reviews"] == ["v1", "v2", "v3"]
    assert len({(b.address, b.port) for b in backends}) == len(backends)


def test_endpoints_elsewhere_or_of_other_apps_get_no_backend():
    """Only loopback endpoints labelled as a sample service are served."""
    text = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mixed}
spec:
  hosts: [mixed.example.com]
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP, targetPort: 7000}]
  endpoints:
  - {address: 192.0.2.1, labels: {app: reviews}}
  - {address: 127.0.0.1, labels: {app: billing}}
  - {address: 127.0.0.1, labels: {app: reviews}}
"""
    config = load([], texts={"mixed.yaml": text}).config
    assert backends_of(config) == [Backend("reviews", "v1", "127.0.0.1", 7000)]


def test_a_backend_reads_back_what_it_prints():
    """`str` and `parse` agree."""
    backend = Backend("reviews", "v2", "127.0.0.1", 9084)
    assert parse(str(backend)) == backend


@pytest.mark.parametrize(
    "spec", ["", "reviews", "billing/v1@127.0.0.1:1", "reviews/v1@10.0.0.1:80", "reviews/v1@127.0.0.1:x"]
)
def test_a_malformed_spec_is_refused_by_name(spec: str):
    """The error repeats what was given."""
    with pytest.raises(ValueError, match="SERVICE/VERSION"):
        parse(spec)


@pytest.mark.parametrize(("version", "color"), [("v1", None), ("v2", "black"), ("v3", "red")])
def test_reviews_versions_differ_in_their_stars(version: str, color: str | None):
    """v1 shows no stars, v2 black ones, v3 red ones, as in Istio's sample."""
    assert {review.get("color") for review in bookinfo("reviews", version)["reviews"]} == {color}
