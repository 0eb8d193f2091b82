"""Routing as plain data."""

from __future__ import annotations

import json

from support.routing import request, service, snapshot

from gateway.routing.describe import describe_snapshot
from gateway.routing.explain import choose

DOCUMENT = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: canary
    match: [{name: chrome, headers: {user-agent: {regex: ".*Chrome.*"}}}]
    route: [{destination: {host: reviews, subset: v2}, headers: {request: {set: {x-a: "1"}}}}]
    timeout: 3s
    rewrite: {authority: other}
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {prefix: /new}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: nobody}, weight: 10}
    retries: {attempts: 0}
"""


def test_a_dump_is_json() -> None:
    """Absent features are left out; unknown clusters are named as such."""
    dump = json.loads(
        json.dumps(describe_snapshot(snapshot(DOCUMENT, service("reviews", versions=("v1", "v2")))))
    )
    (listener,) = dump["listeners"]
    (host,) = listener["virtual_hosts"]
    canary, moved, split = host["routes"]

    assert (listener["name"], host["name"]) == ("mesh", "reviews.default.svc.cluster.local")
    assert canary["name"] == "canary.chrome"
    assert canary["match"] == ['header user-agent regex ".*Chrome.*"']
    assert canary["timeout"] == 3.0
    assert canary["destinations"] == [
        {
            "cluster": "outbound|9080|v2|reviews.default.svc.cluster.local",
            "known": True,
            "weight": 1,
            "percent": 100.0,
            "authority": "other",
            "request_ops": "<HeaderOps =x-a>",
        }
    ]
    assert moved == {
        "name": "",
        "virtual_service": "default/reviews",
        "source": "default/reviews http[1].match[0]",
        "match": ['path prefix "/old"'],
        "answers": True,
    }
    assert [(item["known"], item["percent"]) for item in split["destinations"]] == [
        (True, 90.0),
        (False, 10.0),
    ]
    assert "retries" not in split


def test_an_explanation_says_why_each_route_lost() -> None:
    """Up to the one that was chosen, or all of them."""
    listener = snapshot(DOCUMENT, service("reviews", versions=("v1", "v2"))).default

    found = choose(listener, request("/new/x"))
    lost = choose(listener, request("/x"))
    nowhere = choose(listener, request(host="nobody"))

    assert [[f"{test.subject} {test.wanted}" for test in step.failed] for step in found.tried] == [
        ["header user-agent regex '.*Chrome.*'"],
        ["path prefix '/old'"],
        [],
    ]
    assert found.route is not None
    assert str(found.route.source) == "default/reviews http[2].match[0]"
    assert (len(lost.tried), lost.route) == (3, None)
    assert (nowhere.host.name, nowhere.tried) == (None, ())
