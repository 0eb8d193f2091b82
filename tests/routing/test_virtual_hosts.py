"""Which VirtualService takes a request: hosts, listeners, gateways, and the order of routes."""

from __future__ import annotations

import pytest
from support.routing import request, service, snapshot, where

from gateway.http.request import Request
from gateway.routing import Snapshot


def virtual(
    name: str, hosts: str, http: str = "", *, namespace: str = "default", gateways: str = "", more: str = ""
) -> str:
    """A VirtualService; its only rule takes everything unless told otherwise."""
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{hosts}]
  {f"gateways: [{gateways}]" if gateways else ""}
  {more}
  http: {http or "[{route: [{destination: {host: b.example}}]}]"}
"""


def gateway(name: str, servers: str, *, namespace: str = "default", selector: str = "{}") -> str:
    return f"""\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {selector}
  servers: [{servers}]
"""


def http(port: int, hosts: str, more: str = "") -> str:
    return f"{{port: {{number: {port}, name: http-{port}, protocol: HTTP}}, hosts: [{hosts}]{more}}}"


B = service("b.example")
TO = "route: [{destination: {host: b.example}}]"


def to(host: str) -> Request:
    return request(host=host)


def compiled(*documents: str) -> Snapshot:
    return snapshot(*documents, B)


@pytest.mark.parametrize(
    "host",
    [
        "reviews",
        "Reviews:9080",
        "reviews.default",
        "reviews.default.svc",
        "reviews.default.svc.cluster.local",
    ],
)
@pytest.mark.parametrize("written", ["reviews", "reviews.default.svc.cluster.local"])
def test_a_service_is_reached_by_all_its_names(written: str, host: str) -> None:
    """Whichever the VirtualService uses; port and case of the Host header do not matter."""
    assert where(compiled(virtual("reviews", written)), to(host)) == "reviews 0"


def test_a_short_name_is_that_of_the_gateways_own_namespace() -> None:
    """`reviews.shop` needs its namespace; without a competitor the short name is free."""
    both = compiled(virtual("theirs", "reviews", namespace="shop"), virtual("ours", "reviews"))
    theirs = compiled(virtual("theirs", "reviews", namespace="shop"))

    assert [where(both, to(host)) for host in ("reviews", "reviews.shop", "reviews.default")] == [
        "ours 0",
        "shop/theirs 0",
        "ours 0",
    ]
    assert where(theirs, to("reviews")) == "shop/theirs 0"


@pytest.mark.parametrize("turn", [1, -1])
def test_a_host_written_out_beats_a_short_name(turn: int) -> None:
    """`reviews.shop` is a domain of its own when somebody writes it, before or after."""
    documents = [virtual("short", "reviews", namespace="shop"), virtual("domain", "reviews.shop")]

    assert where(compiled(*documents[::turn]), to("reviews.shop")) == "domain 0"


def test_the_most_specific_host_decides_without_falling_through() -> None:
    """Its routes do not fit: 404, although the wildcard's would."""
    snap = compiled(
        virtual("exact", "a.shop.com", f"[{{match: [{{uri: {{exact: /x}}}}], {TO}}}]"),
        virtual("wild", "'*.shop.com'"),
        virtual("all", "'*'"),
    )

    assert [where(snap, to(host)) for host in ("a.shop.com", "b.shop.com", "shop.com", "b.a.shop.com")] == [
        "-",
        "wild 0",
        "all 0",
        "wild 0",
    ]
    assert where(snap, request("/x", host="a.shop.com")) == "exact 0.0"


def test_routes_of_several_documents_for_one_host_are_joined() -> None:
    """By name, as neither says when it was created, with what takes everything at the end."""
    snap = compiled(
        virtual(
            "second",
            "shop.com",
            f"[{{match: [{{uri: {{prefix: /a}}}}, {{uri: {{prefix: /b}}}}], {TO}}}, {{{TO}}}]",
        ),
        virtual("first", "shop.com", f"[{{match: [{{uri: {{prefix: /a}}}}], {TO}}}, {{{TO}}}]"),
    )
    routes = snap.default.virtual_hosts[0].routes

    assert [str(route.source) for route in routes] == [
        "default/first http[0].match[0]",
        "default/second http[0].match[0]",
        "default/second http[0].match[1]",
        "default/first http[1]",
        "default/second http[1]",
    ]
    assert where(snap, request("/b", host="shop.com")) == "second 0.1"


def test_nothing_after_a_rule_that_takes_everything() -> None:
    """Routes that cannot be reached are not made."""
    snap = compiled(virtual("a", "shop.com", f"[{{{TO}}}, {{match: [{{uri: {{exact: /x}}}}], {TO}}}]"))

    assert len(snap.default.virtual_hosts[0].routes) == 1


def test_hosts_of_one_document_share_their_index() -> None:
    """A hundred hosts cost one index."""
    snap = compiled(virtual("a", "a.com, b.com"))
    one, other = snap.default.virtual_hosts

    assert one.match is other.match


def test_without_gateways_a_document_applies_on_every_listener() -> None:
    """With them only there; `mesh` is the listener without Gateway document."""
    snap = compiled(
        gateway("edge", http(80, "'*'")),
        gateway("admin", http(81, "'*'")),
        virtual("everywhere", "every.com"),
        virtual("edge", "edge.com", gateways="edge"),
        virtual("inner", "mesh.com", gateways="mesh"),
        virtual("both", "both.com", gateways="mesh, admin"),
    )
    seen = {
        port: [where(snap, to(host), port) for host in ("every.com", "edge.com", "mesh.com", "both.com")]
        for port in (80, 81, 9999)
    }

    assert seen == {
        80: ["everywhere 0", "edge 0", "-", "-"],
        81: ["everywhere 0", "-", "-", "both 0"],
        9999: ["everywhere 0", "-", "inner 0", "both 0"],
    }


def test_one_gateway_port_stands_for_an_unknown_port() -> None:
    """A stock server's command line decides where it listens."""
    snap = compiled(gateway("edge", http(80, "'*'")), virtual("edge", "edge.com", gateways="edge"))

    assert where(snap, to("edge.com"), 8000) == "edge 0"


@pytest.mark.parametrize(
    ("server", "host", "expected"),
    [
        ("'*'", "a.shop.com", "vs 0"),
        ("'*.shop.com'", "a.shop.com", "vs 0"),
        ("a.shop.com", "a.shop.com", "vs 0"),
        ("a.shop.com", "b.shop.com", "-"),
        ("other.com", "a.shop.com", "-"),
        ("'default/*'", "a.shop.com", "vs 0"),
        ("'./*'", "a.shop.com", "-"),
        ("'*/*.shop.com'", "a.shop.com", "vs 0"),
        ("'prod/*'", "a.shop.com", "-"),
        ("'prod/*', 'default/b.shop.com'", "b.shop.com", "vs 0"),
    ],
)
def test_hosts_of_server_and_document_must_meet(server: str, host: str, expected: str) -> None:
    """In the narrower of both; a namespace in front limits whose documents are let in."""
    snap = compiled(
        gateway("edge", http(80, server), namespace="istio-system"),
        virtual("vs", "'*.shop.com'", gateways="istio-system/edge"),
    )

    assert expected == where(snap, to(host), 80)


def test_several_servers_of_a_port_share_its_virtual_hosts() -> None:
    """A document that both let in has its routes once."""
    snap = compiled(
        gateway("edge", http(80, "a.com") + ", " + http(80, "'*.com'").replace("http-80", "more")),
        gateway("late", http(80, "b.org")),
        virtual("com", "a.com", gateways="edge"),
        virtual("org", "b.org", gateways="late"),
    )

    assert [where(snap, to(host), 80) for host in ("a.com", "b.org")] == ["com 0", "org 0"]
    assert [len(host.routes) for host in snap.listeners[80].virtual_hosts] == [1, 1]


def test_a_selector_may_mean_another_process() -> None:
    """Labels are compared when this gateway has any."""
    labelled = "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: gateway}\nspec: {labels: {app: edge}}\n"
    ours = gateway("ours", http(80, "'*'"), selector="{app: edge}")
    theirs = gateway("theirs", http(81, "'*'"), selector="{app: other}")

    assert set(snapshot(ours, theirs, labelled).listeners) == {80}
    assert set(snapshot(ours, theirs).listeners) == {80, 81}


@pytest.mark.parametrize(
    ("match", "on_80", "on_mesh"),
    [
        ("{port: 80}", "vs 0.0", "-"),
        ("{port: 81}", "-", "-"),
        ("{gateways: [edge]}", "vs 0.0", "-"),
        ("{gateways: [mesh]}", "-", "vs 0.0"),
        ("{sourceNamespace: default}", "vs 0.0", "vs 0.0"),
        ("{sourceNamespace: other}", "-", "-"),
        ("{sourceLabels: {app: other}}", "-", "-"),
        ("{sourceLabels: {app: other}, gateways: [edge]}", "vs 0.0", "-"),
    ],
)
def test_some_matches_are_decided_while_compiling(match: str, on_80: str, on_mesh: str) -> None:
    """Port and gateway of the listener, labels and namespace of this gateway."""
    snap = compiled(
        gateway("edge", http(80, "'*'")),
        gateway("other", http(82, "'*'")),
        virtual("vs", "a.com", f"[{{match: [{match}], {TO}}}]"),
    )

    assert on_80 == where(snap, request(host="a.com", port=80), 80)
    assert on_mesh == where(snap, request(host="a.com", port=8080), 9999)


def test_a_rule_without_match_for_a_listener_is_not_there() -> None:
    """Not turned into one that takes everything."""
    snap = compiled(
        gateway("edge", http(80, "'*'")),
        gateway("other", http(81, "'*'")),
        virtual("vs", "a.com", f"[{{match: [{{gateways: [other]}}], {TO}}}, {{name: rest, {TO}}}]"),
    )

    assert where(snap, to("a.com"), 80) == "vs 1"
    assert where(snap, to("a.com"), 81) == "vs 0.0"


def test_a_document_that_is_not_exported_here_does_not_apply() -> None:
    """`exportTo` is compared with this gateway's namespace."""
    snap = compiled(
        virtual("hidden", "a.com", namespace="shop", more="exportTo: ['.']"),
        virtual("shown", "b.com", namespace="shop", more="exportTo: [default]"),
    )

    assert [where(snap, to(host)) for host in ("a.com", "b.com")] == ["-", "shop/shown 0"]


def test_a_delegates_routes_stand_where_it_is_named() -> None:
    """Destinations are short for the delegate's namespace; a missing one leaves the rest."""
    snap = compiled(
        virtual("root", "a.com", f"[{{match: [{{uri: {{prefix: /shop}}}}], delegate: {{name: leaf, namespace: shop}}}}, {{delegate: {{name: none}}}}, {{match: [{{uri: {{prefix: /b}}}}], {TO}}}]"),
        virtual("leaf", "", "[{name: inner, route: [{destination: {host: cart}}]}]", namespace="shop"),
    )  # fmt: skip
    route = snap.default.match(request("/shop/x", host="a.com"))

    assert route is not None
    assert (route.virtual_service, str(route.source), route.name) == (
        "default/root",
        "shop/leaf http[0].match[0]",
        "inner",
    )
    assert route.destinations[0].cluster_name.endswith("|cart.shop.svc.cluster.local")
    assert where(snap, request("/b", host="a.com")) == "root 2.0"
    assert where(snap, request("/c", host="a.com")) == "-"


def test_plain_requests_are_sent_to_https_before_routes_are_looked_at() -> None:
    """For the hosts of that server, with or without a VirtualService; virtual hosts of other servers are not."""
    snap = compiled(
        gateway(
            "edge",
            http(80, "'*.com'", ", tls: {httpsRedirect: true}")
            + ", "
            + http(80, "plain.com, '*.org'").replace("http-80", "more"),
        ),
        virtual("vs", "a.com", gateways="edge"),
        virtual("other", "b.org", gateways="edge"),
    )
    redirect = snap.listeners[80].https_redirect
    assert redirect is not None

    answers = [redirect(request("/x", host=host, scheme=scheme)) for host, scheme in (("a.com:80", "http"), ("none.com", "http"), ("a.com", "https"), ("plain.com", "http"), ("b.org", "http"))]  # fmt: skip

    assert [reply and dict(reply.headers)[b"location"] for reply in answers] == [
        b"https://a.com:80/x",
        b"https://none.com/x",
        None,
        b"https://plain.com/x",
        None,
    ]
    assert snap.default.https_redirect is None


def test_an_ipv6_host_is_one_host() -> None:
    """However it is written in the document."""
    snap = compiled(virtual("six", "'2001:DB8:0::1'"))

    assert where(snap, request(host="[2001:db8::1]")) == "six 0"


@pytest.mark.parametrize(
    ("redirecting", "plain"),
    [("'shop/a.com', b.com", "a.com, b.com"), ("'*.com'", "a.com, b.com"), ("a.com, b.com", "'*'")],
)
def test_of_several_servers_with_a_host_one_is_enough_that_redirects(redirecting: str, plain: str) -> None:
    """In any order, and also when the other one is more specific: Istio makes one virtual host of them."""
    servers = [
        http(80, redirecting, ", tls: {httpsRedirect: true}"),
        http(80, plain).replace("http-80", "more"),
    ]
    for order in (servers, servers[::-1]):
        listeners = compiled(
            gateway("edge", ", ".join(order)), virtual("vs", "a.com, b.com", gateways="edge")
        ).listeners
        redirect = listeners[80].https_redirect
        assert redirect is not None
        assert [redirect(to(host)) is not None for host in ("a.com", "b.com", "c.org")] == [True, True, False]
