"""Outlier detection: what counts, when it ejects, how long, and that everything comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.outliers import GONE, OVERFLOW, REFUSED, TIMEOUT, Event, Scene, detection

from gateway.config.outlier import OutlierDetection
from gateway.upstream import Policy
from gateway.upstream.errors import local_reset, protocol_error, terminated
from gateway.upstream.outlier import Reason, Thresholds

# -- what the configuration means ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        ({}, (5, 0, 0)),
        ({"consecutive_5xx_errors": 0}, (0, 0, 0)),
        ({"consecutive_gateway_errors": 2}, (5, 2, 0)),
        ({"consecutive_gateway_errors": 0}, (5, 0, 0)),
        ({"consecutive_errors": 7}, (0, 7, 0)),
        ({"consecutive_errors": 0}, (5, 0, 0)),
        ({"consecutive_errors": 7, "consecutive_5xx_errors": 3}, (3, 7, 0)),
        ({"consecutive_errors": 7, "consecutive_gateway_errors": 3}, (0, 3, 0)),
        ({"split_external_local_origin_errors": True}, (5, 0, 5)),
        ({"split_external_local_origin_errors": True, "consecutive_local_origin_failures": 2}, (5, 0, 2)),
    ],
)
def test_thresholds_are_istios(written: dict[str, Any], counts: tuple[int, int, int]) -> None:
    """Five 5xx by default; `consecutiveErrors` as in Istio 1.7, where newer fields win over it."""
    found = Thresholds.of(OutlierDetection(**written))
    assert (found.fives, found.gateways, found.locals) == counts


def test_times_and_shares_have_istios_defaults() -> None:
    found = Thresholds.of(OutlierDetection(max_ejection_percent=0))
    assert (found.interval, found.base, found.most) == (10.0, 30.0, 10)


# -- what counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure", [500, 503, 599, REFUSED, TIMEOUT, terminated(sent=True), protocol_error("x")]
)
def test_failures_in_a_row_eject_at_the_threshold(failure: Event) -> None:
    """Not at the sweep: the very attempt that completes the row."""
    it = Scene(consecutive_5xx_errors=3)
    it.record(1, failure, failure)
    assert it.ejected == []
    it.record(1, failure)
    assert it.ejected == [1]
    assert it.picked() == {0, 2, 3}


@pytest.mark.parametrize("success", [200, 302, 404, 499])
def test_anything_below_500_ends_the_row(success: int) -> None:
    it = Scene(consecutive_5xx_errors=3, consecutive_gateway_errors=3)
    it.record(1, 503, 503, success, 503, 503)
    assert it.ejected == []


def test_a_500_ends_a_row_of_gateway_errors() -> None:
    it = Scene(consecutive_errors=3)
    it.record(1, 502, 504, 500, 503, REFUSED)
    assert it.ejected == []
    it.record(1, TIMEOUT)
    assert it.ejected == [1]
    assert it.cluster.endpoints[1].track is not None
    assert it.cluster.endpoints[1].track.reason is Reason.GATEWAY_FAILURE


@pytest.mark.parametrize("status", [500, 501, 505])
def test_consecutive_errors_do_not_count_other_5xx(status: int) -> None:
    it = Scene(consecutive_errors=2)
    it.record(1, *[status] * 20)
    assert it.ejected == []


@pytest.mark.parametrize("nothing", [OVERFLOW, GONE, local_reset(sent=True), 0])
def test_what_is_not_the_endpoints_fault_changes_nothing(nothing: Event) -> None:
    """A limit of ours, a client that left: neither a failure nor a success."""
    it = Scene(consecutive_5xx_errors=2)
    it.record(1, 503, *[nothing] * 5)
    assert it.ejected == []
    it.record(1, 503)
    assert it.ejected == [1]


def test_a_response_that_breaks_off_is_a_success_and_then_a_failure() -> None:
    """As in Envoy its head counts first, so such responses alone never make a row of two."""
    broken = (200, protocol_error("cut"))
    it = Scene(consecutive_5xx_errors=2)
    it.record(1, broken, broken, broken)
    assert it.ejected == []
    it.record(1, 500)
    assert it.ejected == [1]


def test_split_counts_the_connection_apart() -> None:
    it = Scene(split_external_local_origin_errors=True, consecutive_local_origin_failures=2)
    it.record(1, 500, 500, 500, 500, REFUSED)
    it.record(2, REFUSED, 500, REFUSED)
    assert it.ejected == []
    it.record(1, REFUSED)
    assert it.ejected == [1]
    assert it.detector.ejections[Reason.LOCAL_ORIGIN_FAILURE] == 1


def test_split_starts_again_with_a_connection_that_is_made() -> None:
    """A timeout after it counts as one: the connection before it was a success (Envoy)."""
    it = Scene(split_external_local_origin_errors=True, consecutive_local_origin_failures=2)
    it.record(1, *[TIMEOUT] * 5, terminated(sent=True))
    assert it.ejected == []
    it.record(1, REFUSED)
    assert it.ejected == [1]


def test_codes_that_are_listed_are_the_ones_that_count() -> None:
    it = Scene(consecutive_5xx_errors=3, outlier_detection_http_error_codes=(429, 503))
    it.record(1, 429, 503, 500, 429, 503)
    assert it.ejected == []
    it.record(1, 429)
    assert it.ejected == [1]
    it.record(2, 429, REFUSED, TIMEOUT)
    assert it.detector.overflow == 1, "failures of the connection count whatever the list says"


# -- who may be ejected -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "percent", "most"), [(1, 10, 1), (4, 10, 1), (4, 50, 2), (10, 25, 2), (3, 100, 3), (3, 0, 1)]
)
def test_one_may_always_be_ejected_and_then_the_percentage_decides(
    count: int, percent: int, most: int
) -> None:
    it = Scene(count, consecutive_5xx_errors=1, max_ejection_percent=percent)
    for number in range(count):
        it.record(number, 500)
    assert it.ejected == list(range(most))
    assert it.detector.overflow == count - most
    assert (it.detector.active, it.detector.ejections[Reason.CONSECUTIVE_5XX]) == (most, most)


def test_when_all_are_ejected_nobody_is_picked() -> None:
    """Panic is off unless minHealthPercent says more."""
    it = Scene(2, consecutive_5xx_errors=1, max_ejection_percent=100)
    it.record(0, 500)
    it.record(1, 500)
    assert it.cluster.pick() is None
    assert it.cluster.pick(b"key", it.cluster.endpoints) is None


@pytest.mark.parametrize("policy", Policy)
def test_too_few_healthy_ones_are_panic(policy: Policy) -> None:
    """Half of four is not below 50 %; a quarter is."""
    it = Scene(4, policy, consecutive_5xx_errors=1, max_ejection_percent=100, min_health_percent=50)
    it.record(0, 500)
    it.record(1, 500)
    assert it.picked(key=True) == {2, 3}
    it.record(2, 500)
    assert it.ejected == [0, 1, 2]
    assert it.picked(key=True) == {0, 1, 2, 3}
    it.sweep(30.0)
    assert it.ejected == []


@pytest.mark.parametrize("policy", Policy)
def test_an_ejected_endpoint_is_not_picked_by_any_policy(policy: Policy) -> None:
    it = Scene(4, policy, consecutive_5xx_errors=1)
    it.record(1, 500)
    assert it.picked(key=True) == it.picked() == {0, 2, 3}
    it.sweep(30.0)
    assert it.picked(key=True) == it.picked() == {0, 1, 2, 3}


@pytest.mark.parametrize("policy", [Policy.RING_HASH, Policy.MAGLEV])
def test_only_the_keys_of_the_ejected_move(policy: Policy) -> None:
    """And they come home with it, to the same table."""
    it = Scene(4, policy, consecutive_5xx_errors=1)
    keys = [b"%d" % n for n in range(300)]
    before = {key: it.cluster.pick(key) for key in keys}
    table = it.cluster.balancer.tables
    it.record(1, 500)
    out = it.cluster.endpoints[1]
    during = {key: it.cluster.pick(key) for key in keys}
    assert {key: item for key, item in during.items() if before[key] is not out} == {
        key: item for key, item in before.items() if item is not out
    }
    assert {item for key, item in during.items() if before[key] is out} == set(it.cluster.endpoints) - {out}
    it.sweep(30.0)
    assert {key: it.cluster.pick(key) for key in keys} == before
    assert it.cluster.balancer.tables == table


def test_hosts_that_were_tried_are_avoided_among_the_healthy() -> None:
    it = Scene(3, consecutive_5xx_errors=1)
    it.record(0, 500)
    _, tried, other = it.cluster.endpoints
    found = [it.cluster.pick(tried=[tried]) for _ in range(500)]
    assert found.count(other) > 450
    assert set(found) <= {tried, other}


@pytest.mark.parametrize(
    ("written", "failure"),
    [
        ({"consecutive_5xx_errors": 3}, 500),
        ({"consecutive_errors": 3}, 503),
        ({"split_external_local_origin_errors": True, "consecutive_local_origin_failures": 3}, REFUSED),
    ],
)
def test_the_row_starts_again_when_an_ejection_was_forbidden(written: dict[str, Any], failure: Event) -> None:
    """So the next attempt at it comes after as many failures, not with each."""
    it = Scene(4, **written)
    it.record(0, failure, failure, failure)
    it.record(1, *[failure] * 5)
    assert (it.ejected, it.detector.overflow) == ([0], 1)
    it.record(1, failure)
    assert (it.ejected, it.detector.overflow) == ([0], 2)


def test_who_is_out_is_not_ejected_again() -> None:
    """Requests that were under way go on to fail; the time does not grow by them."""
    it = Scene(consecutive_5xx_errors=2, max_ejection_percent=100)
    it.record(1, 500, 500)
    until = it.cluster.endpoints[1].ejected_until
    it.clock.advance(1.0)
    it.record(1, *[500] * 9)
    assert it.cluster.endpoints[1].ejected_until == until
    assert (sum(it.detector.ejections.values()), it.detector.overflow) == (1, 0)


# -- how long ---------------------------------------------------------------------------------------


def test_return_is_at_the_first_sweep_after_the_time() -> None:
    it = Scene(consecutive_5xx_errors=1, interval=10.0, base_ejection_time=15.0)
    it.record(1, 500)
    assert it.cluster.endpoints[1].ejected_until == it.clock() + 15.0
    it.sweep(10.0)
    assert it.ejected == [1]
    it.sweep(6.0)
    assert it.ejected == [1], "the time is over, but the next sweep is due after 20 s"
    it.sweep(4.0)
    assert it.ejected == []
    assert it.picked() == {0, 1, 2, 3}


def test_counting_starts_anew_after_a_return() -> None:
    """What failed while it was out, in requests that were under way, is forgotten."""
    it = Scene(consecutive_5xx_errors=3, interval=1.0, base_ejection_time=1.0)
    it.record(1, *[500] * 5)
    it.sweep(2.0)
    it.record(1, 500, 500)
    assert it.ejected == []
    it.record(1, 500)
    assert it.ejected == [1]


def test_each_ejection_is_longer_up_to_five_minutes() -> None:
    it = Scene(consecutive_5xx_errors=1, interval=1.0, base_ejection_time=60.0)
    lengths = []
    for _ in range(7):
        it.record(1, 500)
        until = it.cluster.endpoints[1].ejected_until
        assert until is not None
        lengths.append(until - it.clock())
        it.sweep(until - it.clock())
    assert lengths == [60.0, 120.0, 180.0, 240.0, 300.0, 300.0, 300.0]


def test_a_base_above_five_minutes_is_its_own_limit() -> None:
    it = Scene(consecutive_5xx_errors=1, base_ejection_time=400.0)
    for _ in range(2):
        it.record(1, 500)
        assert it.cluster.endpoints[1].ejected_until == it.clock() + 400.0
        it.sweep(400.0)


def test_good_intervals_shorten_the_next_ejection() -> None:
    """One less for each sweep that finds it in; not for the sweep that brings it back."""
    it = Scene(consecutive_5xx_errors=1, interval=10.0, base_ejection_time=10.0)
    for _ in range(3):
        it.record(1, 500)
        it.sweep(40.0)
    track = it.cluster.endpoints[1].track
    assert track is not None
    assert (track.multiplier, track.ejections) == (3, 3)
    for expected in (2, 1, 0, 0):
        it.sweep(10.0)
        assert track.multiplier == expected


# -- reloads ----------------------------------------------------------------------------------------


def test_a_new_configuration_holds_for_who_is_ejected_already() -> None:
    it = Scene(consecutive_5xx_errors=2, base_ejection_time=100.0)
    it.record(1, 500, 500)
    it.record(2, 500)
    it.clock.advance(5.0)
    it.detector.follow(detection(consecutive_5xx_errors=1, base_ejection_time=20.0, interval=1.0), it.cluster)
    assert it.ejected == [1]
    it.sweep(14.0)
    assert it.ejected == [1]
    it.sweep(1.0)
    assert it.ejected == []


def test_a_shorter_interval_counts_from_the_reload_on() -> None:
    it = Scene(consecutive_5xx_errors=1, interval=3600.0, base_ejection_time=1.0)
    it.record(1, 500)
    it.detector.follow(detection(interval=2.0, base_ejection_time=1.0), it.cluster)
    it.sweep(2.0)
    assert it.ejected == []


def test_turning_it_off_brings_everybody_back() -> None:
    it = Scene(consecutive_5xx_errors=1)
    it.record(1, 500)
    it.detector.release()
    it.cluster.rebalance()
    assert it.picked() == {0, 1, 2, 3}


def test_an_endpoint_that_is_gone_is_not_ejected_any_more() -> None:
    """A request that was under way there does not take one of the ejections that are allowed."""
    it = Scene(4, consecutive_5xx_errors=1)
    gone = it.cluster.endpoints[1]
    it.cluster.pool.retire(gone)
    it.record(1, 500)
    assert it.detector.active == 0
    it.record(2, 500)
    assert it.ejected == [2]


def test_a_detector_tells_what_it_is() -> None:
    it = Scene(consecutive_5xx_errors=1)
    it.record(1, 500)
    assert repr(it.detector) == "<Detector outbound|80||test ejected 1 of 4>"


# -- whatever happens -------------------------------------------------------------------------------

EVENTS = st.sampled_from([200, 404, 500, 502, 503, 504, REFUSED, TIMEOUT, OVERFLOW, 0])
STEPS = st.lists(st.tuples(st.integers(0, 5), EVENTS, st.sampled_from([0.0, 0.0, 1.0, 7.0])), max_size=60)


@settings(max_examples=400)
@given(
    steps=STEPS,
    percent=st.integers(0, 100),
    health=st.sampled_from([0, 0, 30, 60]),
    fives=st.integers(1, 3),
    policy=st.sampled_from([Policy.LEAST_REQUEST, Policy.ROUND_ROBIN, Policy.RANDOM, Policy.RING_HASH]),
)
def test_invariants(
    steps: Sequence[tuple[int, Event, float]], percent: int, health: int, fives: int, policy: Policy
) -> None:
    """
    Never more are ejected than allowed, beyond the one that always may; who is ejected is picked in panic
    only; and when nothing fails any more everybody is back in time.
    """
    it = Scene(
        6,
        policy,
        consecutive_5xx_errors=fives,
        consecutive_gateway_errors=1,
        max_ejection_percent=percent,
        min_health_percent=health,
        interval=1.0,
        base_ejection_time=5.0,
    )
    allowed = max(1, 6 * (percent or 10) // 100)
    for number, event, pause in steps:
        it.record(number, event)
        it.sweep(pause)
        out = set(it.ejected)
        assert len(out) <= allowed
        share = 100 * (6 - len(out)) // 6
        picked = it.picked(60, key=True)
        if 140 * (6 - len(out)) // 6 < 100 and share < health:
            continue
        assert not picked & out
        assert picked or len(out) == 6
    for _ in range(302):
        it.sweep(1.0)
    assert it.ejected == []
    assert it.picked(600, key=True) == set(range(6))
    assert all(item.track is None or not item.track.multiplier for item in it.cluster.endpoints)


@settings(max_examples=60)
@given(out=st.sets(st.integers(0, 7), max_size=6), policy=st.sampled_from(Policy))
def test_who_is_left_shares_evenly(out: set[int], policy: Policy) -> None:
    """Within five standard deviations of an even share; hashing over many keys, less evenly by its nature."""
    it = Scene(8, policy, consecutive_5xx_errors=1, max_ejection_percent=100)
    for number in out:
        it.record(number, 500)
    draws, left = 4000, 8 - len(out)
    counts = dict.fromkeys(it.cluster.endpoints, 0)
    for number in range(draws):
        endpoint = it.cluster.pick(b"%d" % number)
        assert endpoint is not None
        counts[endpoint] += 1
    share = 1 / left
    # A ring of 1024 points gives each of 8 endpoints a share that varies by about 1/sqrt(128).
    noise = 5 * (draws * share * (1 - share)) ** 0.5 + (0.35 * draws * share if policy.hashes else 0)
    for number, endpoint in enumerate(it.cluster.endpoints):
        assert (counts[endpoint] == 0) if number in out else abs(counts[endpoint] - draws * share) <= noise
