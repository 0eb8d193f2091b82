"""Decisions, as tests of routes read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stage import route, service

from gateway.testing.decision import Decision, Routes

POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-sleep}
spec:
  action: ALLOW
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]}]
---"""
SPLIT = """
  - name: split
    match: [{uri: {prefix: /split}}]
    route:
    - {destination: {host: reviews}, weight: 25}
    - {destination: {host: other.test}, weight: 75}
    mirror: {host: other.test}
    mirrorPercentage: {value: 10}
  - name: moved
    match: [{uri: {prefix: /moved}}]
    redirect: {uri: /new}
  - name: plain
    match: [{uri: {prefix: /plain}}]
    route: [{destination: {host: reviews}}]
  - name: lost
    match: [{uri: {prefix: /lost}}]
    route: [{destination: {host: nowhere.test}}]"""


def routes(tmp_path: Path, config: str) -> Routes:
    path = tmp_path / "routes.yaml"
    path.write_text(config)
    return Routes.load([str(path)])


@pytest.fixture
def split(tmp_path: Path) -> Routes:
    return routes(tmp_path, service("reviews", 1) + service("other.test", 2) + route("reviews", SPLIT))


def test_shares_and_draws(split: Routes) -> None:
    decision = split.get("/split")
    assert decision.forwarded
    assert decision.destinations == {"reviews": 25.0, "other.test": 75.0}
    assert decision.mirrors == {"other.test": 10.0}
    drawn = decision.draws(4000, seed=1)
    assert drawn.total() == 4000
    assert 800 < drawn["reviews"] < 1200
    with pytest.raises(ValueError, match="not one destination"):
        _ = decision.destination


def test_one_destination(split: Routes) -> None:
    decision = split.post("/plain?q=1", headers={"x-a": "1"})
    assert (decision.route, decision.destination, decision.path) == ("plain", "reviews", "/plain")
    assert decision.source == "default/reviews http[2].match[0]"
    assert (decision.headers["x-a"], decision.headers["host"]) == ("1", "reviews")
    assert (decision.status, decision.flag, decision.allowed) == (None, "", True)
    with pytest.raises(LookupError):
        decision.sent("elsewhere")


def test_answers_of_the_gateway(split: Routes) -> None:
    moved, unrouted, lost = split.get("/moved"), split.get("/x"), split.get("/lost")
    assert (moved.status, moved.answer_headers["location"]) == (301, "http://reviews/new")
    assert (unrouted.status, unrouted.flag, unrouted.route) == (404, "NR", "")
    assert (lost.status, lost.flag, lost.forwarded) == (503, "NC", False)
    assert moved.draws(3).total() == 0
    assert repr(unrouted) == "<Decision 404 NR route_not_found>"


def test_policies_and_identities(tmp_path: Path) -> None:
    asked = routes(tmp_path, service("reviews", 1) + route("reviews", SPLIT) + POLICY)
    stranger = asked.get("/plain")
    friend = asked.get("/plain", principal="cluster.local/ns/default/sa/sleep")
    assert (stranger.allowed, stranger.status, stranger.body) == (False, 403, "RBAC: access denied")
    assert stranger.refused.startswith("rbac_access_denied")
    assert not stranger.verdicts["default/only-sleep"].matched
    assert friend.allowed
    assert friend.destination == "reviews"


def test_every_method_has_its_word(split: Routes) -> None:
    for method in ("get", "head", "post", "put", "patch", "delete", "options"):
        decision: Decision = getattr(split, method)("/plain")
        request = decision.explanation.request
        assert request is not None
        assert request.method == method.upper()


def test_the_host_can_be_said(tmp_path: Path) -> None:
    """By the URL, the request, a header or a default; with several hosts one of them must be."""
    asked = routes(tmp_path, service("reviews", 1) + route("a.test", SPLIT) + route("b.test", SPLIT))
    assert asked.at("a.test").get("/plain").route == "plain"
    assert asked.get("http://b.test/plain").route == "plain"
    assert asked.get("/plain", headers={"Host": "b.test"}).route == "plain"
    for decision in (asked.get("/plain", host="b.test"), asked.at("a.test").get("/plain", host="b.test")):
        assert decision.explanation.choice is not None
        assert decision.explanation.choice.host.name == "b.test"
    with pytest.raises(ValueError, match=r"which host.*a.test, b.test"):
        asked.get("/plain")
