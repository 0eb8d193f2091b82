"""The retry budget's arithmetic: never more than the share, savings included."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.budget import RetryBudget
from gateway.upstream.cluster_config import UNLIMITED, RetryShare


def take(limited: RetryBudget, active: int, attempts: int) -> bool:
    """Whether a retry is granted at one moment: nothing comes back by time."""
    return not limited.take(active, attempts, 0.0)


def budget(percent: float = 20.0, least: int = 3, burst: float = 0.0) -> RetryBudget:
    made = RetryBudget()
    made.follow(RetryShare(percent, least, burst), UNLIMITED)
    return made


@pytest.mark.parametrize(
    ("percent", "least", "active", "most"),
    [
        (20.0, 3, 0, 3),
        (20.0, 3, 19, 3),
        (20.0, 3, 20, 4),
        (20.0, 3, 100, 20),
        (0.0, 0, 100, 0),
        (100.0, 0, 7, 7),
    ],
)
def test_a_share_of_the_requests_in_flight_may_be_retries(
    percent: float, least: int, active: int, most: int
) -> None:
    """Never fewer than `least`; fractions are cut off."""
    assert budget(percent, least).most(active) == most


def test_retries_are_no_reason_for_retries() -> None:
    """Twenty in flight of which ten are retries: the share is of the other ten. Envoy's is of all."""
    limited, envoys = budget(20.0, 0, burst=1.0), budget(20.0, 0)
    limited.in_flight = envoys.in_flight = 10
    assert limited.most(20) == 2
    assert envoys.most(20) == 4


def test_without_a_share_only_the_number_limits() -> None:
    limited = RetryBudget()
    assert limited.most(0) == UNLIMITED
    limited.follow(None, 2)
    assert [take(limited, 0, n) for n in range(3)] == [True, True, False]
    limited.give_back()
    assert take(limited, 0, 4)
    assert (limited.in_flight, limited.refused) == (2, 1)


def test_requests_that_need_no_retry_save_up_for_those_that_do() -> None:
    """An endpoint dies under sixteen requests after a hundred went well: all sixteen are repeated."""
    limited = budget(burst=25.0)
    assert take(limited, 16, 116)
    assert [take(limited, 16, 116) for _ in range(15)] == [True] * 15
    for _ in range(16):
        limited.give_back()
    assert limited.saved == 10.0


def test_an_attempt_that_failed_earns_nothing_whenever_it_is_told() -> None:
    """Ten attempts, all failed; the count of attempts runs ahead of the failures."""
    limited = budget(100.0, 0, 25.0)
    granted = [take(limited, 0, 10) for _ in range(10)]
    assert sum(granted) == 9
    limited.failed()
    assert not take(limited, 0, 20)


def test_an_endpoint_that_leaves_with_its_count_costs_no_savings() -> None:
    limited = budget(10.0, 0, 25.0)
    assert take(limited, 0, 101)
    assert limited.saved == 9.0
    take(limited, 0, 5)
    assert limited.saved == 8.0
    take(limited, 0, 27)
    assert limited.saved == 9.0


def test_savings_have_an_end() -> None:
    limited = budget(least=0, burst=5.0)
    granted = [take(limited, 1, 10_000) for _ in range(10)]
    assert granted == [True] * 5 + [False] * 5


def test_a_new_configuration_cannot_leave_more_savings_than_it_allows() -> None:
    limited = budget(least=0, burst=25.0)
    take(limited, 0, 10_000)
    limited.follow(RetryShare(20.0, 0, 3.0), UNLIMITED)
    assert limited.saved == 3.0
    limited.follow(None, 7)
    assert limited.saved == 0.0


@settings(max_examples=200)
@given(st.lists(st.booleans(), min_size=1, max_size=300), st.floats(0.0, 100.0), st.integers(0, 25))
def test_one_after_the_other_retries_are_at_most_their_share_of_the_requests(
    fails: list[bool], percent: float, burst: int
) -> None:
    """With no retry for free (`least` 0) and one request at a time only savings pay, and they were earned."""
    limited = budget(percent, 0, float(burst))
    attempts = retries = 0
    for requests, failed in enumerate(fails, 1):
        attempts += 1
        if failed:
            if take(limited, 0, attempts):
                retries += 1
                attempts += 1
                limited.failed()
                limited.give_back()
            assert retries <= percent / 100.0 * requests
    assert limited.in_flight == 0


@settings(max_examples=200)
@given(st.integers(1, 500), st.floats(0.0, 100.0), st.integers(0, 10))
def test_while_everything_fails_at_once_no_more_than_the_share_is_repeated(
    together: int, percent: float, least: int
) -> None:
    limited = budget(percent, least, 25.0)
    granted = sum(take(limited, together, together) for _ in range(together))
    earned = min(25.0, (together - 1) * percent / 100.0)
    assert granted <= max(least, int(percent / 100.0 * together)) + earned
