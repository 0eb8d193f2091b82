"""Warm-up: the curve, and that it reaches the balancers."""

from __future__ import annotations

from collections import Counter

import pytest
from support.clock import FakeClock
from support.documents import config_of
from support.upstreams import cluster_of
from test_rules import rule
from test_services import STATIC, entry

from gateway.upstream import Cluster, Policy, plan
from gateway.upstream.cluster_config import Warmup
from gateway.upstream.selection import Member
from gateway.upstream.slow_start import share


@pytest.mark.parametrize(
    ("warmup", "age", "expected"),
    [
        (Warmup(60.0), 0.0, 0.1),
        (Warmup(60.0), 3.0, 0.1),
        (Warmup(60.0), 30.0, 0.5),
        (Warmup(60.0), 60.0, 1.0),
        (Warmup(60.0), 999.0, 1.0),
        (Warmup(60.0, minimum=0.3), 6.0, 0.3),
        (Warmup(100.0, aggression=2.0), 25.0, 0.5),
        (Warmup(100.0, aggression=0.5), 50.0, 0.25),
        (Warmup(100.0, minimum=0.0), 1.0, 0.01),
        (Warmup(100.0, minimum=0.0, aggression=0.01), 0.0, 1e-4),
    ],
)
def test_the_share_grows_as_envoys(warmup: Warmup, age: float, expected: float) -> None:
    """max(minimum, (age / duration) ^ (1 / aggression)), and never so small that it never comes."""
    assert share(warmup, age) == pytest.approx(expected)


def joined(policy: Policy, clock: FakeClock, warmup: Warmup | None) -> Cluster:
    """Three warm endpoints, and one that joins now."""
    cluster = cluster_of(1, 2, 3, clock=clock, policy=policy, warmup=warmup)
    clock.advance(1000.0)
    members = [*cluster.members, Member(cluster.pool.endpoint("127.0.0.1", 4), 1)]
    cluster.adopt(cluster.balancer, members)
    cluster.rebalance()
    return cluster


def part_of_the_new(cluster: Cluster, count: int = 6200) -> float:
    return Counter(cluster.pick() for _ in range(count))[cluster.endpoints[3]] / count


@pytest.mark.parametrize("policy", [Policy.ROUND_ROBIN, Policy.LEAST_REQUEST])
def test_a_new_endpoint_is_warmed_up(policy: Policy) -> None:
    """With a weight of 0.1 it gets 0.1 of 3.1 requests; half-way 0.5 of 3.5; then a quarter."""
    clock = FakeClock()
    cluster = joined(policy, clock, Warmup(60.0))
    assert part_of_the_new(cluster) == pytest.approx(0.1 / 3.1, rel=0.05)
    for expected in (0.5 / 3.5, 0.25):
        clock.advance(30.0)
        cluster.sweep(clock())
        # Least request draws two of equal ones, so its last share is a matter of chance.
        assert part_of_the_new(cluster) == pytest.approx(expected, rel=0.1)
    assert not cluster.warming


def test_without_warm_up_a_new_endpoint_gets_its_whole_share() -> None:
    cluster = joined(Policy.ROUND_ROBIN, FakeClock(), None)
    assert part_of_the_new(cluster) == pytest.approx(0.25, rel=0.01)
    assert not cluster.warming


def test_endpoints_that_start_together_share_as_ever() -> None:
    """All are equally cold: no weights, the plain balancer."""
    cluster = cluster_of(1, 2, clock=FakeClock(), policy=Policy.LEAST_REQUEST, warmup=Warmup(60.0))
    cluster.rebalance()
    assert (cluster.warming, type(cluster.balancer).__name__) == (True, "LeastRequest")


def test_a_warm_cluster_is_left_alone_by_the_sweep() -> None:
    clock = FakeClock()
    cluster = joined(Policy.ROUND_ROBIN, clock, Warmup(1.0))
    for same in (False, True):
        clock.advance(1.0)
        before = cluster.balancer
        cluster.sweep(clock())
        assert (cluster.balancer is before) == same


def test_weights_are_what_is_configured() -> None:
    """Whoever lists the endpoints sees weights, not shares of the moment."""
    clock = FakeClock()
    assert tuple(joined(Policy.ROUND_ROBIN, clock, Warmup(60.0)).weights) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        ("warmup: {duration: 60s}", Warmup(60.0)),
        ("warmup: {duration: 60s, minimumPercent: 0.0, aggression: 2.0}", Warmup(60.0, 0.0, 2.0)),
        ("warmupDurationSecs: 30s", Warmup(30.0)),
        ("simple: ROUND_ROBIN, warmup: {duration: 1s}", Warmup(1.0)),
        ("simple: RANDOM, warmup: {duration: 1s}", None),
        ("consistentHash: {useSourceIp: true}, warmup: {duration: 1s}", None),
        ("simple: ROUND_ROBIN", None),
    ],
)
def test_warm_up_is_for_round_robin_and_least_request(balancer: str, expected: Warmup | None) -> None:
    """As in Istio; both spellings."""
    endpoints = "endpoints: [{address: 10.0.0.1}]"
    text = entry("a", f"hosts: [reviews], {STATIC}, {endpoints}")
    text += rule("a", "reviews", spec=f"trafficPolicy: {{loadBalancer: {{{balancer}}}}}")
    (found,) = plan(config_of(text)).clusters.values()
    assert found.warmup == expected
