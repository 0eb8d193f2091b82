"""A compiled generation as a whole: the founding document's canary."""

from __future__ import annotations

from collections import Counter

from support.routing import chosen, request, service, snapshot

CANARY = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
  - reviews
  http:
  - match:
    - headers:
        user-agent:
          regex: ".*Chrome.*"
    route:
    - destination:
        host: reviews
        subset: v2
      weight: 100
  - route:
    - destination:
        host: reviews
        subset: v1
      weight: 90
    - destination:
        host: reviews
        subset: v2
      weight: 10
"""


def test_chrome_goes_to_v2_and_everyone_else_by_weight() -> None:
    """Header match first, then 90 to 10."""
    snap = snapshot(CANARY, service("reviews", versions=("v1", "v2")))
    chrome = chosen(snap, request("/", {"user-agent": "Mozilla Chrome/120"}))
    others = chosen(snap, request("/", {"user-agent": "curl"}))
    assert chrome is not None
    assert others is not None

    draws = range(1000)
    assert {chrome.choose(draw).cluster_name.split("|")[2] for draw in draws} == {"v2"}
    assert Counter(others.choose(draw).cluster_name.split("|")[2] for draw in draws) == {"v1": 900, "v2": 100}
    assert chrome.destinations[0].cluster is others.destinations[1].cluster


def test_an_empty_configuration_has_no_routes() -> None:
    """Every request is answered 404 with flag NR."""
    snap = snapshot(service("reviews"))

    assert chosen(snap, request()) is None
    assert (snap.generation, dict(snap.listeners)) == (1, {})
    assert repr(snap) == "<Snapshot 1 listeners [] clusters 1>"
