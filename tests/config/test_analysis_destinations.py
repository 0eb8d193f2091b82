"""Destinations that do not exist, each at the field that names it."""

from __future__ import annotations

from support.documents import analyzed, places

CODES = ("GW201", "GW202", "GW203", "GW204")
BACKENDS = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  resolution: STATIC
  ports: [{number: 80, name: http}, {number: 81, name: more}]
  endpoints: [{address: 127.0.0.1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ratings}
spec:
  hosts: [ratings.default.svc.cluster.local, "*.example.com"]
  resolution: STATIC
  ports: [{number: 80, name: http}, {number: 90, name: udp, protocol: UDP}]
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings}
spec:
  host: ratings
  subsets: [{name: v1}, {name: v2}]
---
"""
LINES = BACKENDS.count("\n")


def said(
    destination: str, *, backends: str = BACKENDS, namespace: str = "default"
) -> list[tuple[str, int, str | None]]:
    """Code, column below the destination, and suggestion, for a route to one destination."""
    text = backends + (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"metadata: {{name: shop, namespace: {namespace}}}\n"
        f"spec:\n  hosts: [shop]\n  http:\n  - route:\n    - destination: {destination}\n"
    )
    found = analyzed(text, *CODES)
    assert all(item.severity == "error" and not item.fatal for item in found)
    assert all(item.line == backends.count("\n") + 8 for item in found)
    return [(item.code, item.column - 20, item.suggestion) for item in found]


def test_known_destinations_are_fine() -> None:
    """Short and full names, wildcard entries, and the application that is wrapped."""
    assert said("{host: ratings}") == []
    assert said("{host: ratings.default.svc.cluster.local, subset: v2, port: {number: 80}}") == []
    assert said("{host: RATINGS}") == []
    assert said("{host: a.example.com}") == []
    assert said("{host: app.local}") == []


def test_an_unknown_host_is_pointed_at() -> None:
    """With what was probably meant, or what to do."""
    assert said("{host: revews}") == [("GW201", 7, 'did you mean "reviews"?')]
    assert said("{host: entirely.else}") == [("GW201", 7, "add a ServiceEntry that says where it is")]
    assert said("{host: example.com}") == [("GW201", 7, "add a ServiceEntry that says where it is")]


def test_a_short_name_is_one_of_its_namespace() -> None:
    """`reviews` of another namespace is another host."""
    assert [code for code, *_ in said("{host: ratings}", namespace="prod")] == ["GW201"]


def test_an_entry_that_is_not_exported_is_unknown() -> None:
    """exportTo keeps a service to its namespace; the gateway's own is `default`."""
    private = BACKENDS.replace("hosts: [reviews]", "hosts: [reviews.example.org]\n  exportTo: [prod]")

    assert [code for code, *_ in said("{host: reviews.example.org}", backends=private)] == ["GW201"]


def test_an_unknown_subset_is_pointed_at() -> None:
    """By name if the rule has others, as a whole if there is no rule."""
    assert said("{host: ratings, subset: v3}") == [("GW202", 24, "it has v1, v2")]
    assert said("{host: ratings, subset: v12}") == [("GW202", 24, 'did you mean "v2"?')]
    assert said("{host: reviews, subset: v1, port: {number: 80}}") == [
        ("GW202", 24, "add a DestinationRule with subsets, or leave subset out")
    ]


def test_of_several_ports_one_is_named() -> None:
    """A service with two ports needs a number; UDP ports do not count."""
    assert said("{host: reviews}") == [("GW203", 7, "add port: {number: 80}")]
    assert said("{host: reviews, port: {number: 81}}") == []


def test_an_unknown_port_is_pointed_at() -> None:
    """At the number."""
    assert said("{host: ratings, port: {number: 90}}") == [("GW204", 31, "it has 80")]


def test_an_unknown_host_is_one_finding() -> None:
    """Its subset and port are not asked for as well."""
    assert [code for code, *_ in said("{host: revews, subset: v9, port: {number: 7}}")] == ["GW201"]


def test_entries_of_one_namespace_add_up() -> None:
    """The ports of two documents are ports of one service."""
    second = (
        BACKENDS
        + BACKENDS.split("---\n", maxsplit=1)[0].replace("name: reviews", "name: again").replace("81", "82")
        + "---\n"
    )

    assert said("{host: reviews, port: {number: 82}}", backends=second) == []


def test_mirrors_and_delegates_have_destinations_too() -> None:
    """Wherever a destination stands."""
    text = """\
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {name: shop}
    spec:
      http:
      - route:
        - destination: {host: a}
        mirrors:
        - destination: {host: b}
      - redirect: {uri: /}
        mirror: {host: c}
    """

    assert [item[:3] for item in places(text, "GW201")] == [
        ("GW201", 7, 27),
        ("GW201", 9, 27),
        ("GW201", 11, 20),
    ]


def test_rules_of_the_gateway_s_namespace_come_first() -> None:
    """The first namespace with a rule for the host decides about subsets."""
    rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: NS}\n"
    rule += "spec:\n  host: ratings.default.svc.cluster.local\n  subsets: [{name: SUBSET}]\n---\n"
    root = rule.replace("NS", "istio-system").replace("SUBSET", "root")

    assert said("{host: ratings, subset: root}", backends=BACKENDS + root) == [("GW202", 24, "it has v1, v2")]
    without = BACKENDS[
        : BACKENDS.index("kind: DestinationRule") - len("apiVersion: networking.istio.io/v1\n")
    ]
    assert said("{host: ratings, subset: root}", backends=without + root) == []


def test_a_wrong_file_of_any_size_is_answered_soon() -> None:
    """Guesses are limited: two thousand unknown hosts do not compare with two thousand known ones."""
    entry = BACKENDS.split("---\n", maxsplit=1)[0].replace("hosts: [reviews]", "hosts: [%s]")
    entry %= ", ".join(f"service-{number}" for number in range(2000))
    routes = "".join(f"  - route: [{{destination: {{host: servise-{number}}}}}]\n" for number in range(2000))
    text = (
        entry
        + "---\n"
        + (
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop}\n"
            f"spec:\n  hosts: [shop]\n  http:\n{routes}"
        )
    )
    found = analyzed(text, "GW201")

    assert len(found) == 2000
    assert sum("did you mean" in (item.suggestion or "") for item in found) == 20


def test_a_health_check_of_nobody_is_named() -> None:
    """Most likely a misspelt host: nobody would be asked."""
    settings = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec:
  healthChecks:
    reviews: {path: /healthz}
    ratings.default.svc.cluster.local: {}
    revews: {}
"""

    (finding,) = analyzed(BACKENDS + settings, "GW205")

    assert (finding.line - LINES, finding.severity, finding.suggestion) == (
        8,
        "warning",
        'did you mean "reviews"?',
    )
