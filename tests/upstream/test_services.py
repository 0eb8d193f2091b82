"""What ServiceEntries and WorkloadEntries say about hosts, ports and endpoints."""

from __future__ import annotations

import pytest
from support.documents import config_of

from gateway.upstream.cluster_config import EndpointConfig, Resolution
from gateway.upstream.services import ServicePorts, services


def entry(name: str, spec: str, metadata: str = "") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n"
        f"metadata: {{name: {name}{metadata}}}\nspec: {{{spec}}}\n---\n"
    )


def workload(name: str, spec: str, metadata: str = "") -> str:
    return entry(name, spec, metadata).replace("ServiceEntry", "WorkloadEntry")


def settings(spec: str) -> str:
    return (
        f"apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {{name: g}}\nspec: {{{spec}}}\n---\n"
    )


def found(text: str) -> dict[str, ServicePorts]:
    return services(config_of(text))


HTTP = "ports: [{number: 80, name: http}]"
STATIC = f"{HTTP}, resolution: STATIC"


def test_a_short_host_is_a_service_of_its_namespace() -> None:
    assert list(found(entry("a", f"hosts: [reviews, api.example.com], {STATIC}", ", namespace: shop"))) == [
        "reviews.shop.svc.cluster.local",
        "api.example.com",
    ]


@pytest.mark.parametrize(
    ("endpoint", "port", "expected"),
    [
        ("address: 10.0.0.1", "number: 80", 80),
        ("address: 10.0.0.1", "number: 80, targetPort: 8080", 8080),
        ("address: 10.0.0.1, ports: {http: 9080}", "number: 80, targetPort: 8080", 9080),
    ],
)
def test_the_port_of_an_endpoint(endpoint: str, port: str, expected: int) -> None:
    """Its own by name, then `targetPort`, then the service's number."""
    text = entry(
        "a", f"hosts: [a.b], ports: [{{{port}, name: http}}], resolution: STATIC, endpoints: [{{{endpoint}}}]"
    )
    assert found(text)["a.b"].ports == {
        int(port.split(",", maxsplit=1)[0].split()[1]): (EndpointConfig("10.0.0.1", expected),)
    }


def test_a_unix_socket_has_no_port() -> None:
    text = entry("a", f"hosts: [a.b], {STATIC}, endpoints: [{{address: 'unix:///run/App.sock'}}]")
    (endpoint,) = found(text)["a.b"].ports[80]
    assert (endpoint.address, endpoint.port, endpoint.is_unix) == ("/run/App.sock", 0, True)


def test_weight_labels_and_locality_come_along() -> None:
    text = entry(
        "a",
        f"hosts: [a.b], {STATIC}, endpoints: [{{address: 10.0.0.1, weight: 0, labels: {{v: '1'}}, locality: r/z}},"
        " {address: 10.0.0.2, weight: 7}]",
    )
    assert found(text)["a.b"].ports[80] == (
        EndpointConfig("10.0.0.1", 80, 1, {"v": "1"}, "r/z"),
        EndpointConfig("10.0.0.2", 80, 7),
    )


def test_dns_without_endpoints_looks_the_host_up() -> None:
    services_ = found(entry("a", f"hosts: [API.example.com, b.example.com], {HTTP}, resolution: DNS"))
    assert [item.ports[80] for item in services_.values()] == [
        (EndpointConfig("api.example.com", 80),),
        (EndpointConfig("b.example.com", 80),),
    ]
    assert services_["api.example.com"].resolution is Resolution.DNS


@pytest.mark.parametrize(
    "spec", ["", ", resolution: NONE", ", resolution: STATIC", ", resolution: DYNAMIC_DNS"]
)
def test_other_resolutions_without_endpoints_have_none(spec: str) -> None:
    host = "'*.example.com'" if "DYNAMIC" in spec else "api.example.com"
    (service,) = found(entry("a", f"hosts: [{host}], {HTTP}{spec}")).values()
    assert service.ports == {80: ()}


def test_a_workload_selector_takes_workloads_of_its_namespace() -> None:
    """All labels must be there; a document's own labels win over those in its spec."""
    text = (
        entry(
            "a",
            f"hosts: [a.b], {STATIC}, workloadSelector: {{labels: {{app: x, v: '1'}}}}",
            ", namespace: shop",
        )
        + workload("one", "address: 10.0.0.1, labels: {app: x, v: '1'}", ", namespace: shop")
        + workload(
            "two", "address: 10.0.0.2, labels: {app: x, v: '2'}", ", namespace: shop, labels: {v: '1'}"
        )
        + workload("three", "address: 10.0.0.3, labels: {app: x, v: '2'}", ", namespace: shop")
        + workload("four", "address: 10.0.0.4, labels: {app: x, v: '1'}")
        + workload("five", "address: name.example, labels: {app: x, v: '1'}", ", namespace: shop")
    )
    assert [item.address for item in found(text)["a.b"].ports[80]] == ["10.0.0.1", "10.0.0.2"]


def test_entries_of_one_namespace_with_the_same_host_add_up() -> None:
    text = entry("a", f"hosts: [a.b], {STATIC}, endpoints: [{{address: 10.0.0.1}}]") + entry(
        "b",
        "hosts: [a.b], ports: [{number: 80, name: http}, {number: 81, name: more}], resolution: STATIC,"
        " endpoints: [{address: 10.0.0.2}]",
    )
    assert {port: [item.address for item in items] for port, items in found(text)["a.b"].ports.items()} == {
        80: ["10.0.0.1", "10.0.0.2"],
        81: ["10.0.0.2"],
    }


def test_of_two_namespaces_the_gateways_own_wins_then_the_oldest() -> None:
    old = ", namespace: old, creationTimestamp: '2020-01-01T00:00:00Z'"
    new = ", namespace: new, creationTimestamp: '2021-01-01T00:00:00Z'"
    text = entry("a", f"hosts: [a.b], {STATIC}", new) + entry("b", f"hosts: [a.b], {STATIC}", old)
    assert found(text)["a.b"].namespace == "old"
    own = entry(
        "c", f"hosts: [a.b], {STATIC}", ", namespace: mine, creationTimestamp: '2022-01-01T00:00:00Z'"
    )
    assert found(text + own + settings("namespace: mine"))["a.b"].namespace == "mine"


def test_hosts_that_are_not_exported_here_are_unknown() -> None:
    text = entry("a", f"hosts: [a.b], {STATIC}, exportTo: ['.']", ", namespace: shop")
    assert found(text) == {}
    assert list(found(text + settings("namespace: shop"))) == ["a.b"]


def test_udp_ports_are_not_for_us() -> None:
    text = entry("a", "hosts: [a.b], ports: [{number: 53, name: dns, protocol: UDP}], resolution: STATIC")
    assert found(text)["a.b"].ports == {}
