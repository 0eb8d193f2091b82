"""Rings and Maglev tables: even, weighted, and steady when endpoints come and go."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.consistent_hash import MAGLEV_TABLE_SIZE, MIN_RING_SIZE, Maglev, Ring, hash64

KEYS = [b"user-%d" % number for number in range(3000)]
PRIME = 2039
"""A small Maglev table, quick to build."""


def places(table: Ring | Maglev, identities: tuple[tuple[str, int], ...]) -> dict[bytes, str]:
    return {key: identities[table.index(key)][0] for key in KEYS}


def endpoints(count: int, weight: int = 1) -> tuple[tuple[str, int], ...]:
    return tuple((f"10.0.0.{number}:80", weight) for number in range(count))


@pytest.mark.parametrize(("kind", "size"), [(Ring, 0), (Maglev, PRIME)])
def test_keys_spread_evenly(kind: type[Ring | Maglev], size: int) -> None:
    found = Counter(places(kind(endpoints(5), size), endpoints(5)).values())
    assert len(found) == 5
    assert max(found.values()) < 1.5 * len(KEYS) / 5


@pytest.mark.parametrize(("kind", "size"), [(Ring, 0), (Maglev, PRIME)])
def test_weights_give_shares(kind: type[Ring | Maglev], size: int) -> None:
    identities = (("a:1", 1), ("b:1", 3))
    found = Counter(places(kind(identities, size), identities).values())
    assert 0.65 < found["b:1"] / len(KEYS) < 0.85


@pytest.mark.parametrize(("kind", "size", "moved"), [(Ring, 0, 0.2), (Maglev, PRIME, 0.1)])
def test_only_the_keys_of_a_lost_endpoint_move(kind: type[Ring | Maglev], size: int, moved: float) -> None:
    """
    Nearly: the others get more points on the ring to fill it, and Maglev moves a few to stay perfectly even.
    Hashing modulo the number of endpoints would move four of five.
    """
    before, after = endpoints(5), endpoints(5)[:4]
    old, new = places(kind(before, size), before), places(kind(after, size), after)
    stayed = [key for key in KEYS if old[key] != "10.0.0.4:80"]
    changed = sum(old[key] != new[key] for key in stayed)
    assert changed <= moved * len(stayed)


@pytest.mark.parametrize(("kind", "size"), [(Ring, 0), (Maglev, PRIME)])
def test_the_same_endpoints_always_give_the_same_table(kind: type[Ring | Maglev], size: int) -> None:
    """In every process and after every restart: Python's own hash would not."""
    one, other = kind(endpoints(3), size), kind(endpoints(3), size)
    assert places(one, endpoints(3)) == places(other, endpoints(3))
    assert one.made_of(endpoints(3), size)
    assert not one.made_of(endpoints(2), size)
    assert not one.made_of(endpoints(3), size + 1)


def test_hash_is_pinned() -> None:
    """Stickiness survives an upgrade only when this never changes."""
    assert hash64(b"user-1") == 0x9AAC5A8621EAE188


@pytest.mark.parametrize(("count", "weight", "size"), [(1, 1, 0), (3, 1, 0), (3, 7, 5000), (5, 1, 1)])
def test_a_ring_has_at_least_its_size(count: int, weight: int, size: int) -> None:
    ring = Ring(endpoints(count, weight), size)
    assert (size or MIN_RING_SIZE) <= len(ring) <= (size or MIN_RING_SIZE) + count


def test_the_lightest_endpoint_has_a_point_on_the_ring() -> None:
    ring = Ring((("heavy:1", 100_000), ("light:1", 1)), 0)
    assert set(ring._owners) == {0, 1}


def test_a_maglev_table_is_full_and_even() -> None:
    table = Maglev(endpoints(7), 0)
    shares = Counter(table._owners)
    assert len(table) == MAGLEV_TABLE_SIZE
    assert max(shares.values()) - min(shares.values()) <= 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.binary(max_size=20))
@settings(max_examples=60)
def test_every_key_has_an_endpoint(weights: list[int], key: bytes) -> None:
    identities = tuple((f"10.0.0.{number}:80", weight) for number, weight in enumerate(weights))
    for table in (Ring(identities, 64), Maglev(identities, 211)):
        assert 0 <= table.index(key) < len(weights)
        assert table.index(key) == table.index(key)


def test_points_of_a_ring_are_sorted() -> None:
    """Lookup is a bisection."""
    assert all(one <= other for one, other in pairwise(Ring(endpoints(4), 0)._hashes))
