"""Rules compiled to routes: destinations, names, levels, and what applies where."""

from __future__ import annotations

import pytest
from support.routing import KnownFacts, chosen, request, service, snapshot

from gateway.routing import Route
from gateway.routing.rules import gateway_key


def only(http: str, *more: str, asked: str = "/") -> Route:
    """The route a request takes in a VirtualService with one rule."""
    document = f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - {http}
"""
    route = chosen(
        snapshot(document, *(more or (service("reviews", versions=("v1", "v2")),))), request(asked)
    )
    assert route is not None
    return route


REVIEWS = "destination: {host: reviews}"


def test_a_destination_is_found_by_short_name_and_subset() -> None:
    """The service's only port is the port."""
    route = only("route: [{destination: {host: reviews, subset: v2}}]")

    (destination,) = route.destinations
    assert destination.cluster_name == "outbound|9080|v2|reviews.default.svc.cluster.local"
    assert destination.cluster is not None
    assert destination.cluster.name == destination.cluster_name


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("{host: nobody}", "outbound|8080||nobody.default.svc.cluster.local"),
        ("{host: reviews, subset: v9}", "outbound|9080|v9|reviews.default.svc.cluster.local"),
        ("{host: reviews, port: {number: 1}}", "outbound|1||reviews.default.svc.cluster.local"),
    ],
)
def test_an_unknown_destination_keeps_its_route(place: str, name: str) -> None:
    """It answers 503 with flag NC; the name says what was looked for."""
    (destination,) = only(f"route: [{{destination: {place}}}]").destinations

    assert destination.cluster is None
    assert name == destination.cluster_name


def test_weights_of_zero_are_dropped_among_several() -> None:
    """A single destination gets everything, even with weight 0."""
    several = only(
        "route: [{destination: {host: reviews, subset: v1}, weight: 0}, {destination: {host: reviews, subset: v2}, weight: 3}]"
    )
    single = only("route: [{destination: {host: reviews}, weight: 0}]")

    assert [item.cluster_name.split("|")[2] for item in several.destinations] == ["v2"]
    assert single.choose(12345) is single.destinations[0]


@pytest.mark.parametrize(
    ("rule", "match", "name"),
    [("", "", ""), ("name: canary, ", "", "canary"), ("", "name: chrome", ".chrome"), ("name: canary, ", "name: chrome", "canary.chrome")],
)  # fmt: skip
def test_a_route_is_named_by_rule_and_match(rule: str, match: str, name: str) -> None:
    """What `%ROUTE_NAME%` prints."""
    route = only(f"{{{rule}match: [{{{match}}}], route: [{{{REVIEWS}}}]}}")

    assert name == route.name
    assert str(route.source) == "default/reviews http[0].match[0]"


@pytest.mark.parametrize(
    ("rewrite", "rule_headers", "own_headers", "authority"),
    [
        ("", "", "", None),
        ("rewrite: {authority: r}, ", "", "headers: {request: {set: {host: d}}}", b"r"),
        ("", "headers: {request: {set: {Host: s}}}, ", "headers: {request: {set: {host: d}}}", b"s"),
        ("", "headers: {request: {add: {':authority': a}}}, ", "headers: {request: {set: {host: d}}}", b"a"),
        ("", "", "headers: {request: {set: {host: d}}}", b"d"),
    ],
)
def test_the_authority_is_rewritten_by_the_first_that_says_so(
    rewrite: str, rule_headers: str, own_headers: str, authority: bytes | None
) -> None:
    """`rewrite.authority`, then the route's headers, then the destination's."""
    route = only(
        f"{{{rewrite}{rule_headers}route: [{{{REVIEWS}{', ' if own_headers else ''}{own_headers}}}]}}"
    )

    assert authority == route.destinations[0].authority


@pytest.mark.parametrize(
    ("second", "expected"),
    [("", b"own"), (f", {{{REVIEWS}, weight: 0}}", b"route"), (f", {{{REVIEWS}, weight: 1}}", b"route")],
)
def test_header_levels_depend_on_the_number_of_destinations(second: str, expected: bytes) -> None:
    """With one the destination wins, with several the route; one of weight 0 counts, too."""
    route = only(
        "{headers: {request: {set: {x: route}}}, route:"
        f" [{{{REVIEWS}, weight: 1, headers: {{request: {{set: {{x: own}}}}}}}}{second}]}}"
    )

    operations = route.destinations[0].request_ops
    assert operations is not None
    assert operations.apply([], KnownFacts()) == [(b"x", expected)]


def test_a_route_that_answers_forwards_nothing() -> None:
    """It has response operations, and neither checks nor retries nor destinations."""
    route = only(
        "{directResponse: {status: 418, body: {string: tea}}, corsPolicy: {allowOrigins: [{exact: '*'}]}, headers: {response: {set: {x-a: '1'}}}}"
    )

    assert route.answer is not None
    assert route.answer(request()).status == 418
    assert route.response_ops is not None
    assert (route.checks, route.destinations, route.retries, route.cors) == ((), (), None, None)


def test_everything_a_rule_may_have() -> None:
    """Timeout, retries, fault, mirrors, CORS, rewrite: compiled, each where the exchange looks for it."""
    route = only(
        "{match: [{uri: {prefix: /api}}], rewrite: {uri: /v2}, timeout: 10s, retries: {attempts: 3, perTryTimeout: 2s},"
        " fault: {abort: {httpStatus: 500, percentage: {value: 5}}}, corsPolicy: {allowOrigins: [{exact: 'http://a'}]},"
        f" mirrors: [{{destination: {{host: reviews, subset: v2}}, percentage: {{value: 50}}}}], route: [{{{REVIEWS}}}]}}",
        asked="/api/x",
    )

    assert route.timeout == 10.0
    assert route.retries is not None
    assert (route.retries.retries, route.retries.per_try_timeout) == (3, 2.0)
    assert route.fault is not None
    assert route.fault.abort_share == 50_000
    assert [(mirror.cluster_name.split("|")[2], mirror.share) for mirror in route.mirrors] == [
        ("v2", 500_000)
    ]
    assert route.rewrite is not None
    assert route.rewrite(b"/api/x") == b"/v2/x"
    assert route.cors is not None
    assert len(route.checks) == 2


@pytest.mark.parametrize(
    ("share", "expected"),
    [("", 1_000_000), (", mirrorPercentage: {value: 10}", 100_000), (", mirrorPercent: 7", 70_000), (", mirrorPercentage: {value: 0}", None)],
)  # fmt: skip
def test_a_mirror_has_a_share(share: str, expected: int | None) -> None:
    """All without a percentage; none with an explicit zero."""
    route = only(f"{{route: [{{{REVIEWS}}}], mirror: {{host: reviews, subset: v2}}{share}}}")

    assert [mirror.share for mirror in route.mirrors] == ([] if expected is None else [expected])


def test_the_hash_key_comes_from_the_destination_rule() -> None:
    """A single destination is stuck to; a retry goes there again."""
    hashing = "{httpHeaderName: x-user}"
    route = only(f"route: [{{{REVIEWS}}}]", service("reviews", hashing=hashing))

    assert route.hash_key is not None
    assert route.hash_key(request("/", {"x-user": "ann"})) == b"ann"
    assert route.hash_cookie is None
    assert route.retries is not None
    assert not route.retries.ignore_previous_hosts


def test_of_several_destinations_the_first_with_a_policy_gives_the_key() -> None:
    """A route has one key, and its retries may go elsewhere."""
    route = only(
        f"route: [{{{REVIEWS}, weight: 1}}, {{destination: {{host: ratings}}, weight: 1}}]",
        service("reviews"),
        service("ratings", hashing="{httpCookie: {name: s, ttl: 0s}}"),
    )

    assert route.hash_key is not None
    assert route.hash_cookie is not None
    assert route.retries is not None
    assert route.retries.ignore_previous_hosts


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("mesh", "mesh"),
        ("edge", "shop/edge"),
        ("istio-system/edge", "istio-system/edge"),
        ("edge.prod.svc.cluster.local", "prod/edge"),
    ],
)
def test_a_gateway_is_named_from_the_namespace_of_the_document(reference: str, key: str) -> None:
    """Short, in full, or the old way."""
    assert key == gateway_key(reference, "shop")
