"""How load moves between tiers: Envoy's documented tables, and what always holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.panic import loads


def percents(*tiers: tuple[int, int], threshold: int = 50) -> list[int]:
    return [load.percent for load in loads(tiers, threshold)]


@pytest.mark.parametrize(
    ("first", "second"), [(100, 100), (72, 100), (71, 99), (50, 70), (25, 35), (1, 1), (0, 0)]
)
def test_a_tier_spills_when_its_healthy_share_times_1_4_is_below_all(first: int, second: int) -> None:
    """Envoy's table for two priorities, the second all well (its 71 % is 99, not 100: whole numbers)."""
    assert percents((first, 100), (100, 100)) == [second, 100 - second]


def test_load_is_scaled_up_when_all_tiers_together_are_too_few() -> None:
    """Envoy's example: 25 % and 25 % well are worth 35 and 35, that is half of the load each."""
    assert percents((25, 100), (25, 100), threshold=0) == [50, 50]


def test_three_tiers_fill_up_in_order() -> None:
    assert percents((0, 10), (5, 10), (10, 10)) == [0, 70, 30]


def test_panic_of_a_single_tier_is_below_its_threshold() -> None:
    assert [load.everyone for load in loads([(4, 10)], 40)] == [False]
    assert [load.everyone for load in loads([(3, 10)], 40)] == [True]
    assert [load.everyone for load in loads([(0, 10)], 0)] == [False]


def test_there_is_no_panic_while_the_tiers_together_can_take_everything() -> None:
    """However few of the first are well."""
    assert [tuple(load) for load in loads([(1, 10), (9, 10)], 50)] == [(14, False), (86, False)]


def test_in_panic_everywhere_load_follows_the_number_of_endpoints() -> None:
    assert [tuple(load) for load in loads([(0, 3), (0, 9)], 50)] == [(25, True), (75, True)]
    assert [tuple(load) for load in loads([(0, 0), (0, 9)], 50)] == [(0, True), (100, True)]


def test_one_of_very_many_is_still_somebody() -> None:
    """1 of 200 times 1.4 rounds to nothing."""
    assert [tuple(load) for load in loads([(1, 200)], 0)] == [(100, False)]
    assert [tuple(load) for load in loads([(1, 200)], 1)] == [(100, True)]


def test_no_endpoints_are_no_error() -> None:
    assert percents((0, 0)) == percents((0, 0), threshold=0) == [100]


TIERS = st.lists(
    st.integers(0, 300).flatmap(lambda every: st.tuples(st.integers(0, every), st.just(every))),
    min_size=1,
    max_size=5,
)


@given(tiers=TIERS, threshold=st.integers(0, 100))
def test_shares_add_up_and_go_to_who_can_answer(tiers: list[tuple[int, int]], threshold: int) -> None:
    """To tiers without anybody well only in panic, or when there is nobody at all."""
    found = loads(tiers, threshold)
    assert sum(load.percent for load in found) == 100
    assert all(0 <= load.percent <= 100 for load in found)
    if any(140 * well // every for well, every in tiers if every):
        for load, (well, _) in zip(found, tiers, strict=True):
            assert well or not load.percent or load.everyone
    if not threshold:
        assert not any(load.everyone for load in found)
