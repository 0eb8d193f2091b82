"""Token buckets against the definition of one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.security.rate_bucket import MOST_KEYS, Buckets, Quota


class Model:
    """A bucket as textbooks write it: so many tokens, refilled with time."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.tokens = float(quota.burst)
        self.at = 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.quota.burst, self.tokens + (now - self.at) / self.quota.interval)
        self.at = now
        if self.tokens < 1 - 1e-6:
            return False
        self.tokens -= 1
        return True


@settings(max_examples=200)
@given(
    st.integers(1, 20),
    st.sampled_from([0.5, 1.0, 60.0]),
    st.integers(1, 30) | st.none(),
    st.lists(st.floats(0, 30), max_size=60),
)
def test_a_bucket_is_a_bucket(requests: int, per: float, burst: int | None, pauses: list[float]) -> None:
    """Whatever the pauses, it gives exactly the tokens there are."""
    quota = Quota("q", requests, per, burst)
    model, buckets, now = Model(quota), Buckets(), 0.0
    for pause in pauses:
        now += pause
        spare = model.tokens + pause / quota.interval
        if abs(spare - round(spare)) < 1e-6 and spare < quota.burst:
            now += quota.interval / 3  # Not on the very edge, where rounding decides.
        assert (buckets.take(quota, b"k", now) == 0.0) is model.take(now)


def test_the_wait_is_exact() -> None:
    """A refused request that comes back when it was told is let in, and not a moment before."""
    quota, buckets = Quota("q", 2, 10.0), Buckets()
    assert [buckets.take(quota, b"k", 100.0) for _ in range(2)] == [0.0, 0.0]
    wait = buckets.take(quota, b"k", 101.0)

    assert math.isclose(wait, 4.0, abs_tol=1e-6)
    assert buckets.take(quota, b"k", 101.0 + wait - 0.01) > 0
    assert buckets.take(quota, b"k", 101.0 + wait + 1e-6) == 0.0
    assert buckets.refused == 2


def test_keys_do_not_share() -> None:
    """Each has its own bucket."""
    quota, buckets = Quota("q", 1, 1.0), Buckets()

    assert [buckets.take(quota, key, 0.0) for key in (b"a", b"b")] == [0.0, 0.0]
    assert buckets.take(quota, b"a", 0.0) > 0


@pytest.mark.parametrize("burst", [None, 1, 5])
def test_a_changed_limit_keeps_what_was_taken(burst: int | None) -> None:
    """A reload does not hand out a full bucket."""
    buckets = Buckets()
    for _ in range(10):
        buckets.take(Quota("q", 10, 10.0), b"k", 0.0)

    assert buckets.take(Quota("q", 5, 10.0, burst), b"k", 0.0) > 0


def test_the_number_of_keys_is_bounded() -> None:
    """The one not used for longest goes; who is being refused stays."""
    quota, buckets = Quota("q", 1, 1000.0), Buckets()
    buckets.take(quota, b"first", 0.0)
    for number in range(MOST_KEYS - 1):
        buckets.take(quota, b"%d" % number, 1.0)
    assert buckets.take(quota, b"first", 2.0) > 0
    buckets.take(quota, b"one more", 3.0)

    assert len(buckets) == MOST_KEYS
    assert buckets.take(quota, b"first", 4.0) > 0
    assert buckets.take(quota, b"0", 4.0) == 0.0
