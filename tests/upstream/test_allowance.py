"""Retries over time: in no span of time more than the share of the requests, and a reserve."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.allowance import Allowance
from gateway.upstream.budget import IN_FLIGHT, OVER_TIME, RetryBudget
from gateway.upstream.cluster_config import UNLIMITED, RetryReserve, RetryShare

HOUR = 3600.0
CLOSE = 1e-6
"""What sums of floats may be off."""


def allowance(percent: float = 20.0, size: float = 5.0, refill: float = HOUR) -> Allowance:
    return Allowance(percent, RetryReserve(size, refill))


def pays(purse: Allowance, active: int, requests: int, now: float = 0.0) -> bool:
    """Whether a retry is paid for."""
    paid = purse.suffices(active, requests, now)
    if paid:
        purse.spend()
    return paid


class Outage(NamedTuple):
    """Requests that came one after the other while everything failed."""

    attempts: int
    retried: list[bool]
    """Of each request, whether it was retried at all."""


def outage(requests: int, seconds: float, tries: int = 3, *, good: int = 0) -> Outage:
    """`requests` that all fail, `seconds` apart, each to be retried `tries` times, after `good` good ones."""
    budget = RetryBudget()
    budget.follow(RetryShare(20.0, 3, 25.0, RetryReserve()), UNLIMITED)
    attempts = good
    retried = []
    for number in range(requests):
        attempts += 1
        made = 0
        while made < tries and not budget.take(1, attempts, number * seconds):
            made += 1
            attempts += 1
            budget.give_back()
        budget.failed()
        retried.append(made > 0)
    return Outage(attempts - good, retried)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("requests", [260, 1000])
def test_at_any_rate_an_outage_costs_a_fifth_more(requests: int, seconds: float) -> None:
    """One request at a time, from a thousand a second to six a minute: what comes back by time is little."""
    told = outage(requests, seconds)
    assert told.attempts <= 1.2 * requests + requests * seconds * 5 / HOUR
    assert told.attempts <= 1.22 * requests
    assert told.attempts >= 1.17 * requests


@pytest.mark.parametrize("good", [1, 100, 1_000_000])
def test_good_times_are_no_licence_for_an_outage(good: int) -> None:
    """One at a time: a million good requests pay for one retry beyond the reserve."""
    assert outage(200, 0.01, good=good).attempts <= 1.2 * 200 + 6 + 1


def test_a_lone_request_has_all_its_retries() -> None:
    """Once an hour, always failing: that rare is no storm. The reserve is back by then."""
    told = outage(20, HOUR)
    assert told.attempts == 20 * 4


def test_during_an_outage_nearly_every_fifth_request_is_tried_again() -> None:
    """So that the end of the outage is seen."""
    told = outage(1000, 0.0)
    assert told.retried[0]
    assert sum(told.retried[100:200]) == 18


def test_an_occasional_failure_never_meets_an_empty_purse() -> None:
    """One request in seventeen needs three tries, for ever: that is just what a fifth pays for."""
    purse = allowance(refill=0.0)
    attempts = 0
    for _ in range(200):
        attempts += 17
        assert all(pays(purse, 1, attempts) for _ in range(3))


def test_an_endpoint_dies_under_many_requests_and_all_are_repeated() -> None:
    purse = allowance()
    assert [pays(purse, active, 1_000) for active in range(64, 0, -1)] == [True] * 64


def test_what_is_saved_for_requests_in_flight_ends_with_them() -> None:
    purse = allowance()
    assert pays(purse, 64, 1_000)
    assert purse.left(1, 1_000, 0.0) == 6.0


def test_the_reserve_comes_back_by_time_and_no_more_than_it() -> None:
    purse = allowance(size=5.0, refill=100.0)
    assert [pays(purse, 1, 0) for _ in range(6)] == [True] * 5 + [False]
    assert purse.left(1, 0, 19.0) < 1.0
    assert purse.left(1, 0, 20.0) == 1.0
    assert purse.left(1, 0, 1e9) == 5.0
    assert purse.left(1, 0, -5.0) == 0.0


def test_a_reserve_that_is_never_refilled_is_earned_only() -> None:
    purse = allowance(size=1.0, refill=0.0)
    assert pays(purse, 1, 0)
    assert not pays(purse, 1, 5, 1e9)
    assert pays(purse, 1, 6, 1e9)


def test_a_new_reserve_holds_at_once() -> None:
    purse = allowance(size=5.0)
    pays(purse, 1, 0)
    purse.follow(20.0, RetryReserve(8.0, HOUR))
    assert purse.left(1, 0, 0.0) == 7.0
    purse.follow(20.0, RetryReserve(2.0, HOUR))
    assert purse.left(0, 0, 0.0) == 2.0


def test_a_refusal_says_which_half_of_the_budget_it_is() -> None:
    budget = RetryBudget()
    budget.follow(RetryShare(20.0, 1, 0.0, RetryReserve(1.0, 0.0)), UNLIMITED)
    assert [budget.take(1, 0, 0.0) for _ in range(2)] == ["", OVER_TIME]
    assert budget.take(1, 10, 0.0) == IN_FLIGHT
    budget.give_back()
    assert budget.take(1, 10, 0.0) == ""
    assert budget.refused == 2


def test_without_a_reserve_only_retries_in_flight_are_counted() -> None:
    """As under a `retryBudget` of a DestinationRule: Envoy's rule, nothing else."""
    budget = RetryBudget()
    budget.follow(RetryShare(20.0, 3), UNLIMITED)
    for _ in range(1_000):
        assert budget.take(1, 1, 0.0) == ""
        budget.give_back()
    budget.follow(RetryShare(20.0, 3, 0.0, RetryReserve()), UNLIMITED)
    assert [budget.take(1, 1, 0.0) for _ in range(6)] == ["", "", "", IN_FLIGHT, IN_FLIGHT, IN_FLIGHT]
    budget.follow(None, UNLIMITED)
    assert budget.allowance is None


def test_repetitions_of_any_kind_earn_nothing() -> None:
    """Of a hundred attempts ninety were forgiven connects, stale connections and retries."""
    budget = RetryBudget()
    budget.follow(RetryShare(20.0, 3, 0.0, RetryReserve(0.0, 0.0)), UNLIMITED)
    for _ in range(50):
        budget.forgiven()
    budget.repeated = 40
    assert budget.begun(100) == 10
    assert [budget.take(3, 100, 0.0) for _ in range(3)] == ["", "", OVER_TIME]


class Moment(NamedTuple):
    """What happened at a step of the model."""

    now: float
    begun: int
    retries: int
    """Both since the beginning, before the step."""
    active: int
    """Requests in flight."""
    failed: bool
    """An attempt failed in this step."""


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(1, 40)),
        st.tuples(st.just("fail"), st.integers(1, 20)),
        st.tuples(st.just("end"), st.integers(1, 80)),
        st.tuples(st.just("wait"), st.floats(0.0, 100.0)),
    ),
    max_size=20,
)


@settings(max_examples=400)
@given(STEPS, st.sampled_from([0.0, 0.3, 20.0, 100.0]), st.integers(0, 5), st.sampled_from([0.0, 10.0, HOUR]))
def test_no_span_of_time_has_more_retries_than_its_requests_pay_for(
    steps: list[tuple[str, float]], percent: float, size: int, refill: float
) -> None:
    """Whatever comes and fails together or apart: every span between two steps is checked."""
    budget = RetryBudget()
    budget.follow(RetryShare(percent, 10**6, 0.0, RetryReserve(size, refill)), UNLIMITED)
    begun = retries = active = 0
    now = 0.0
    moments = []
    for step, amount in steps:
        for _ in range(1 if step == "wait" else int(amount)):
            failed = step == "fail" and active > 0
            moments.append(Moment(now, begun, retries, active, failed))
            if step == "begin":
                begun, active = begun + 1, active + 1
            elif failed:
                if budget.take(active, begun + retries, now):
                    active -= 1
                else:
                    retries += 1
                    budget.give_back()
            elif step == "end":
                active = max(0, active - 1)
        if step == "wait":
            now += amount
    moments.append(Moment(now, begun, retries, active, failed=False))
    for index, start in enumerate(moments):
        first = next((moment.active for moment in moments[index:] if moment.failed), 0)
        for end in moments[index + 1 :]:
            back = size * (end.now - start.now) / refill if refill else 0.0
            paid = percent / 100.0 * (end.begun - start.begun) + size + first + back
            assert end.retries - start.retries <= paid + CLOSE


@settings(max_examples=150)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=30), st.floats(0.0, 100.0), st.integers(0, 10))
def test_while_everything_fails_from_the_beginning_the_share_and_the_reserve_is_all(
    waves: list[int], percent: float, size: int
) -> None:
    """Wave after wave of requests that fail together, retries too."""
    budget = RetryBudget()
    budget.follow(RetryShare(percent, 10**6, 0.0, RetryReserve(size, 0.0)), UNLIMITED)
    begun = retries = 0
    for together in waves:
        begun += together
        alive = together
        while alive:
            again = sum(not budget.take(alive, begun + retries, 0.0) for _ in range(alive))
            retries += again
            alive = again
            for _ in range(again):
                budget.give_back()
            assert retries <= percent / 100.0 * begun + size + CLOSE
