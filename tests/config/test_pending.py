"""What is not enforced yet is named, and what protects stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import Finding, load


def document(kind: str, spec: str, extra: str = "") -> str:
    group = {"VirtualService": "networking", "DestinationRule": "networking", "Gateway": "networking"}.get(
        kind, "telemetry" if kind == "Telemetry" else "security"
    )
    return f"apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: a{extra}}}\nspec: {spec}\n"


def found(kind: str, spec: str, extra: str = "") -> list[Finding]:
    loaded = load([], texts={"f": document(kind, spec, extra)})
    assert (loaded.config is None) == any(item.fatal for item in loaded.findings)
    return [item for item in loaded.findings if item.code in {"GW300", "GW301"}]


RULE = "{hosts: [a], http: [{route: [{destination: {host: b}}], %s}]}"
POLICY = "{host: a, trafficPolicy: {%s}}"
SERVER = "{servers: [{port: {number: 1, name: a, protocol: %s}, hosts: [a]%s}]}"


@pytest.mark.parametrize(
    ("kind", "spec", "named"),
    [
        ("VirtualService", RULE % "retries: {attempts: 3}", "retries"),
        ("VirtualService", RULE % "fault: {abort: {httpStatus: 500, percentage: {value: 1}}}", "fault"),
        ("VirtualService", RULE % "mirror: {host: c}", "mirror"),
        ("VirtualService", RULE % "mirrors: [{destination: {host: c}}]", "mirror"),
        ("VirtualService", RULE % "match: [{headers: {'@request.auth.claims.a': {}}}]", "JWT claims"),
        ("DestinationRule", POLICY % "outlierDetection: {consecutive5xxErrors: 1}", "outlierDetection"),
        ("DestinationRule", POLICY % "connectionPool: {http: {http2MaxRequests: 1}}", "http2MaxRequests"),
        ("DestinationRule", POLICY % "connectionPool: {http: {h2UpgradePolicy: UPGRADE}}", "HTTP/2"),
        (
            "DestinationRule",
            POLICY % "portLevelSettings: [{port: {number: 1}, outlierDetection: {}}]",
            "outlier",
        ),
        ("Gateway", SERVER % ("TCP", ""), "TCP"),
        ("Telemetry", "{accessLogging: [{disabled: true}]}", "Telemetry default/a"),
        ("AuthorizationPolicy", "{action: AUDIT, rules: [{}]}", "AuthorizationPolicy default/a"),
    ],
)
def test_a_feature_to_come_is_named_in_a_warning(kind: str, spec: str, named: str) -> None:
    """The process starts, and the operator knows what does not work."""
    findings = found(kind, spec)

    assert [(item.code, item.severity, item.fatal) for item in findings] == [("GW300", "warning", False)]
    assert named in findings[0].message


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("AuthorizationPolicy", "{}"),
        ("AuthorizationPolicy", "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}"),
        ("PeerAuthentication", "{mtls: {mode: STRICT}}"),
        ("PeerAuthentication", "{selector: {matchLabels: {a: b}}, portLevelMtls: {80: {mode: STRICT}}}"),
        ("RequestAuthentication", "{jwtRules: [{issuer: 'https://a', jwksUri: 'https://a/k'}]}"),
        ("DestinationRule", POLICY % "tls: {mode: SIMPLE}"),
        ("DestinationRule", "{host: a, subsets: [{name: v1, trafficPolicy: {tls: {mode: SIMPLE}}}]}"),
        ("Gateway", SERVER % ("HTTPS", ", tls: {mode: SIMPLE, credentialName: a}")),
    ],
)
def test_a_protection_to_come_stops_the_start(kind: str, spec: str) -> None:
    """Better not to serve than to serve unprotected."""
    assert [(item.code, item.severity, item.fatal) for item in found(kind, spec)] == [
        ("GW301", "error", True)
    ]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("PeerAuthentication", "{mtls: {mode: PERMISSIVE}}"),
        ("PeerAuthentication", "{mtls: {mode: DISABLE}}"),
        ("PeerAuthentication", "{}"),
        ("DestinationRule", POLICY % "tls: {mode: DISABLE}"),
        ("DestinationRule", POLICY % "connectionPool: {tcp: {maxConnections: 1}}"),
        ("VirtualService", RULE % "retries: {attempts: 0}"),
        ("VirtualService", RULE % "timeout: 1s"),
        ("Gateway", SERVER % ("HTTP", "")),
    ],
)
def test_what_works_or_asks_for_nothing_is_not_named(kind: str, spec: str) -> None:
    """No noise."""
    assert found(kind, spec) == []


def test_a_policy_that_only_records_stops_nothing() -> None:
    """`istio.io/dry-run` never refuses a request."""
    extra = ", annotations: {istio.io/dry-run: 'true'}"

    assert [item.code for item in found("AuthorizationPolicy", "{rules: [{}]}", extra)] == ["GW300"]


def test_a_feature_is_named_once_a_resource_at_its_first_use() -> None:
    """A thousand rules with retries are one warning."""
    rule = "{route: [{destination: {host: b}}], retries: {attempts: 1}}"
    findings = found("VirtualService", f"{{hosts: [a], http: [{rule}, {rule}]}}")

    assert [(item.line, item.column) for item in findings] == [(4, 63)]


def test_findings_are_in_reading_order_over_files() -> None:
    """What concerns the whole stands between what concerns single lines."""
    one = document("VirtualService", RULE % "retries: {attempts: 1}")
    two = document("VirtualService", RULE % "mirror_percent: 1, mirror: {host: c}", extra="b")

    findings = load([], texts={"g": one, "f": two + "---\n" + document("Telemetry", "{}")}).findings

    assert [item.path for item in findings] == ["g", "f", "f", "f"]
    assert [item.line for item in findings] == [4, 4, 4, 7]


def test_the_shipped_configuration_starts() -> None:
    """`routes.yaml` and the examples have no error; what is to come is only a warning."""
    root = Path(__file__).parents[2]
    for path in (root / "routes.yaml", *sorted((root / "examples").glob("*.yaml"))):
        loaded = load(path)

        assert [str(item) for item in loaded.findings if item.severity == "error"] == []
        assert loaded.config is not None
