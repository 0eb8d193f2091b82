"""Tiers and localities: who gets what while all are well, and when some are not."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import FakeClock

from gateway.config.outlier import OutlierDetection
from gateway.upstream import Cluster, ClusterConfig, Endpoint, Policy
from gateway.upstream.balancer import Balancer, Split
from gateway.upstream.pool import Pool
from gateway.upstream.selection import Member, select

HASHING = [Policy.RING_HASH, Policy.MAGLEV]


def cluster(
    *places: tuple[int, str],
    policy: Policy = Policy.RANDOM,
    weights: dict[str, int] | None = None,
    health: int = 0,
    size: int = 1021,
) -> Cluster:
    """A cluster of endpoints with priority and locality."""
    config = ClusterConfig(
        name="c",
        host="c",
        port=80,
        policy=policy,
        table_size=size,
        locality_weights=weights or {},
        outlier=OutlierDetection(min_health_percent=health),
    )
    pool = Pool("c", FakeClock())
    members = [
        Member(pool.endpoint(f"10.0.0.{number}", 80), 1, priority, place)
        for number, (priority, place) in enumerate(places)
    ]
    return Cluster(config, pool, select(config, members, Random(1), None, 0.0), members)


def break_(made: Cluster, *numbers: int) -> None:
    """Only these fail their checks."""
    for number, endpoint in enumerate(made.endpoints):
        endpoint.failed_check = number in numbers
    made.rebalance()


def shares(made: Cluster, count: int = 4000) -> list[float]:
    """The part of the requests that each endpoint gets; keys are all different."""
    found: Counter[Endpoint | None] = Counter(made.pick(b"%d" % n) for n in range(count))
    return [found[endpoint] / count for endpoint in made.endpoints]


def near(*expected: float) -> object:
    return pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("policy", Policy)
def test_lower_tiers_get_nothing_while_the_first_is_well(policy: Policy) -> None:
    made = cluster((0, ""), (0, ""), (1, ""), policy=policy)
    assert shares(made)[2] == 0.0
    assert not isinstance(made.balancer, Split), "and the other tier costs a pick nothing"


@pytest.mark.parametrize("policy", Policy)
def test_half_of_the_first_tier_keeps_seventy_percent(policy: Policy) -> None:
    made = cluster((0, ""), (0, ""), (1, ""), policy=policy)
    break_(made, 0)
    assert shares(made) == near(0.0, 0.7, 0.3)
    break_(made, 0, 1)
    assert shares(made) == [0.0, 0.0, 1.0]
    break_(made)
    assert shares(made)[2] == 0.0


@pytest.mark.parametrize("policy", HASHING)
def test_a_key_stays_in_its_tier(policy: Policy) -> None:
    """The key decides about the tier, not chance; without a key it is chance."""
    made = cluster((0, ""), (0, ""), (1, ""), policy=policy)
    break_(made, 0)
    for key in (b"a", b"b", b"c", b"d"):
        assert len({made.pick(key) for _ in range(20)}) == 1
    assert len({made.pick(None) for _ in range(100)}) == 2


def test_keys_are_even_inside_a_tier() -> None:
    """Keys that fell into the tier are hashed anew: by the same hash they would all lie in one part of its ring."""
    made = cluster((0, ""), (0, ""), *[(1, "")] * 8, policy=Policy.RING_HASH, size=1)
    break_(made, 0)
    assert all(shares(made)[2:])


@pytest.mark.parametrize("policy", HASHING)
def test_tables_are_made_once_for_all_tiers(policy: Policy) -> None:
    """Load may move within a turn of the loop, and a table takes a tenth of a second."""
    made = cluster((0, ""), (0, ""), (1, ""), (1, ""), policy=policy)
    tables = set(made.balancer.tables)
    assert len(tables) == 2
    for broken in ((0,), (0, 1), (0, 1, 2), (0, 1, 2, 3), ()):
        break_(made, *broken)
        assert set(made.balancer.tables) == tables


def test_localities_share_as_written() -> None:
    made = cluster((0, "a"), (0, "a"), (0, "b"), weights={"a": 80, "b": 20})
    assert shares(made) == near(0.4, 0.4, 0.2)


@pytest.mark.parametrize("policy", Policy)
def test_a_locality_keeps_its_weight_until_too_few_are_well(policy: Policy) -> None:
    """One of two well is worth 70 % of the weight: 35 to 50. None: nothing."""
    made = cluster((0, "a"), (0, "a"), (0, "b"), policy=policy, weights={"a": 50, "b": 50})
    break_(made, 0)
    assert shares(made) == near(0.0, 35 / 85, 50 / 85)
    break_(made, 0, 1)
    assert shares(made) == [0.0, 0.0, 1.0]
    break_(made, 0, 1, 2)
    assert made.pick(b"key") is None


def test_panic_forgets_localities() -> None:
    made = cluster((0, "a"), (0, "b"), (0, "b"), (0, "b"), weights={"a": 90, "b": 10}, health=50)
    break_(made, 1, 2, 3)
    assert shares(made) == near(0.25, 0.25, 0.25, 0.25)


def test_a_cluster_without_endpoints_has_nobody_to_pick() -> None:
    for policy in Policy:
        for weights in ({}, {"a": 100}):
            assert cluster(policy=policy, weights=weights).pick(b"key") is None


def test_nobody_well_in_any_tier_is_nobody() -> None:
    made = cluster((0, ""), (1, ""))
    break_(made, 0, 1)
    assert made.pick() is None


def test_a_balancer_of_parts_tells_what_it_is() -> None:
    made = cluster((0, ""), (0, ""), (1, ""))
    break_(made, 0)
    balancer = made.balancer
    assert isinstance(balancer, Split)
    assert (repr(balancer), balancer.shares) == ("<Split endpoints 2>", (70, 30))
    assert balancer.weights == (1, 1)


def test_the_plain_case_is_the_plain_balancer() -> None:
    """No tiers, nobody out, nothing warming up: the very class there was without all this."""
    for policy in Policy:
        made = cluster((0, ""), (0, ""), policy=policy)
        assert type(made.balancer).__module__ == Balancer.__module__
        assert type(made.balancer).__name__ in {"Balancer", "LeastRequest", "RoundRobin", "HashBalancer"}


@settings(max_examples=40)
@given(
    tiers=st.lists(st.integers(0, 2), min_size=1, max_size=9),
    broken=st.sets(st.integers(0, 8)),
    policy=st.sampled_from(Policy),
    health=st.sampled_from([0, 50, 100]),
    key=st.booleans(),
)
def test_only_the_well_are_picked_unless_in_panic(
    tiers: list[int], broken: set[int], policy: Policy, health: int, key: bool
) -> None:
    made = cluster(*((tier, "") for tier in tiers), policy=policy, health=health)
    break_(made, *broken)
    picked = {made.pick(b"%d" % n if key else None) for n in range(100)}
    if all(number in broken for number in range(len(tiers))) and not health:
        assert picked == {None}
    elif not health:
        assert picked <= {item for item in made.endpoints if item.healthy}
    else:
        assert None not in picked
