"""The running numbers of a combination, and what readers make of them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.telemetry.catalog import BOUNDS, SECONDS
from gateway.telemetry.cells import Count, Histogram
from gateway.telemetry.tally import Cells, Tally


def cells() -> Cells:
    """Series that nothing was added to yet."""
    made = Cells()
    made.requests, made.route, made.attempts = Count(), Count(), Count()
    made.durations, made.received, made.sent, made.route_seconds = (Histogram(len(BOUNDS)) for _ in range(4))
    made.upstream = Histogram(len(SECONDS))
    return made


def steps(tally: Tally) -> list[Callable[[], None]]:
    """What a finished exchange does to a tally, in the order in which it does it."""

    def add(name: str, amount: float) -> Callable[[], None]:
        return lambda: setattr(tally, name, getattr(tally, name) + amount)

    def count(counts: list[int], place: int) -> Callable[[], None]:
        return lambda: counts.__setitem__(place, counts[place] + 1)

    return [
        add("milliseconds", 2.0),
        count(tally.durations, 3),
        add("received_bytes", 300),
        count(tally.received, 4),
        add("sent_bytes", 700),
        count(tally.sent, 5),
        add("seconds", 0.25),
        count(tally.services, 6),
        add("plain", 1),
    ]


def test_a_reader_in_the_middle_of_a_request_loses_nothing() -> None:
    """Between any two of its steps a thread may settle, and no further request may ever come."""
    for read_at in range(10):
        sums = cells()
        tally = Tally(sums)
        for number, step in enumerate(steps(tally)):
            if number == read_at:
                tally.settle()
            step()
        tally.settle()
        assert (sums.requests.value, sums.route.value, sums.attempts.value) == (1, 1, 1), read_at
        assert (sums.durations.total, sums.durations.counts[3]) == (2.0, 1), read_at
        assert (sums.received.total, sums.received.counts[4]) == (300, 1), read_at
        assert (sums.sent.total, sums.sent.counts[5]) == (700, 1), read_at
        assert (sums.upstream.total, sums.upstream.counts[6]) == (0.25, 1), read_at


def test_what_was_settled_is_not_counted_again() -> None:
    """Readers come as often as they like."""
    sums = cells()
    tally = Tally(sums)
    for _ in range(3):
        for step in steps(tally):
            step()
            tally.settle()
    assert (sums.requests.value, sums.attempts.value, sums.durations.total) == (3, 3, 6.0)
    assert (sums.sent.counts[5], sums.sent.total, sums.upstream.counts[6]) == (3, 2100, 3)
