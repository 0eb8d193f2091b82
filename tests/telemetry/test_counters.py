"""Counters of finished exchanges."""

from __future__ import annotations

from types import SimpleNamespace

from support.exchanges import exchange

from gateway.exchange.exchange import Exchange
from gateway.http.request import Request
from gateway.telemetry.counters import Counters


def finished(cluster: str, status: int, number: int = 0) -> Exchange:
    request = Request("GET", "http", b"h%d" % number, "h", b"/%d" % number, b"", [])
    return exchange(
        request, started_at=10.0, destination=SimpleNamespace(cluster_name=cluster), status=status
    )


def test_requests_are_counted_by_cluster_and_status() -> None:
    counters = Counters()
    for status in (200, 200, 503):
        counters.record(finished("outbound|80|v1|reviews", status), 10.004)
    text = counters.exposition().decode()

    assert 'destination_version="v1",reporter="source",response_code="200",response_flags="-"} 2.0' in text
    assert 'le="5.0"' in text or 'le="5"' in text
    assert "istio_request_duration_milliseconds_count" in text


def test_what_clients_choose_makes_no_new_series() -> None:
    counters = Counters()
    for number in range(1000):
        counters.record(finished("c", 200, number), 10.0)

    assert len(counters.series) == 1
