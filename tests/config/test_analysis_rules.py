"""DestinationRules and ServiceEntries that concern nobody."""

from __future__ import annotations

from support.documents import analyzed, places

ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  resolution: STATIC
  ports: [{number: 80, name: http}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1, app: reviews}}]
---
"""
HEAD = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: reviews}\nspec:\n"


def said(spec: str, *, before: str = ENTRY) -> list[tuple[str, int, int, str]]:
    """Findings of a DestinationRule's spec; its first line is line 1, its first column 1."""
    text = before + HEAD + "".join(f"  {line}\n" for line in spec.splitlines())
    start = (before + HEAD).count("\n")
    return [
        (code, line - start, column - 2, severity)
        for code, line, column, severity in places(text, "GW240", "GW241", "GW242", "GW243")
    ]


def test_a_rule_for_a_known_host_is_fine() -> None:
    """With subsets that endpoints carry, exact or by wildcard."""
    assert said("host: reviews\nsubsets: [{name: v1, labels: {version: v1}}, {name: all}]") == []
    assert said('host: "*.default.svc.cluster.local"\nsubsets: [{name: v1, labels: {version: v1}}]') == []


def test_a_rule_for_nobody_is_named() -> None:
    """IST0174."""
    assert said("host: revews") == [("GW240", 1, 7, "warning")]
    assert said("host: app.local") == []
    assert said('host: "*.example.com"') == [("GW240", 1, 7, "warning")]


def test_a_subset_without_endpoints_is_named() -> None:
    """IST0173; what the endpoints carry instead is said."""
    spec = "host: reviews\nsubsets:\n- name: v2\n  labels: {version: v2}"
    assert said(spec) == [("GW241", 4, 3, "error")]

    text = ENTRY + HEAD + "  host: reviews\n  subsets: [{name: v2, labels: {version: v2}}]"
    (finding,) = analyzed(text, "GW241")
    assert finding.suggestion == "they have version: v1"
    assert not finding.fatal


def test_subsets_of_unknown_endpoints_are_not_judged() -> None:
    """Workloads that no document lists may still carry the labels."""
    nowhere = ENTRY.replace("STATIC", "NONE").replace("  endpoints:", "  # endpoints:")

    assert said("host: reviews\nsubsets: [{name: v2, labels: {version: v2}}]", before=nowhere) == []


def test_subsets_look_at_workload_entries() -> None:
    """A document's own labels win over those of its spec."""
    selecting = ENTRY.replace(
        "  endpoints: [{address: 127.0.0.1, labels: {version: v1, app: reviews}}]",
        "  workloadSelector: {labels: {app: reviews}}",
    )
    workload = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: w, labels: {version: v2}}
spec: {address: 127.0.0.1, labels: {app: reviews, version: v1}}
---
"""
    spec = "host: reviews\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"

    assert said(spec, before=selecting + workload) == [("GW241", 2, 22, "error")]


def test_settings_of_an_unknown_port_are_named() -> None:
    """Also in subsets."""
    policy = "{portLevelSettings: [{port: {number: 8080}, loadBalancer: {simple: RANDOM}}]}"

    assert said(f"host: reviews\ntrafficPolicy: {policy}") == [("GW242", 2, 53, "warning")]
    found = said(f"host: reviews\nsubsets:\n- name: v1\n  trafficPolicy: {policy}")
    assert [item[0] for item in found] == ["GW242"]


def test_two_rules_of_a_host_are_put_together() -> None:
    """The second is pointed at, however it spells the host."""
    second = (
        "---\n"
        + HEAD.replace("name: reviews", "name: second")
        + "  host: reviews.default.svc.cluster.local\n"
    )
    text = ENTRY + HEAD + "  host: reviews\n" + second

    assert places(text, "GW243") == [("GW243", 20, 9, "warning")]


def entry(spec: str, *, rest: str = "") -> list[tuple[str, int, int, str]]:
    head = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e}\nspec:\n"
    return places(
        head + "".join(f"  {line}\n" for line in spec.splitlines()) + rest, "GW260", "GW261", "GW262", "GW263"
    )


def test_services_without_endpoints_are_named() -> None:
    """Each kind of having none, at what causes it."""
    ports = "ports: [{number: 80, name: http}]\nhosts: [a]"

    assert entry(ports) == [("GW262", 6, 3, "warning")]
    assert entry(f"{ports}\nresolution: NONE") == [("GW262", 7, 15, "warning")]
    assert entry(f"{ports}\nresolution: STATIC") == [("GW262", 7, 15, "warning")]
    assert entry(f"{ports}\nresolution: STATIC\nworkloadSelector: {{labels: {{a: b}}}}") == [
        ("GW261", 8, 22, "warning")
    ]
    assert entry(f"{ports}\nresolution: DNS") == []


def test_a_service_without_ports_is_named() -> None:
    """No destination could reach it."""
    assert entry("hosts: [a]\nresolution: DNS") == [("GW263", 5, 3, "warning")]


def test_the_gateway_s_namespace_wins_a_host() -> None:
    """Of two namespaces the other one's entry is not used, whatever the order of the files."""
    spec = "hosts: [a.example.com]\nresolution: DNS\nports: [{number: 80, name: http}]"
    foreign = (
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: x, namespace: other}\n"
    )
    foreign += "spec: {hosts: [a.example.com], resolution: DNS, ports: [{number: 80, name: http}]}\n"

    assert entry(spec, rest=foreign) == [("GW260", 12, 16, "warning")]
