"""Which DestinationRule holds, and what of it for one port of one subset."""

from __future__ import annotations

import pytest
from support.documents import config_of
from test_services import settings

from gateway.upstream.rules import NOTHING, Rule, Rules, blocks

HOST = "reviews.shop.svc.cluster.local"


def rule(name: str, host: str, balancer: str = "", namespace: str = "default", **more: str) -> str:
    """A rule that can be told by its balancer: ROUND_ROBIN, RANDOM or LEAST_REQUEST."""
    policy = f"trafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}" if balancer else ""
    rest = ", ".join(filter(None, [policy, more.get("spec", "")]))
    return (
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: {name}, namespace: {namespace}{more.get('metadata', '')}}}\n"
        f"spec: {{host: '{host}'{', ' + rest if rest else ''}}}\n---\n"
    )


def find(text: str, host: str = HOST, home: str = "shop") -> Rule | None:
    return Rules(config_of(text)).find(host, home)


def balancer(found: Rule | None) -> str | None:
    policy = blocks(found, None, 80).load_balancer
    return None if policy is None else policy.simple


def test_the_first_namespace_with_a_match_decides() -> None:
    """The gateway's own, then the service's, then the root's, however specific the others are."""
    everywhere = (
        rule("a", "*.local", "ROUND_ROBIN", "edge")
        + rule("b", HOST, "RANDOM", "shop")
        + rule("c", HOST, "LEAST_REQUEST", "istio-system")
    )
    assert balancer(find(everywhere + settings("namespace: edge"))) == "ROUND_ROBIN"
    assert balancer(find(everywhere + settings("namespace: other"))) == "RANDOM"
    assert balancer(find(everywhere + settings("namespace: other"), home="bank")) == "LEAST_REQUEST"
    assert find(rule("a", HOST, "RANDOM", "elsewhere")) is None


def test_a_gateway_in_the_root_namespace_asks_the_service_first() -> None:
    text = rule("a", HOST, "ROUND_ROBIN", "istio-system") + rule("b", HOST, "RANDOM", "shop")
    assert balancer(find(text + settings("namespace: istio-system"))) == "RANDOM"


def test_inside_a_namespace_the_most_specific_host_wins() -> None:
    text = rule("a", "*.local", "ROUND_ROBIN") + rule("b", "*.shop.svc.cluster.local", "RANDOM")
    assert balancer(find(text)) == "RANDOM"
    assert balancer(find(text + rule("c", HOST, "LEAST_REQUEST"))) == "LEAST_REQUEST"
    assert balancer(find(text, "ratings.bank.svc.cluster.local")) == "ROUND_ROBIN"
    assert find(text, "local") is None


def test_a_short_host_belongs_to_the_rules_namespace() -> None:
    assert balancer(find(rule("a", "reviews", "RANDOM", "shop"))) == "RANDOM"
    assert find(rule("a", "reviews", "RANDOM", "bank")) is None


def test_rules_of_the_same_host_merge() -> None:
    """Subsets add up, the first of a name stays; the oldest policy wins, wherever it comes from."""
    subset = "subsets: [{{name: {}, labels: {{v: '{}'}}}}]"
    text = (
        rule("b", "reviews", "RANDOM", "shop", spec=subset.format("v1", "b"))
        + rule("a", "reviews", "", "shop", spec=subset.format("v1", "a"))
        + rule("c", "reviews", "ROUND_ROBIN", "shop", spec=subset.format("v2", "c"))
    )
    found = find(text)
    assert found is not None
    assert {name: subset.labels["v"] for name, subset in found.subsets.items()} == {"v1": "a", "v2": "c"}
    assert balancer(found) == "RANDOM"


def test_age_orders_rules_before_their_names() -> None:
    text = rule("a", HOST, "RANDOM", metadata=", creationTimestamp: '2022-01-01T00:00:00Z'") + rule(
        "b", HOST, "ROUND_ROBIN", metadata=", creationTimestamp: '2021-01-01T00:00:00Z'"
    )
    assert balancer(find(text)) == "ROUND_ROBIN"


def test_a_rule_for_this_gateways_labels_goes_before_one_for_all() -> None:
    selecting = rule("z", HOST, "RANDOM", "edge", spec="workloadSelector: {matchLabels: {app: edge}}")
    general = rule("a", HOST, "ROUND_ROBIN", "edge")
    for text in (selecting + general, general + selecting):
        assert balancer(find(text + settings("namespace: edge, labels: {app: edge}"))) == "RANDOM"
        assert balancer(find(text + settings("namespace: edge, labels: {app: other}"))) == "ROUND_ROBIN"
    foreign = rule("z", HOST, "RANDOM", "shop", spec="workloadSelector: {matchLabels: {app: edge}}")
    assert find(foreign + settings("namespace: edge, labels: {app: edge}")) is None


def test_rules_that_are_not_exported_here_do_not_count() -> None:
    text = rule("a", HOST, "RANDOM", "shop", spec="exportTo: ['.']")
    assert find(text + settings("namespace: edge")) is None
    assert balancer(find(text + settings("namespace: shop"))) == "RANDOM"


POLICY = """
trafficPolicy: {
  loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 1}},
  portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: ROUND_ROBIN}}]},
subsets: [
  {name: plain},
  {name: pool, trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}},
  {name: port, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST},
    portLevelSettings: [{port: {number: 81}, connectionPool: {tcp: {maxConnections: 3}}}]}}]
"""


@pytest.mark.parametrize(
    ("subset", "port", "simple", "connections"),
    [
        (None, 80, "RANDOM", 1),
        (None, 81, "ROUND_ROBIN", None),
        ("plain", 80, "RANDOM", 1),
        ("plain", 81, "ROUND_ROBIN", None),
        ("pool", 80, "RANDOM", 2),
        ("pool", 81, "ROUND_ROBIN", 2),
        ("port", 80, "LEAST_REQUEST", 1),
        ("port", 81, None, 3),
    ],
)
def test_inheritance(subset: str | None, port: int, simple: str | None, connections: int | None) -> None:
    """
    A subset replaces whole blocks; a port-level entry replaces all of them, and what it leaves out is
    Istio's default, not the rule's.
    """
    found = find(rule("a", HOST, spec=POLICY.replace("\n", " ")))
    assert found is not None
    policy = blocks(found, found.subsets[subset] if subset else None, port)
    pool = policy.connection_pool
    assert (policy.load_balancer.simple if policy.load_balancer else None) == simple
    assert (pool.tcp.max_connections if pool and pool.tcp else None) == connections


def test_without_a_rule_everything_is_default() -> None:
    assert blocks(None, None, 80) == NOTHING
