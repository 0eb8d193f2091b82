"""DestinationRule: what is read, and what is refused where."""

from __future__ import annotations

import textwrap

import pytest

from gateway.config import load
from gateway.config.destination_rule import DestinationRuleSpec

HEAD = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\nspec:\n"


def said(spec: str) -> list[tuple[str, int, int, str]]:
    """Findings of a spec, its lines and columns counted from 1."""
    text = HEAD + textwrap.indent(textwrap.dedent(spec), "  ")
    return [
        (item.code, item.line - 4, item.column - 2, item.severity)
        for item in load([], texts={"f": text}).findings
        if item.code < "GW2"
    ]


def policy(text: str) -> list[tuple[str, int, int, str]]:
    """Findings of a traffic policy in flow style; its first column is 1."""
    prefix = "trafficPolicy: "
    return [
        (code, line - 1, column - len(prefix), severity)
        for code, line, column, severity in said(f"host: a\n{prefix}{text}\n")
    ]


def error(code: str, column: int) -> list[tuple[str, int, int, str]]:
    return [(code, 1, column, "error")]


def warning(code: str, column: int) -> list[tuple[str, int, int, str]]:
    return [(code, 1, column, "warning")]


def test_the_founding_document_s_circuit_breaker() -> None:
    """Pool limits and outlier detection; the old count keeps its value and is remarked on."""
    policy = DestinationRuleSpec.model_validate(
        {
            "host": "httpbin",
            "trafficPolicy": {
                "connectionPool": {
                    "tcp": {"maxConnections": 100},
                    "http": {
                        "http1MaxPendingRequests": 10,
                        "http2MaxRequests": 100,
                        "maxRequestsPerConnection": 2,
                    },
                },
                "outlierDetection": {
                    "consecutiveErrors": 5,
                    "interval": "30s",
                    "baseEjectionTime": "30s",
                    "maxEjectionPercent": 50,
                    "minHealthPercent": 40,
                },
            },
        }
    ).traffic_policy

    assert policy.connection_pool.tcp.max_connections == 100
    assert policy.connection_pool.http.http1_max_pending_requests == 10
    assert policy.connection_pool.http.idle_timeout is None
    assert (policy.outlier_detection.consecutive_errors, policy.outlier_detection.interval) == (5, 30.0)
    assert policy.load_balancer is None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("host: a\nsubsets: [{name: v1, labels: {version: v1}}]\n", []),
        ("host: '*.local'\n", []),
        ("subsets: []\n", [("GW032", 0, -1, "error")]),
        ("host: a\nsubsets: [{name: v1}, {name: v1}]\n", [("GW043", 2, 30, "error")]),
        ("host: a\nsubsets: [{name: a.b}]\n", [("GW026", 2, 18, "error")]),
        ("host: a\nsubsets: [{name: a, labels: {v: 1}}]\n", [("GW031", 2, 33, "error")]),
        ("host: a\nsubsets: [{name: a, labels: {'*': x}}]\n", [("GW041", 2, 35, "error")]),
        ("host: a\nexportTo: [a, a]\n", [("GW043", 2, 15, "error")]),
    ],
)
def test_rules_of_the_whole(spec: str, expected: list[object]) -> None:
    """A host, and subsets with names and labels of their own."""
    assert expected == said(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", error("GW032", -14)),
        ("{connectionPool: {}}", error("GW032", 2)),
        ("{connectionPool: {http: {}}}", []),
        ("{connectionPool: {tcp: {maxConnections: -1}}}", error("GW037", 41)),
        ("{connectionPool: {tcp: {connectTimeout: 0s}}}", error("GW034", 41)),
        ("{connectionPool: {tcp: {idleTimeout: 0s}}}", []),
        ("{connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}", error("GW040", 71)),
        ("{connectionPool: {http: {h2UpgradePolicy: UPGRAD}}}", error("GW033", 43)),
        ("{connectionPool: {http: {http2KeepAlive: {interval: 1s}}}}", error("GW032", 26)),
        ("{tunnel: {targetHost: a, targetPort: 1}, proxyProtocol: {version: V1}}", error("GW040", 42)),
        ("{portLevelSettings: [{port: {number: 80}}]}", error("GW032", 22)),
        ("{portLevelSettings: [{loadBalancer: {simple: RANDOM}}]}", error("GW032", 22)),
        ("{retryBudget: {percent: {value: 101}}}", error("GW037", 33)),
        ("{outlierDetection: {consecutiveErrors: 5}}", [("GW090", 1, 40, "info")]),
        ("{outlierDetection: {consecutiveErrors: -5}}", error("GW037", 40)),
        ("{outlierDetection: {consecutiveLocalOriginFailures: 5}}", error("GW092", 53)),
        ("{outlierDetection: {maxEjectionPercent: 101}}", error("GW037", 41)),
        ("{outlierDetection: {}}", []),
    ],
)
def test_rules_of_limits(text: str, expected: list[object]) -> None:
    """Connection pools, outlier detection, ports, budgets."""
    assert expected == policy(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{simple: LEAST_CONN}", warning("GW050", 25)),
        ("{simple: least_request}", error("GW033", 25)),
        ("{simple: PASSTHROUGH}", error("GW045", 25)),
        ("{simple: RANDOM, consistentHash: {useSourceIp: true}}", error("GW040", 33)),
        ("{consistentHash: {}}", error("GW032", 17)),
        ("{consistentHash: {useSourceIp: true, httpHeaderName: x}}", error("GW040", 47)),
        ("{consistentHash: {httpHeaderName: x, ringHash: {}, maglev: {}}}", error("GW040", 67)),
        ("{consistentHash: {httpHeaderName: x, minimumRingSize: 9}}", warning("GW050", 70)),
        ("{consistentHash: {httpCookie: {name: ''}}}", error("GW032", 53)),
        ("{consistentHash: {httpCookie: {name: c, ttl: 0s}}}", []),
        ("{consistentHash: {httpCookie: {name: c, attributes: [{name: a}, {name: A}]}}}", error("GW043", 87)),
        ("{consistentHash: {useSourceIp: true, maglev: {tableSize: 4}}}", error("GW037", 73)),
        ("{consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}", []),
        ("{localityLbSetting: {distribute: [{from: a, to: {b: 99}}]}}", error("GW093", 60)),
        ("{localityLbSetting: {distribute: [{from: a, to: {b: 50, 'b/c': 50}}]}}", error("GW043", 60)),
        (
            "{localityLbSetting: {failover: [{from: a, to: a}]}}",
            error("GW093", 62) + warning("GW051", 17)[:0],
        ),
        ("{localityLbSetting: {failover: [{from: a, to: b}]}}", warning("GW051", 17)),
        ("{localityLbSetting: {failover: [{from: a/b, to: b}]}}", error("GW093", 55)),
        ("{warmup: {minimumPercent: 10}}", error("GW032", 17)),
        ("{warmup: {duration: 1s, aggression: 0}}", error("GW037", 52)),
        ("{warmupDurationSecs: 60s}", warning("GW050", 37)),
    ],
)
def test_rules_of_balancing(text: str, expected: list[object]) -> None:
    """One way to choose, one hash key, weights that add up."""
    assert expected == policy(f"{{loadBalancer: {text}}}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{mode: SIMPLE, sni: a.b}", []),
        ("{mode: DISABLED}", error("GW033", 14)),
        ("{mode: MUTUAL, clientCertificate: a}", error("GW032", 2)),
        ("{mode: MUTUAL, credentialName: a}", []),
        ("{mode: MUTUAL, credentialName: a, privateKey: b}", error("GW040", 53)),
        ("{mode: ISTIO_MUTUAL, caCertificates: a}", error("GW040", 44)),
        ("{mode: SIMPLE, insecureSkipVerify: true}", warning("GW091", 42)),
        ("{mode: SIMPLE, insecureSkipVerify: true, caCertificates: a}", error("GW040", 64)),
    ],
)
def test_rules_of_tls(text: str, expected: list[object]) -> None:
    """One source of certificates, and verification unless it is refused loudly."""
    assert expected == policy(f"{{tls: {text}}}")
