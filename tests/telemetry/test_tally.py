"""The running numbers of a combination, and what readers make of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
from support.finished import finished, snapshot_of

from gateway.telemetry.catalog import BOUNDS, SECONDS
from gateway.telemetry.cells import Count, Histogram
from gateway.telemetry.counters import Counters
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


def test_numbers_are_exact_whoever_reads_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that read all the time, reloads, and more combinations than are remembered."""
    monkeypatch.setattr("gateway.telemetry.counters.MOST_TALLIES", 40)
    snapshot = snapshot_of()
    counters = Counters()
    counters.follow(snapshot.config.settings.spec)
    exchanges = [finished(snapshot) for _ in range(120)]
    for number, (exchange, _) in enumerate(exchanges):
        exchange.status = 200 + number
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            counters.exposition()

    readers = [threading.Thread(target=read) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        for number in range(6000):
            exchange, ended_at = exchanges[number * number % 120]
            counters.record(exchange, ended_at)
            if number % 500 == 499:
                counters.follow(snapshot.config.settings.spec)
    finally:
        sys.setswitchinterval(interval)
        over.set()
        for reader in readers:
            reader.join()
    found = {family.metric.name: family.samples.values() for family in counters.read()}
    assert sum(found["istio_requests_total"]) == 6000
    assert sum(found["gateway_route_requests_total"]) == 6000
    for name in ("istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"):
        assert sum(sum(buckets.counts) for buckets in found[name]) == 6000, name
    milliseconds = sum(buckets.total for buckets in found["istio_request_duration_milliseconds"])
    one = (exchanges[0][1] - exchanges[0][0].started_at) * 1000.0
    assert milliseconds == pytest.approx(6000 * one)
