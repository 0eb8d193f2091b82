"""Policies for nobody, and rules that rely on policies that are not there."""

from __future__ import annotations

import pytest
from support.documents import places

ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a]
  resolution: STATIC
  ports: [{number: 80, name: http}]
  endpoints: [{address: 127.0.0.1, labels: {app: a}}]
---
"""
SETTINGS = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {labels: {istio: edge}}\n---\n"


def policy(kind: str, spec: str, *, namespace: str = "shop", name: str = "p") -> str:
    group = "telemetry" if kind == "Telemetry" else "security"
    head = (
        f"apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    )
    return f"{head}spec:\n  {spec}\n---\n"


def selecting(labels: str) -> str:
    return f"selector: {{matchLabels: {{{labels}}}}}"


@pytest.mark.parametrize(
    "kind", ["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Telemetry"]
)
def test_a_selector_that_selects_nobody_is_named(kind: str) -> None:
    """Of every kind that has one."""
    assert places(ENTRY + policy(kind, selecting("app: a")), "GW270") == []
    assert places(ENTRY + policy(kind, selecting("app: b")), "GW270") == [("GW270", 14, 14, "warning")]


def test_selectors_are_of_their_namespace() -> None:
    """The root namespace selects in all of them."""
    kind, labels = "AuthorizationPolicy", selecting("app: a")

    assert places(ENTRY + policy(kind, labels, namespace="istio-system"), "GW270") == []
    assert len(places(ENTRY + policy(kind, labels, namespace="other"), "GW270")) == 1


def test_the_gateway_itself_can_be_selected() -> None:
    """By its own labels, in its own namespace."""
    kind, labels = "AuthorizationPolicy", selecting("istio: edge")

    assert places(SETTINGS + policy(kind, labels, namespace="default"), "GW270") == []
    assert len(places(SETTINGS + policy(kind, labels), "GW270")) == 1


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("AuthorizationPolicy", "{}"), ("PeerAuthentication", "mtls: {mode: STRICT}"),
     ("RequestAuthentication", "jwtRules: [{issuer: https://a}]")],
)  # fmt: skip
def test_a_policy_for_a_namespace_without_services_is_named(kind: str, spec: str) -> None:
    """Most likely the namespace is misspelt; the gateway's own and the root one are never empty."""
    assert places(ENTRY + policy(kind, spec, namespace="shpo"), "GW272") == [("GW272", 12, 32, "warning")]
    for namespace in ("shop", "default", "istio-system"):
        assert places(ENTRY + policy(kind, spec, namespace=namespace), "GW272") == []
    # One with a selector is GW270's.
    assert places(ENTRY + policy(kind, f"{selecting('app: a')}", namespace="shpo"), "GW272") == []


CLAIM = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [v]
  http:
  - match:
    - headers:
        "@request.auth.claims.group": {exact: a}
      withoutHeaders:
        "@request.auth.claims[b][c]": {}
    redirect: {uri: /x}
---
"""


def test_claims_need_verified_tokens() -> None:
    """IST0149, in both kinds of conditions."""
    assert places(CLAIM, "GW232") == [("GW232", 9, 9, "error"), ("GW232", 11, 9, "error")]


@pytest.mark.parametrize(
    ("documents", "fine"),
    [
        (policy("RequestAuthentication", "jwtRules: []", namespace="default"), True),
        (policy("RequestAuthentication", "jwtRules: []", namespace="istio-system"), True),
        (policy("RequestAuthentication", "jwtRules: []"), False),
        (SETTINGS + policy("RequestAuthentication", selecting("istio: edge"), namespace="default"), True),
        (SETTINGS + policy("RequestAuthentication", selecting("istio: other"), namespace="default"), False),
    ],
)
def test_the_tokens_must_be_verified_at_the_gateway(documents: str, fine: bool) -> None:
    """A policy of another namespace or for other workloads does not help."""
    assert (places(documents + CLAIM, "GW232") == []) is fine


@pytest.mark.parametrize("kind", ["PeerAuthentication", "Telemetry"])
def test_of_several_documents_for_a_namespace_the_oldest_counts(kind: str) -> None:
    """The others are pointed at; those with a selector are other matters."""
    old = policy(kind, "selector: null", name="z").replace(
        "name: z", "name: z, creationTimestamp: 2020-01-01T00:00:00Z"
    )
    new = policy(kind, "selector: null", name="a").replace(
        "name: a", "name: a, creationTimestamp: 2024-01-01T00:00:00Z"
    )

    assert places(new + old, "GW271") == [("GW271", 3, 18, "warning")]
    assert places(new + policy(kind, selecting("app: a")), "GW271") == []
    assert places(new + policy(kind, "selector: null", namespace="other"), "GW271") == []


SERVER = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: ["*"]
    tls: {mode: %s}
---
"""


@pytest.mark.parametrize(
    "spec",
    ["mtls: {mode: STRICT}", "{selector: {matchLabels: {app: a}}, portLevelMtls: {80: {mode: STRICT}}}"],
)
def test_certificates_that_nobody_asks_for_are_named(spec: str) -> None:
    """STRICT refuses everybody where no server asks for a certificate."""
    text = ENTRY + policy("PeerAuthentication", spec)

    assert [code for code, *_ in places(text, "GW273")] == ["GW273"]
    assert [code for code, *_ in places(text + SERVER % "SIMPLE, credentialName: edge", "GW273")] == ["GW273"]
    for mode in ("MUTUAL, credentialName: edge", "OPTIONAL_MUTUAL, credentialName: edge", "ISTIO_MUTUAL"):
        assert places(text + SERVER % mode, "GW273") == []
    assert places(text.replace("STRICT", "PERMISSIVE"), "GW273") == []
