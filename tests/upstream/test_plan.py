"""From documents to clusters, and from destinations to their cluster."""

from __future__ import annotations

import pytest
from support.documents import config_of
from test_rules import rule
from test_services import STATIC, entry, settings

from gateway.upstream import Plan, Policy, plan
from gateway.upstream.cluster_config import (
    UNLIMITED,
    ClusterConfig,
    EndpointConfig,
    Keepalive,
    RetryReserve,
    RetryShare,
)

REVIEWS = entry(
    "reviews",
    "hosts: [reviews], ports: [{number: 9080, name: http}], resolution: STATIC, endpoints:"
    " [{address: 10.0.0.1, labels: {version: v1}}, {address: 10.0.0.2, labels: {version: v2, zone: a}}]",
)
TWO_PORTS = entry(
    "api",
    "hosts: [api.example.com], ports: [{number: 80, name: http}, {number: 443, name: tls}], resolution: STATIC",
)


def planned(text: str) -> Plan:
    return plan(config_of(text))


def only(text: str, subset: str | None = None) -> ClusterConfig:
    found = planned(text).find("reviews", None, subset, namespace="default")
    assert found is not None
    return found


def test_a_host_without_rule_has_istios_defaults() -> None:
    assert only(REVIEWS) == ClusterConfig(
        name="outbound|9080||reviews.default.svc.cluster.local",
        host="reviews.default.svc.cluster.local",
        port=9080,
        endpoints=(
            EndpointConfig("10.0.0.1", 9080, labels={"version": "v1"}),
            EndpointConfig("10.0.0.2", 9080, labels={"version": "v2", "zone": "a"}),
        ),
        policy=Policy.LEAST_REQUEST,
        max_connections=UNLIMITED,
        connect_timeout=10.0,
        idle_timeout=3600.0,
        retry_budget=RetryShare(percent=20.0, least=3, burst=25.0, reserve=RetryReserve(5.0, 3600.0)),
        response_hold_bytes=16384,
    )


PORT_LIMIT = "{port: {number: 9080}, connectionPool: {http: {maxRetries: 2}}}"


@pytest.mark.parametrize(
    ("policy", "default", "budget", "retries"),
    [
        ("", "", RetryShare(20.0, 3, 25.0, RetryReserve()), UNLIMITED),
        (
            "",
            "retryBudget: {percent: {value: 50}, minRetryConcurrency: 1, burst: 0}",
            RetryShare(50.0, 1, 0.0, RetryReserve()),
            UNLIMITED,
        ),
        (
            "",
            "retryBudget: {overTime: {reserve: 2, refill: 0s}}",
            RetryShare(20.0, 3, 25.0, RetryReserve(2.0, 0.0)),
            UNLIMITED,
        ),
        ("", "retryBudget: {overTime: {enabled: false}}", RetryShare(20.0, 3, 25.0), UNLIMITED),
        ("", "retryBudget: {enabled: false}", None, UNLIMITED),
        ("connectionPool: {http: {maxRetries: 7}}", "", None, 7),
        ("retryBudget: {}", "retryBudget: {enabled: false}", RetryShare(20.0, 3), UNLIMITED),
        ("retryBudget: {percent: {value: 0.5}}", "", RetryShare(0.5, 3), UNLIMITED),
        (
            "connectionPool: {http: {maxRetries: 7}}, retryBudget: {minRetryConcurrency: 0}",
            "",
            RetryShare(20.0, 0),
            7,
        ),
        (
            f"retryBudget: {{minRetryConcurrency: 9}}, portLevelSettings: [{PORT_LIMIT}]",
            "",
            RetryShare(20.0, 9),
            2,
        ),
    ],
)
def test_retries_are_limited_by_the_rules_budget_else_its_maximum_else_the_default(
    policy: str, default: str, budget: RetryShare | None, retries: int
) -> None:
    text = REVIEWS
    if policy:
        text += rule("a", "reviews", spec=f"trafficPolicy: {{{policy}}}")
    if default:
        text += settings(default)
    found = only(text)
    assert (found.retry_budget, found.max_retries) == (budget, retries)


def test_the_limits_of_a_connection_pool_reach_the_cluster() -> None:
    """0 is unset."""
    http = "http1MaxPendingRequests: 4, http2MaxRequests: 5, maxRetries: 6"
    found = only(
        REVIEWS + rule("a", "reviews", spec=f"trafficPolicy: {{connectionPool: {{http: {{{http}}}}}}}")
    )
    assert (found.max_pending_requests, found.max_requests, found.max_retries) == (4, 5, 6)
    http = "http1MaxPendingRequests: 0, http2MaxRequests: 0, maxRetries: 0"
    found = only(
        REVIEWS + rule("a", "reviews", spec=f"trafficPolicy: {{connectionPool: {{http: {{{http}}}}}}}")
    )
    assert (found.max_pending_requests, found.max_requests, found.max_retries) == (UNLIMITED,) * 3
    assert found.retry_budget is not None


def test_every_port_and_every_subset_of_it_is_a_cluster() -> None:
    text = TWO_PORTS + rule("a", "api.example.com", spec="subsets: [{name: v1}, {name: v2}]")
    assert set(planned(text).clusters) == {
        f"outbound|{port}|{subset}|api.example.com" for port in (443, 80) for subset in ("", "v1", "v2")
    }


def test_a_subset_has_the_endpoints_with_all_its_labels() -> None:
    """No labels take every endpoint; labels nobody has leave a cluster without any, which answers UH."""
    subsets = "subsets: [{name: all}, {name: v2, labels: {version: v2}}, {name: v2b, labels: {version: v2, zone: b}}]"
    text = REVIEWS + rule("a", "reviews", spec=subsets)
    hosts = {name: [item.address for item in only(text, name).endpoints] for name in ("all", "v2", "v2b")}
    assert hosts == {"all": ["10.0.0.1", "10.0.0.2"], "v2": ["10.0.0.2"], "v2b": []}


@pytest.mark.parametrize(
    ("host", "port", "subset", "listener", "name"),
    [
        ("reviews", None, None, 0, "outbound|9080||reviews.default.svc.cluster.local"),
        ("reviews", 9080, None, 0, "outbound|9080||reviews.default.svc.cluster.local"),
        (
            "reviews.default.svc.cluster.local",
            None,
            None,
            80,
            "outbound|9080||reviews.default.svc.cluster.local",
        ),
        ("reviews", 80, None, 0, None),
        ("reviews", None, "v1", 0, None),
        ("ratings", None, None, 0, None),
        ("API.example.com", 443, None, 0, "outbound|443||api.example.com"),
        ("api.example.com", None, None, 80, "outbound|80||api.example.com"),
        ("api.example.com", None, None, 8080, None),
        ("example.com", 80, None, 0, None),
    ],
)
def test_a_destination_finds_its_cluster_or_none(
    host: str, port: int | None, subset: str | None, listener: int, name: str | None
) -> None:
    """Without a port: the only one of the service, else that of the listener. None is answered with NC."""
    found = planned(REVIEWS + TWO_PORTS).find(host, port, subset, namespace="default", listener_port=listener)
    assert (found.name if found else None) == name


def test_short_names_are_of_the_asking_documents_namespace() -> None:
    assert planned(REVIEWS).find("reviews", None, None, namespace="shop") is None


def test_a_wildcard_service_serves_what_it_covers_by_its_own_endpoints() -> None:
    text = (
        entry("a", f"hosts: ['*.example.com'], {STATIC}, endpoints: [{{address: 10.0.0.1}}]")
        + entry("b", f"hosts: ['*.eu.example.com'], {STATIC}")
        + entry("c", f"hosts: [own.eu.example.com], {STATIC}")
    )
    names = [
        found.name if (found := planned(text).find(host, None, None, namespace="default")) else None
        for host in ("x.example.com", "x.eu.example.com", "own.eu.example.com", "example.com")
    ]
    assert names == [
        "outbound|80||*.example.com",
        "outbound|80||*.eu.example.com",
        "outbound|80||own.eu.example.com",
        None,
    ]


def test_without_resolution_there_is_a_cluster_and_nobody_in_it() -> None:
    """The original destination does not exist at an edge, so Istio's gateways have no endpoints either."""
    text = entry("a", "hosts: [reviews], ports: [{number: 80, name: http}]")
    assert only(text).endpoints == ()


def test_an_address_listed_twice_is_one_endpoint() -> None:
    text = entry(
        "a",
        f"hosts: [reviews], {STATIC}, endpoints: [{{address: 10.0.0.1, weight: 5}}, {{address: 10.0.0.1}}]",
    )
    assert only(text).endpoints == (EndpointConfig("10.0.0.1", 80, 5),)


@pytest.mark.parametrize(
    ("balancer", "policy", "size"),
    [
        ("simple: UNSPECIFIED", Policy.LEAST_REQUEST, 0),
        ("simple: LEAST_CONN", Policy.LEAST_REQUEST, 0),
        ("simple: LEAST_REQUEST", Policy.LEAST_REQUEST, 0),
        ("simple: ROUND_ROBIN", Policy.ROUND_ROBIN, 0),
        ("simple: RANDOM", Policy.RANDOM, 0),
        ("consistentHash: {useSourceIp: true}", Policy.RING_HASH, 0),
        ("consistentHash: {useSourceIp: true, minimumRingSize: 7}", Policy.RING_HASH, 7),
        ("consistentHash: {httpHeaderName: x, ringHash: {minimumRingSize: 9}}", Policy.RING_HASH, 9),
        ("consistentHash: {httpHeaderName: x, ringHash: {}}", Policy.RING_HASH, 0),
        ("consistentHash: {httpHeaderName: x, maglev: {}}", Policy.MAGLEV, 0),
        ("consistentHash: {httpHeaderName: x, maglev: {tableSize: 211}}", Policy.MAGLEV, 211),
    ],
)
def test_load_balancers(balancer: str, policy: Policy, size: int) -> None:
    found = only(REVIEWS + rule("a", "reviews", spec=f"trafficPolicy: {{loadBalancer: {{{balancer}}}}}"))
    assert (found.policy, found.table_size) == (policy, size)
    assert (found.consistent_hash is not None) == ("Hash" in balancer)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("tcp: {maxConnections: 0}", {"max_connections": UNLIMITED}),
        ("tcp: {maxConnections: 5, connectTimeout: 250ms}", {"max_connections": 5, "connect_timeout": 0.25}),
        ("tcp: {idleTimeout: 0s}", {"idle_timeout": None}),
        ("tcp: {idleTimeout: 30s}", {"idle_timeout": 30.0}),
        ("tcp: {idleTimeout: 0s}, http: {idleTimeout: 5s}", {"idle_timeout": 5.0}),
        ("tcp: {maxConnectionDuration: 60s}", {"max_connection_duration": 60.0}),
        ("http: {maxRequestsPerConnection: 1}", {"max_requests_per_connection": 1}),
        ("http: {}", {"max_requests_per_connection": 0, "idle_timeout": 3600.0}),
        ("tcp: {tcpKeepalive: {time: 5s, probes: 2}}", {"keepalive": Keepalive(2, 5.0, None)}),
    ],
)
def test_connection_pools(pool: str, expected: dict[str, object]) -> None:
    found = only(REVIEWS + rule("a", "reviews", spec=f"trafficPolicy: {{connectionPool: {{{pool}}}}}"))
    assert {name: getattr(found, name) for name in expected} == expected


def test_settings_reach_the_clusters() -> None:
    text = REVIEWS + settings(
        "limits: {responseHeadBytes: 1000, responseHeaders: 5}, dns: {refreshRate: 7s, nameservers: [10.0.0.53]}"
    )
    found = planned(text)
    assert (only(text).response_head_bytes, only(text).response_headers) == (1000, 5)
    assert (found.refresh_rate, found.nameservers) == (7.0, ("10.0.0.53",))


def test_outlier_detection_and_tls_are_kept_for_who_enforces_them() -> None:
    policy = "trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}, tls: {mode: SIMPLE}}"
    found = only(REVIEWS + rule("a", "reviews", spec=policy))
    assert found.outlier is not None
    assert found.outlier.consecutive_5xx_errors == 3
    assert found.tls is not None
    assert found.tls.mode == "SIMPLE"


def test_the_same_documents_give_an_equal_plan() -> None:
    """Otherwise every reload would replace every cluster."""
    text = (
        REVIEWS
        + TWO_PORTS
        + rule("a", "reviews", "RANDOM", spec="subsets: [{name: v1, labels: {version: v1}}]")
    )
    assert planned(text).clusters == planned(text).clusters
