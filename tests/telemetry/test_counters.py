"""What is counted about exchanges, under which labels, and how many series that may make."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from support.finished import REVIEWS, finished, snapshot_of

from gateway.http.flags import Flag
from gateway.telemetry import catalog
from gateway.telemetry.catalog import ISTIO_LABELS, OVERFLOW
from gateway.telemetry.counters import MOST_FORMER, Counters
from gateway.telemetry.families import exposition

SNAPSHOT = snapshot_of()
SETTINGS = SNAPSHOT.config.settings.spec


def counted(*exchanges, counters: Counters | None = None) -> dict[str, list]:
    counters = counters or Counters()
    counters.follow(SETTINGS)
    for exchange, end in exchanges:
        counters.record(exchange, end)
    return samples(counters.exposition())


def samples(text: bytes) -> dict[str, list]:
    found: dict[str, list] = {}
    for family in parse(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_request_is_counted_under_istios_labels() -> None:
    """The destination is the cluster's host and the endpoint's labels, never what the client sent."""
    ((labels, value),) = counted(finished(SNAPSHOT))["istio_requests_total"]

    assert value == 1
    assert set(labels) == set(ISTIO_LABELS) - {"grpc_response_status"}
    assert labels["reporter"] == "source"
    assert labels["source_workload"] == "asgi-gateway"
    assert labels["destination_service"] == "reviews.default.svc.cluster.local"
    assert (labels["destination_service_name"], labels["destination_service_namespace"]) == (
        "reviews",
        "default",
    )
    assert (labels["destination_app"], labels["destination_version"]) == ("reviews", "v1")
    assert (labels["response_code"], labels["response_flags"], labels["request_protocol"]) == (
        "200",
        "-",
        "http",
    )
    assert labels["connection_security_policy"] == "unknown"


def test_endpoints_with_other_labels_are_other_series() -> None:
    """Two versions behind one cluster can be told apart."""
    found = counted(finished(SNAPSHOT), finished(SNAPSHOT, endpoint=1))["istio_requests_total"]

    assert sorted(labels["destination_version"] for labels, _ in found) == ["v1", "v2"]


def test_a_request_no_route_took_has_an_unknown_destination() -> None:
    """One series for all of them."""
    exchange = finished(SNAPSHOT, routed=False, status=404, flags=(Flag.NO_ROUTE,), details="route_not_found")
    found = counted(exchange, exchange)
    ((labels, value),) = found["istio_requests_total"]

    assert value == 2
    assert labels["destination_service"] == labels["destination_workload"] == "unknown"
    assert found["gateway_local_replies_total"] == [
        ({"reason": "route_not_found", "response_code": "404", "response_flags": "NR"}, 2.0)
    ]


def test_durations_and_sizes_fall_into_istios_buckets() -> None:
    """Milliseconds and bytes; headers count as they are, without separators."""
    found = counted(finished(SNAPSHOT, seconds=0.0042), finished(SNAPSHOT, seconds=7))
    duration = {labels["le"]: value for labels, value in found["istio_request_duration_milliseconds_bucket"]}
    ((_, total),) = found["istio_request_duration_milliseconds_sum"]
    ((_, received),) = found["istio_request_bytes_sum"]
    ((_, sent),) = found["istio_response_bytes_sum"]
    exchange, _ = finished(SNAPSHOT)

    assert list(duration)[:3] == ["0.5", "1", "5"]
    assert list(duration)[-2:] == ["3600000", "+Inf"]
    assert (duration["1"], duration["5"], duration["5000"], duration["10000"], duration["+Inf"]) == (
        0,
        1,
        1,
        2,
        2,
    )
    assert round(total, 6) == 7004.2
    assert received == 2 * sum(len(name) + len(value) for name, value in exchange.request.headers)
    assert sent == 2 * (150 + sum(len(name) + len(value) for name, value in exchange.response_headers))


def test_routes_are_counted_by_name() -> None:
    """With the class of the status and the flags: what a table of routes shows."""
    found = counted(finished(SNAPSHOT), finished(SNAPSHOT, status=503, flags=(Flag.UPSTREAM_TERMINATION,)))
    route = {"virtual_service": "default/reviews", "route": "all"}

    assert found["gateway_route_requests_total"] == [
        ({**route, "response_code_class": "2xx", "response_flags": "-"}, 1.0),
        ({**route, "response_code_class": "5xx", "response_flags": "UC"}, 1.0),
    ]
    assert found["gateway_route_duration_seconds_count"] == [(route, 2.0)]


def test_grpc_is_told_by_its_content_type() -> None:
    """The status of an answer without body stands in its headers."""
    headers = [(b"content-type", b"application/grpc+proto")]
    found = counted(finished(SNAPSHOT, headers=headers, answer=[(b"grpc-status", b"14")], method="POST"))
    ((labels, _),) = found["istio_requests_total"]

    assert (labels["request_protocol"], labels["grpc_response_status"]) == ("grpc", "14")


def test_what_clients_choose_makes_no_new_series() -> None:
    """A hundred thousand paths, hosts, methods and agents: as many series as one of each."""
    counters = Counters()
    counted(finished(SNAPSHOT), finished(SNAPSHOT, routed=False, status=404), counters=counters)
    before = counters.series
    exchange, end = finished(SNAPSHOT, routed=False, status=404)
    routed, _ = finished(SNAPSHOT)
    for number in range(100_000):
        for one in (exchange, routed):
            one.request.path = b"/%d" % number
            one.request.host = f"h{number}.example.com"
            one.request.method = f"M{number}"
            one.request.header_map = {b"user-agent": b"agent %d" % number}
            counters.record(one, end)

    assert counters.series == before


def test_beyond_the_limit_requests_are_counted_together() -> None:
    """No request is lost, and the overflow is a number of its own."""
    counters = Counters(most_series=3)
    found = counted(*(finished(SNAPSHOT, status=200 + number) for number in range(10)), counters=counters)
    requests = found["istio_requests_total"]

    assert sum(value for _, value in requests) == 10
    assert len(requests) == 4
    assert [value for labels, value in requests if labels["reporter"] == OVERFLOW] == [7.0]
    assert found["gateway_metric_series_overflow_total"] == [({}, 7.0)]


def test_numbers_survive_a_reload() -> None:
    """A new generation has new routes and clusters; the series are the same."""
    counters = Counters()
    counted(finished(SNAPSHOT), counters=counters)
    again = snapshot_of(REVIEWS, generation=2)
    found = counted(finished(again), counters=counters)

    assert [value for _, value in found["istio_requests_total"]] == [2.0]


def test_reading_twice_counts_nothing_twice() -> None:
    """What was added up before is not added again, whether its labels are still remembered or not."""
    counters = Counters()
    for seconds in 3 * (0.0004, 0.02, 4.0):
        counted(finished(SNAPSHOT, seconds=seconds), counters=counters)
    found = samples(counters.exposition())

    assert [value for _, value in found["istio_requests_total"]] == [9.0]
    assert [value for _, value in found["istio_request_duration_milliseconds_count"]] == [9.0]
    [(_, total)] = found["istio_request_duration_milliseconds_sum"]
    assert abs(total - 3 * 4020.4) < 0.01
    assert [value for _, value in found["gateway_upstream_attempts_total"]] == [9.0]


def test_nothing_is_lost_while_nobody_reads() -> None:
    """Many reloads between two scrapes."""
    counters = Counters()
    for _ in range(3 * MOST_FORMER):
        counters.follow(SETTINGS)
        counters.record(*finished(SNAPSHOT))
    found = samples(counters.exposition())

    assert [value for _, value in found["istio_requests_total"]] == [3.0 * MOST_FORMER]


def test_old_generations_are_not_kept_alive() -> None:
    """What was resolved for routes that are gone is forgotten."""
    counters = Counters()
    counted(finished(SNAPSHOT), counters=counters)
    counters.follow(SETTINGS)

    assert counters._tallies == {}


@pytest.mark.parametrize("kind", [b"text/plain", b"application/grpc-web"])
def test_a_trace_stands_beside_its_bucket_in_openmetrics(kind: bytes) -> None:
    """From a slow bucket to the trace of a slow request, gRPC's as well."""
    counters = Counters(wall=lambda: 1000.0)
    counters.follow(SETTINGS)
    exchange, end = finished(SNAPSHOT, seconds=0.2, headers=[(b"content-type", kind)])
    counters.record(exchange, end)
    counters.exemplify(exchange, end, "0af7651916cd43dd8448eb211c80319c")
    text = exposition(counters.read(), openmetrics=True).decode()
    told = [
        sample.exemplar
        for family in openmetrics(text)
        for sample in family.samples
        if sample.exemplar is not None and family.name == catalog.DURATION.name
    ]

    assert [(item.labels["trace_id"], round(item.value)) for item in told] == [
        ("0af7651916cd43dd8448eb211c80319c", 200)
    ]
