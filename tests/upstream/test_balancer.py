"""Which endpoint is next: each policy by its definition."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from support.clock import FakeClock

from gateway.upstream.balancer import Balancer, HashBalancer, balance
from gateway.upstream.cluster_config import Policy
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.pool import Pool


def balancer(
    policy: Policy, *weights: int, seed: int = 1, size: int = 0, old: Balancer | None = None
) -> Balancer:
    pool = Pool("test", FakeClock())
    members = [(pool.endpoint(f"10.0.0.{number}", 80), weight) for number, weight in enumerate(weights)]
    return balance(policy, size, members, Random(seed), old)


def picks(chosen: Balancer, count: int, key: bytes | None = None) -> list[int]:
    """Numbers of the endpoints picked."""
    return [chosen.endpoints.index(_some(chosen.pick(key))) for _ in range(count)]


def _some(endpoint: Endpoint | None) -> Endpoint:
    assert endpoint is not None
    return endpoint


@pytest.mark.parametrize("policy", Policy)
def test_without_endpoints_there_is_nothing_to_pick(policy: Policy) -> None:
    assert balancer(policy, size=211).pick(None) is None
    assert balancer(policy, size=211).pick(b"key") is None


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3)])
def test_every_endpoint_gets_requests(policy: Policy, weights: tuple[int, ...]) -> None:
    assert set(picks(balancer(policy, *weights, size=211), 500)) == {0, 1, 2}


def test_round_robin_goes_round_from_a_random_start() -> None:
    rounds = [picks(balancer(Policy.ROUND_ROBIN, 1, 1, 1, seed=seed), 6) for seed in range(20)]
    for found in rounds:
        start = found[0]
        assert found == [(start + turn) % 3 for turn in range(6)]
    assert {found[0] for found in rounds} == {0, 1, 2}


def test_weighted_round_robin_is_exact_and_smooth() -> None:
    """Of any 8 picks in a row 5, 2 and 1; and never the heavy one five times running."""
    found = picks(balancer(Policy.ROUND_ROBIN, 5, 2, 1), 800)
    assert Counter(found) == {0: 500, 1: 200, 2: 100}
    assert "00000" not in "".join(map(str, found))


def test_random_follows_the_weights() -> None:
    found = Counter(picks(balancer(Policy.RANDOM, 1, 3), 4000))
    assert 0.70 < found[1] / 4000 < 0.80


def test_least_request_prefers_the_less_busy_of_two() -> None:
    """
    Drawn with replacement: the busier of two endpoints still gets the quarter of requests in which both
    draws hit it.
    """
    chosen = balancer(Policy.LEAST_REQUEST, 1, 1)
    chosen.endpoints[0].active = 5
    found = Counter(picks(chosen, 4000))
    assert 0.21 < found[0] / 4000 < 0.29


def test_least_request_is_even_among_equals() -> None:
    found = Counter(picks(balancer(Policy.LEAST_REQUEST, 1, 1, 1, 1), 4000))
    assert all(850 < count < 1150 for count in found.values())


def test_least_request_with_weights_divides_by_what_is_active() -> None:
    """The share is weight / (active + 1): 3/1 against 1/1, and with two requests on the heavy one 3/3."""
    idle = Counter(picks(balancer(Policy.LEAST_REQUEST, 3, 1), 400))
    assert idle == {0: 300, 1: 100}
    chosen = balancer(Policy.LEAST_REQUEST, 3, 1)
    chosen.endpoints[0].active = 2
    assert Counter(picks(chosen, 400)) == {0: 200, 1: 200}


@pytest.mark.parametrize("policy", [Policy.RING_HASH, Policy.MAGLEV])
def test_a_key_has_one_place(policy: Policy) -> None:
    chosen = balancer(policy, 1, 1, 1, size=211)
    assert chosen.hashes
    for key in (b"alice", b"bob", b""):
        assert len(set(picks(chosen, 20, key))) == 1
    assert len({picks(chosen, 1, b"%d" % number)[0] for number in range(50)}) == 3


@pytest.mark.parametrize("policy", [Policy.RING_HASH, Policy.MAGLEV])
def test_a_table_is_built_once_for_the_same_endpoints(policy: Policy) -> None:
    """A reload that changes something else must not pay for it again."""
    first = balancer(policy, 1, 2, size=211)
    same, other, weighted, larger = (
        balancer(policy, *weights, size=size, old=first)
        for weights, size in (((1, 2), 211), ((1, 2, 1), 211), ((2, 2), 211), ((1, 2), 223))
    )
    assert isinstance(first, HashBalancer)
    tables = [item.table for item in (same, other, weighted, larger) if isinstance(item, HashBalancer)]
    assert [table is first.table for table in tables] == [True, False, False, False]


def test_a_ring_does_not_become_a_maglev_table() -> None:
    ring = balancer(Policy.RING_HASH, 1, 1, size=211)
    maglev = balancer(Policy.MAGLEV, 1, 1, size=211, old=ring)
    assert isinstance(ring, HashBalancer)
    assert isinstance(maglev, HashBalancer)
    assert type(ring.table) is not type(maglev.table)


def test_a_balancer_tells_what_it_is() -> None:
    assert repr(balancer(Policy.ROUND_ROBIN, 1, 2)) == "<WeightedRoundRobin endpoints 2>"
