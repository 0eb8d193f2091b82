"""Gateways: references, hosts, collisions, and what this process does not open."""

from __future__ import annotations

import pytest
from support.documents import analyzed, config_of, places

from gateway.config.analysis import analyze

CODES = tuple(f"GW{number}" for number in (*range(210, 218), 220, 233))


def gateway(name: str, *servers: str, selector: str = "{}", namespace: str = "default") -> str:
    text = f"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    listed = "".join(f"  - {server}\n" for server in servers)
    return f"{text}spec:\n  selector: {selector}\n  servers:\n{listed}---\n"


def server(port: int = 8080, hosts: str = "'*'", *, protocol: str = "HTTP", more: str = "") -> str:
    return f"{{port: {{number: {port}, name: p{port}-{protocol}, protocol: {protocol}}}, hosts: [{hosts}]{more}}}"


def routes(name: str, hosts: str, gateways: str = "", *, namespace: str = "default", match: str = "") -> str:
    text = f"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    bound = f"  gateways: [{gateways}]\n" if gateways else ""
    return f"{text}spec:\n  hosts: [{hosts}]\n{bound}  http:\n  - {match}redirect: {{uri: /x}}\n---\n"


def said(*documents: str) -> list[tuple[str, int, int, str]]:
    return places("".join(documents), *CODES)


def test_a_gateway_and_its_routes_are_fine() -> None:
    """Named short, with a namespace, or the old way."""
    for name in ("edge", "default/edge", "edge.default.svc.cluster.local"):
        assert said(gateway("edge", server()), routes("a", "a.com", name)) == []


def test_an_unknown_gateway_is_pointed_at() -> None:
    """With what was probably meant, also in a match."""
    found = analyzed(gateway("edge", server()) + routes("a", "a.com", "mesh, egde"), "GW210")
    assert [(item.line, item.column, item.severity, item.suggestion) for item in found] == [
        (14, 20, "error", 'did you mean "edge"?')
    ]

    found = analyzed(gateway("edge", server(), namespace="prod") + routes("a", "a.com", "edge"), "GW210")
    assert [item.suggestion for item in found] == ['did you mean "prod/edge"?']

    inside = routes("a", "a.com", "edge", match="match: [{gateways: [none]}]\n    ")
    assert said(gateway("edge", server()), inside) == [("GW210", 16, 25, "error")]


def test_a_gateway_without_routes_is_named() -> None:
    """It would answer 404; a VirtualService without gateways routes for all."""
    assert said(gateway("edge", server()), routes("a", "a.com", "mesh")) == [("GW211", 3, 18, "warning")]
    assert said(gateway("edge", server()), routes("a", "a.com")) == []


@pytest.mark.parametrize(
    ("offered", "wanted", "served"),
    [
        ("a.com", "a.com", True),
        ("'*.com'", "a.com", True),
        ("a.com", "'*.com'", True),
        ("'*.a.com'", "a.com", False),
        ("b.com", "a.com", False),
        ("default/a.com", "a.com", True),
        ("./a.com", "a.com", True),
        ("prod/a.com", "a.com", False),
        ("'*/a.com'", "a.com", True),
        ("A.com", "a.COM", True),
        ("reviews", "reviews", True),
        ("reviews.default", "reviews", True),
        ("reviews.default.svc.cluster.local", "reviews", True),
        ("reviews.prod", "reviews", False),
    ],
)
def test_hosts_must_meet(offered: str, wanted: str, served: bool) -> None:
    """A server's hosts and a VirtualService's, in either direction, within the namespaces that may."""
    found = said(gateway("edge", server(hosts=offered)), routes("a", wanted, "edge"))

    assert found == ([] if served else [("GW212", 13, 11, "warning")])


def test_servers_of_one_port_share_no_host() -> None:
    """Of one Gateway or of two; another port or a narrower scope is another matter."""
    first = server(hosts="a.com, b.com")

    assert said(gateway("a", first), gateway("b", server(hosts="b.com")), routes("v", "'*.com'")) == [
        ("GW213", 15, 70, "error")
    ]
    assert said(gateway("a", first), gateway("b", server(8081, hosts="b.com")), routes("v", "'*.com'")) == []
    assert said(gateway("a", first), gateway("b", server(hosts="prod/b.com")), routes("v", "'*.com'")) == []


def test_a_port_speaks_one_protocol() -> None:
    """Plain text and TLS on one port cannot be told apart."""
    tls = ", tls: {mode: SIMPLE, credentialName: x}"
    two = gateway("a", server(), server(protocol="HTTPS", hosts="b.com", more=tls))

    assert said(two, routes("v", "b.com")) == [("GW214", 8, 56, "error")]
    assert said(gateway("a", server(), server(protocol="HTTP2", hosts="b.com")), routes("v", "b.com")) == []


def test_a_gateway_of_another_process_is_named() -> None:
    """Only once the process has labels of its own."""
    settings = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {labels: {istio: edge}}\n"
    other = gateway("a", server(), selector="{istio: egress}")

    assert said(other, routes("v", "b.com"), settings) == [("GW215", 5, 3, "warning")]
    assert said(other, routes("v", "b.com")) == []
    assert said(gateway("a", server(), selector="{istio: edge}"), routes("v", "b.com"), settings) == []


def test_servers_that_are_not_opened_are_named() -> None:
    """Layer 4 is none of this gateway's business."""
    assert said(gateway("a", server(protocol="TCP")), routes("v", "b.com")) == [("GW217", 7, 54, "warning")]


def test_low_ports_are_root_s() -> None:
    """A remark, unless this is root."""
    config = config_of(gateway("a", server(80)) + routes("v", "b.com"))

    (finding,) = analyze(config, root=False)
    assert (finding.code, finding.line, finding.column, finding.severity) == ("GW216", 7, 21, "info")
    assert analyze(config, root=True) == ()


def test_a_host_in_two_documents_is_named() -> None:
    """Only where both are served on one listener, and however the host is spelt."""
    edge, other = gateway("edge", server()), gateway("other", server(8081))

    assert said(routes("a", "x.com"), routes("b", "X.com")) == [("GW220", 13, 11, "warning")]
    assert said(routes("a", "x"), routes("b", "x.default.svc.cluster.local")) == [
        ("GW220", 13, 11, "warning")
    ]
    assert said(routes("a", "x"), routes("b", "x", namespace="prod")) == []
    assert said(edge, other, routes("a", "x.com", "edge"), routes("b", "x.com", "other")) == []
    assert [
        item[0] for item in said(edge, routes("a", "x.com", "edge"), routes("b", "x.com", "default/edge"))
    ] == ["GW220"]
    assert [item[0] for item in said(edge, routes("a", "x.com", "edge"), routes("b", "x.com"))] == ["GW220"]


def test_a_port_nobody_listens_on_is_named() -> None:
    """match.port is a server's; without Gateways it says nothing."""
    asking = routes("a", "x.com", match="match: [{port: 9}]\n    ")

    assert said(gateway("edge", server()), asking) == [("GW233", 15, 20, "warning")]
    assert said(asking) == []
