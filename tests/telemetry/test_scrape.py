"""A real Prometheus scrapes a real gateway under traffic, and answers what dashboards ask.

One gateway and one Prometheus for all tests here: they ask until there is an answer.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.observed import DASHBOARDS, RULES, TRACE, WHO, PlainRelay, World, config_of
from support.otlp import HttpReceiver
from support.prometheus import Prometheus, complaints


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All of it."""
    folder = tmp_path_factory.mktemp("scrape")
    with HttpReceiver() as spans:
        it = World(folder, spans)
        try:
            it.start()
            assert it.server is not None
            assert it.server.admin_port is not None
            with PlainRelay(it) as plain:
                config = config_of(folder, it.server.admin_port, plain)
                with Prometheus(config, folder / "data") as it.prometheus:
                    yield it
        finally:
            it.stop()


# -- formats -----------------------------------------------------------------------------------


def numbers(families) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """Which series there are, by name."""
    found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).add(tuple(sorted(sample.labels.items())))
    return found


@pytest.mark.timeout(120)
def test_text_and_openmetrics_are_the_same_series(world: World) -> None:
    """Both are well formed, say what they are, and a scraper that changes between them loses nothing."""
    # Until the numbers of the first requests are there in both.
    assert world.answered({"slow": 'istio_requests_total{response_flags="UT"}'}) == {}
    kind, text = world.metrics("*/*")
    assert kind.startswith("text/plain; version=0.0.4")
    assert "trace_id" not in text
    # Istio named it so.
    (only,) = complaints(text)
    assert only.startswith("istio_request_duration_milliseconds use base unit")
    kind, openmetrics = world.metrics("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith("# EOF\n")

    plain, other = numbers(parse_text(text)), numbers(parse_openmetrics(openmetrics))
    assert set(plain) == set(other)
    assert len(plain["istio_requests_total"]) > 3
    bounds = {dict(labels)["le"] for labels in plain["istio_request_duration_milliseconds_bucket"]}
    assert bounds == {dict(labels)["le"] for labels in other["istio_request_duration_milliseconds_bucket"]}


@pytest.mark.timeout(120)
def test_prometheus_scrapes_both(world: World) -> None:
    """It asks for OpenMetrics by itself; the other job gets text. Both have the numbers of the control."""
    queries = {
        f"{query} {job}": f'{query}{{job="{job}"}} > 0'
        for query in ("up", "gateway_ready", "istio_requests_total", "gateway_config_reloads_total")
        for job in ("asgi-gateway", "plain")
    }

    assert world.answered(queries) == {}


@pytest.mark.timeout(120)
def test_prometheus_finds_the_trace_behind_a_duration(world: World) -> None:
    """The exemplar of a bucket is the trace of a request in it."""
    for name in ("istio_request_duration_milliseconds", "gateway_route_duration_seconds"):
        for _ in range(30):
            found = world.prometheus.exemplars(f"{name}_bucket")
            if found:
                break
            threading.Event().wait(1.0)
        assert {exemplar["labels"]["trace_id"] for exemplar in found} == {TRACE}


# -- dashboards --------------------------------------------------------------------------------


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Of our own dashboards."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def rules() -> list[dict[str, str]]:
    texts = [path.read_text(encoding="utf-8") for path in RULES]
    return [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


@pytest.mark.timeout(120)
def test_prometheus_answers_every_query_of_dashboards_and_rules(world: World) -> None:
    """Under demo traffic none of them returns nothing."""
    wanted = {
        f"{title} {query}": query.replace("$__rate_interval", "10s").replace('"$job"', '".*"')
        .replace('"$instance"', '".*"')
        for title, query in dashboard_queries()
    } | {rule["record"]: rule["record"] for rule in rules() if "record" in rule}  # fmt: skip
    assert len(wanted) > 60

    assert world.answered(wanted) == {}
    for rule in rules():
        if "alert" in rule:
            world.prometheus.query(rule["expr"])


SIDE = 'reporter=~"source|waypoint"'
SERVICE = 'destination_service=~"shop.default.svc.cluster.local"'
INTO = 'destination_workload="shop", destination_workload_namespace="default"'
OUT = 'source_workload="asgi-gateway", source_workload_namespace="default"'
WORKLOAD = "destination_workload, destination_workload_namespace"


def joined(query: str) -> str:
    """A row of the tables of Istio's mesh dashboard."""
    return f'label_join({query}, "destination_workload_var", ".", {_quoted(WORKLOAD)})'


def _quoted(names: str) -> str:
    return ", ".join(f'"{name}"' for name in names.split(", "))


def quantile(what: str, labels: str, by: str = "") -> str:
    """One of the many percentiles."""
    return f"histogram_quantile(0.99, sum(irate({what}_bucket{{{labels}}}[10s])) by (le{by and ', ' + by}))"


def total(labels: str, by: str = "") -> str:
    """One of the many rates."""
    return f"round(sum(irate(istio_requests_total{{{labels}}}[10s])){by and f' by ({by})'}, 0.001)"


def share(labels: str, by: str = "") -> str:
    """Of requests that did not fail."""
    grouped = by and f" by ({by})"
    good = f'sum(rate(istio_requests_total{{{labels}, response_code!~"5.."}}[10s])){grouped}'
    return f"{good} / sum(rate(istio_requests_total{{{labels}}}[10s])){grouped}"


DURATION, SENT, RECEIVED = (
    "istio_request_duration_milliseconds",
    "istio_response_bytes",
    "istio_request_bytes",
)
ISTIO = {
    "mesh: global request volume": total(SIDE),
    "mesh: global success rate": share(SIDE),
    "mesh: 4xx": f'round(sum(rate(istio_requests_total{{{SIDE}, response_code=~"4.."}}[10s])), 0.01)',
    "mesh: 5xx": f'round(sum(rate(istio_requests_total{{{SIDE}, response_code=~"5.."}}[10s])), 0.01)',
    "mesh: workloads": joined(
        f"sum(rate(istio_requests_total{{{SIDE}}}[10s])) by ({WORKLOAD}, destination_service)"
    ),
    "mesh: latency of workloads": joined(quantile(DURATION, SIDE, WORKLOAD)),
    "mesh: success of workloads": joined(share(SIDE, WORKLOAD)),
    "service: $service": "sum(istio_requests_total{}) by (destination_service)",
    "service: client volume": total(f"{SIDE}, {SERVICE}"),
    "service: client success": share(f"{SIDE}, {SERVICE}"),
    "service: client duration": quantile(DURATION, f"{SIDE}, {SERVICE}") + " / 1000",
    "service: by source and code": total(
        f'connection_security_policy!="mutual_tls", {SIDE}, {SERVICE}, {OUT}',
        "source_workload, source_workload_namespace, response_code",
    ),
    "service: request size": quantile(RECEIVED, f"{SIDE}, {SERVICE}", "source_workload"),
    "service: response size": quantile(SENT, f"{SIDE}, {SERVICE}", "source_workload"),
    "service: by workload": total(f"{SIDE}, {SERVICE}", f"{WORKLOAD}, response_code"),
    "workload: $namespace": "sum(istio_requests_total) by (destination_workload_namespace)",
    "workload: incoming volume": total(f'{INTO}, reporter=~"source"'),
    "workload: incoming by source": total(
        f'connection_security_policy!="mutual_tls", {INTO}', "source_workload, response_code"
    ),
    "workload: incoming success": share(INTO, "source_workload, source_workload_namespace"),
    "workload: outgoing over mTLS": total(
        f'destination_principal=~"spiffe.*", {OUT}, reporter="source"', "destination_service, response_code"
    ),
    "workload: outgoing": total(
        f'destination_principal!~"spiffe.*", {OUT}, reporter="source"', "destination_service, response_code"
    ),
    "workload: outgoing duration": quantile(DURATION, f'{OUT}, reporter="source"', "destination_service"),
    "workload: outgoing size": quantile(RECEIVED, f'{OUT}, reporter="source"', "destination_service"),
}
"""The HTTP panels of Istio's mesh, service and workload dashboards (manifests/addons/dashboards)."""


@pytest.mark.timeout(120)
def test_istios_dashboards_show_the_gateway(world: World) -> None:
    """With the variables that a reader would choose; by their standard labels alone."""
    assert world.answered(ISTIO) == {}
    labels = {name for query in ISTIO.values() for name in re.findall(r"\b(?:source|destination)_\w+", query)}
    assert len(labels) > 6


@pytest.mark.timeout(120)
def test_the_certificates_of_both_sides_are_told(world: World) -> None:
    """What Istio's workload dashboard tells mutual TLS by."""
    query = f'istio_requests_total{{destination_principal="{WHO}", source_principal=~".*/sa/gateway"}}'

    assert world.answered({"principals": query}) == {}
