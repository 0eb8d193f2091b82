"""What has no effect yet is named, and what would protect refuses to start."""

from __future__ import annotations

import pytest
from support.documents import analyzed, places

from gateway.config.codes import CODES
from gateway.config.unenforced import TABLE

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"


def document(kind: str, spec: str, *, group: str = NETWORKING, annotations: str = "{}") -> str:
    return f"apiVersion: {group}\nkind: {kind}\nmetadata: {{name: n, annotations: {annotations}}}\nspec: {spec}\n"


def route(field: str) -> str:
    return document(
        "VirtualService", f"{{hosts: [a], http: [{{route: [{{destination: {{host: b}}}}], {field}}}]}}"
    )


def policy(field: str) -> str:
    return document("DestinationRule", f"{{host: a, trafficPolicy: {{{field}}}}}")


def pool(field: str) -> str:
    return policy(f"connectionPool: {{http: {{{field}}}}}")


def telemetry(field: str) -> str:
    return document("Telemetry", f"{{{field}}}", group="telemetry.istio.io/v1")


USES = {
    "zoneAwareLbSetting": policy("loadBalancer: {zoneAwareLbSetting: {}}"),
    "HTTP/2 to upstreams": pool("h2UpgradePolicy: UPGRADE"),
    "useClientProtocol": pool("useClientProtocol: true"),
    "proxyProtocol": policy("proxyProtocol: {version: V1}"),
    "the tunnel": policy("tunnel: {targetHost: a, targetPort: 1}"),
    "resolution DYNAMIC_DNS": document(
        "ServiceEntry", "{hosts: ['*.a'], resolution: DYNAMIC_DNS, ports: []}"
    ),
    "PASSTHROUGH": document(
        "Gateway",
        "{servers: [{port: {number: 1, name: a, protocol: https}, hosts: ['*'], tls: {mode: PASSTHROUGH}}]}",
    ),
    "targetRef": document("AuthorizationPolicy", "{targetRef: {kind: a, name: b}}", group=SECURITY),
    "targetRefs": document("RequestAuthentication", "{targetRefs: [{kind: a, name: b}]}", group=SECURITY),
    "customMetric": telemetry("metrics: [{overrides: [{match: {customMetric: a}}]}]"),
    "reportingInterval": telemetry("metrics: [{reportingInterval: 5s}]"),
    "useRequestIdForTraceSampling": telemetry("tracing: [{useRequestIdForTraceSampling: false}]"),
    "a targetRef": telemetry("targetRef: {kind: a, name: b}"),
    "a list of targetRefs": telemetry("targetRefs: [{kind: a, name: b}]"),
}
"""A document that asks for each feature of the table; a feature that works is taken out of both."""

ENFORCED = (
    route("retries: {attempts: 2, retryOn: '5xx', retryRemoteLocalities: true}, timeout: 1s"),
    route("fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}, mirror: {host: c}"),
    policy("outlierDetection: {}, retryBudget: {}"),
    policy("loadBalancer: {warmup: {duration: 1s}, localityLbSetting: {failoverPriority: [a]}}"),
    policy("connectionPool: {tcp: {maxConnections: 1, connectTimeout: 1s, idleTimeout: 1s}}"),
    pool("maxRequestsPerConnection: 1, idleTimeout: 1s, http2MaxRequests: 1, h2UpgradePolicy: DEFAULT"),
    pool("http1MaxPendingRequests: 1, maxRetries: 1"),
    policy("tls: {mode: DISABLE}"),
    policy("tls: {mode: SIMPLE}"),
    document(
        "Gateway",
        "{servers: [{port: {number: 1, name: a, protocol: https}, hosts: ['*'],"
        " tls: {mode: SIMPLE, credentialName: a}}]}",
    ),
    policy("loadBalancer: {simple: RANDOM, localityLbSetting: {enabled: false}}"),
    document("ServiceEntry", "{hosts: [a], resolution: DNS, ports: []}"),
    document(
        "Gateway",
        "{servers: [{port: {number: 1, name: a, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}]}",
    ),
    document("PeerAuthentication", "{mtls: {mode: PERMISSIVE}}", group=SECURITY),
    document("PeerAuthentication", "{mtls: {mode: STRICT}}", group=SECURITY),
    document("AuthorizationPolicy", "{}", group=SECURITY),
    document("RequestAuthentication", "{}", group=SECURITY),
    telemetry("tracing: [{randomSamplingPercentage: 10}]"),
)


def said(text: str) -> list[tuple[str, str, bool]]:
    """Severity, message and whether it is fatal, of everything that has no effect."""
    return [
        (item.severity, item.message, item.fatal) for item in analyzed(text) if item.code.startswith("GW3")
    ]


def test_every_row_is_tried() -> None:
    """Whoever deletes a row deletes its example, and the other way round."""
    assert {row.feature for row in TABLE} == set(USES)


@pytest.mark.parametrize("feature", USES)
def test_a_feature_without_effect_is_named(feature: str) -> None:
    """Once a document; fatal exactly when something would stay unprotected."""
    protects = {row.protects for row in TABLE if row.feature == feature}
    severity = "error" if protects == {True} else "warning"
    found = [item for item in said(USES[feature]) if f": {feature} is not enforced yet" in item[1]]

    assert [(item[0], item[2]) for item in found] == [(severity, protects == {True})]


@pytest.mark.parametrize("text", ENFORCED)
def test_what_works_is_not_named(text: str) -> None:
    """Neither what is enforced nor what is switched off."""
    assert said(text) == []


def test_a_feature_is_named_once_a_document() -> None:
    """At its first use, wherever it is written."""
    text = """\
    apiVersion: networking.istio.io/v1
    kind: DestinationRule
    metadata: {name: n}
    spec:
      host: a
      subsets:
      - name: v1
        trafficPolicy:
          portLevelSettings:
          - port: {number: 1}
            connectionPool: {http: {useClientProtocol: true}}
      - name: v2
        trafficPolicy:
          proxyProtocol: {version: V1}
          connectionPool: {http: {maxRetries: 1, useClientProtocol: true}}
    """

    assert [item for item in places(text) if item[0].startswith("GW3")] == [
        ("GW318", 14, 7, "warning"),
        ("GW317", 15, 65, "warning"),
    ]


def test_every_code_says_what_happens_instead() -> None:
    """Rows share codes; each code is documented, with the gravest severity of its rows."""
    for row in TABLE:
        grave = any(other.protects for other in TABLE if other.code == row.code)
        assert CODES[row.code].severity == ("error" if grave else "warning")
