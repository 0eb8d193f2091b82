"""The bootstrap: real Envoy accepts it, and it says what the documents say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import envoy

from gateway.config import load
from gateway.export import Export, export_envoy

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = [
    Path(__file__).parent / "everything.yaml",
    ROOT / "routes.yaml",
    *sorted((ROOT / "examples").glob("*.yaml")),
    ROOT / "examples" / "mtls" / "edge.yaml",
]

needs_envoy = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))


def exported(*texts: str) -> Export:
    """The export of YAML documents."""
    return export_envoy(load([], texts={f"{index}.yaml": text for index, text in enumerate(texts)}).require())


def everything() -> dict[str, Any]:
    return export_envoy(load([CONFIGURATIONS[0]]).require()).bootstrap


def manager(bootstrap: dict[str, Any], chain: int = 0) -> Any:
    """The HTTP connection manager of the first listener."""
    filters = bootstrap["static_resources"]["listeners"][0]["filter_chains"][chain]["filters"]
    return next(item for item in filters if "connection_manager" in item["name"])["typed_config"]


def routes(bootstrap: dict[str, Any], host: int = 0) -> list[dict[str, Any]]:
    """The routes of a virtual host of the first listener."""
    return list(manager(bootstrap)["route_config"]["virtual_hosts"][host]["routes"])


def cluster(bootstrap: dict[str, Any], name: str) -> Any:
    """A cluster by the beginning of its name."""
    found = [item for item in bootstrap["static_resources"]["clusters"] if item["name"].startswith(name)]
    assert len(found) == 1
    return found[0]


SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
"""


def service_of(http: str, spec: str = "hosts: [a.test]", name: str = "a") -> str:
    """A VirtualService of one rule."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  {spec}
  http:
  - {http}
"""


def route_of(http: str) -> dict[str, Any]:
    """The only route of one rule."""
    (route,) = routes(exported(SERVICE, service_of(http)).bootstrap)
    return route


TO_A = "route: [{destination: {host: a.test}}]"


@needs_envoy
@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_real_envoy_accepts_the_export(path: Path, tmp_path: Path) -> None:
    """What `gateway export envoy` prints for a file that loads passes `envoy --mode validate`."""
    made = export_envoy(load([path]).require())

    assert envoy.validate(made.dumps(), tmp_path) == ""


def test_what_cannot_be_said_is_told() -> None:
    """Status 600 is Istio's, not Envoy's: the note names the document and the status that stands for it."""
    made = export_envoy(load([CONFIGURATIONS[0]]).require())

    assert made.notes == ("VirtualService default/reviews: status 600 became 599, Envoy's highest",)


def test_limits_that_nobody_would_keep_are_told() -> None:
    """Envoy serves without them."""
    limits = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: s}
spec: {rateLimits: [{name: all, requests: 1}]}
"""
    assert exported(SERVICE, limits).notes == ("GatewaySettings default/s: rateLimits are not exported",)


def test_a_route_without_timeout_waits_for_ever() -> None:
    """Envoy would stop after 15 seconds by itself; Istio's default is no timeout."""
    assert route_of(TO_A)["route"]["timeout"] == "0s"


def test_istio_retries_by_default() -> None:
    """A route that says nothing is repeated twice, for Istio's list of conditions, on other hosts."""
    policy = route_of(TO_A)["route"]["retry_policy"]

    assert policy["num_retries"] == 2
    assert policy["retry_on"] == "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    assert policy["host_selection_retry_max_attempts"] == 5


def test_status_codes_among_the_conditions_become_a_list() -> None:
    """`retryOn: 5xx,418` is a word and a number: Envoy takes them apart."""
    policy = route_of(f"{{{TO_A}, retries: {{attempts: 1, retryOn: '5xx,418'}}}}")["route"]["retry_policy"]

    assert policy["retry_on"] == "5xx,retriable-status-codes"
    assert policy["retriable_status_codes"] == [418]


def test_zero_attempts_turn_retries_off() -> None:
    """`attempts: 0` is not the default policy, but none."""
    assert "retry_policy" not in route_of(f"{{{TO_A}, retries: {{attempts: 0}}}}")["route"]


def test_a_per_try_timeout_that_is_not_shorter_is_left_out() -> None:
    """It could never expire before the route's own."""
    http = f"{{{TO_A}, timeout: 1s, retries: {{attempts: 1, perTryTimeout: 1s}}}}"

    assert "per_try_timeout" not in route_of(http)["route"]["retry_policy"]


def test_one_destination_makes_one_level_of_headers() -> None:
    """The destination's `set` comes after the route's, so it wins, as in Istio."""
    bootstrap = everything()
    http = (
        "{route: [{destination: {host: a.test}, headers: {request: {set: {x: inner}}}}],"
        " headers: {request: {set: {x: outer}}}}"
    )
    values = [item["header"]["value"] for item in route_of(http)["request_headers_to_add"]]

    assert values == ["outer", "inner"]
    weighted = next(item for item in routes(bootstrap) if item["name"] == "weighted")
    assert "request_headers_to_add" not in weighted
    entries = weighted["route"]["weighted_clusters"]["clusters"]
    assert entries[0]["request_headers_to_add"][0]["header"] == {"key": "x-which", "value": "v1"}
    assert entries[0]["host_rewrite_literal"] == "one"


def test_weights_of_zero_are_left_out() -> None:
    """Of three destinations with weights 90, 10 and 0 two remain."""
    weighted = next(item for item in routes(everything()) if item["name"] == "weighted")

    assert [item["weight"] for item in weighted["route"]["weighted_clusters"]["clusters"]] == [90, 10]


def test_a_mirror_of_no_requests_is_left_out() -> None:
    """`percentage: 0` never copies; none at all copies everything."""
    weighted = next(item for item in routes(everything()) if item["name"] == "weighted")
    shares = [
        item["runtime_fraction"]["default_value"]["numerator"]
        for item in weighted["route"]["request_mirror_policies"]
    ]

    assert shares == [10_000, 1_000_000]


def test_a_header_condition_for_a_missing_header_treats_it_as_empty() -> None:
    """`withoutHeaders` with a value holds when the header is not there."""
    http = f"{{match: [{{withoutHeaders: {{x: {{exact: a}}, y: {{}}}}}}], {TO_A}}}"

    assert route_of(http)["match"]["headers"] == [
        {
            "name": "x",
            "string_match": {"exact": "a"},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        },
        {"name": "y", "present_match": True, "invert_match": True},
    ]


def test_short_names_are_domains_of_their_own() -> None:
    """A client may call `reviews` by every name that a pod in its namespace could use."""
    made = exported(service_of(TO_A, "hosts: [reviews]"))

    assert sorted(manager(made.bootstrap)["route_config"]["virtual_hosts"][0]["domains"]) == [
        "reviews",
        "reviews.default",
        "reviews.default.svc",
        "reviews.default.svc.cluster.local",
    ]


def test_rules_behind_one_that_takes_everything_vanish() -> None:
    """No request could reach them."""
    http = f"{TO_A}\n  - match: [{{uri: {{prefix: /never}}}}]\n    {TO_A}"

    assert len(routes(exported(SERVICE, service_of(http)).bootstrap)) == 1


def test_what_takes_everything_stands_last_when_virtual_services_share_a_host() -> None:
    """The older one's catch-all would hide the younger one's rules."""
    narrow = f"{{match: [{{uri: {{prefix: /narrow}}}}], {TO_A}}}"
    made = exported(SERVICE, service_of(TO_A), service_of(narrow, name="b"))

    assert [route["match"]["prefix"] for route in routes(made.bootstrap)] == ["/narrow", "/"]


def test_an_unknown_destination_keeps_its_route() -> None:
    """Istio answers 503 for it; the name says what was looked for."""
    missing = next(item for item in routes(everything()) if item["match"].get("prefix") == "/missing")

    assert missing["route"]["cluster"] == "outbound|8080|none|unknown.example.com"


def test_consecutive_errors_mean_what_they_meant_in_istio_1_7() -> None:
    """Gateway errors in a row, and 5xx of other kinds do not count."""
    detection = cluster(everything(), "outbound|9080|v1|")["outlier_detection"]

    assert detection["consecutive_gateway_failure"] == 5
    assert (detection["enforcing_consecutive_gateway_failure"], detection["enforcing_consecutive_5xx"]) == (
        100,
        0,
    )
    assert detection["always_eject_one_host"] is True


def test_what_the_statistical_detectors_find_is_not_enforced() -> None:
    """As in Istio; and a health check does not bring back who is ejected."""
    detection = cluster(everything(), "outbound|9080|v2|")["outlier_detection"]

    assert detection["enforcing_success_rate"] == detection["enforcing_local_origin_success_rate"] == 0
    assert (detection["consecutive_5xx"], detection["consecutive_gateway_failure"]) == (7, 2)
    assert detection["consecutive_local_origin_failure"] == 3
    assert detection["successful_active_health_check_uneject_host"] is False


def test_near_endpoints_are_of_higher_priority() -> None:
    """Same zone, same region, the region that takes over: 0, 1, 2."""
    made = cluster(everything(), "outbound|80||near.example.com")
    places = [
        (item["locality"]["region"], item.get("priority", 0)) for item in made["load_assignment"]["endpoints"]
    ]

    assert places == [("us", 2), ("eu", 0), ("eu", 1)]
    assert made["round_robin_lb_config"]["slow_start_config"]["slow_start_window"] == "10s"
    assert "locality_weighted_lb_config" not in made["common_lb_config"]


def test_a_distribution_is_weights_of_localities() -> None:
    """The wildcard's 80 by the endpoints of each: one in eu/a, two in eu/b."""
    made = cluster(everything(), "outbound|80||shared.example.com")
    weights = [item["load_balancing_weight"] for item in made["load_assignment"]["endpoints"]]

    assert weights == [20, 27, 54]
    assert made["common_lb_config"] == {"locality_weighted_lb_config": {}}


def test_a_health_check_asks_as_the_gateway_does() -> None:
    """Also at another port; and any failure counts towards the threshold."""
    made = cluster(everything(), "outbound|80||near.example.com")
    (check,) = made["health_checks"]

    assert (check["interval"], check["timeout"]) == ("5s", "1s")
    assert (check["unhealthy_threshold"], check["healthy_threshold"]) == (2, 1)
    assert check["http_health_check"]["expected_statuses"] == [
        {"start": 200, "end": 201},
        {"start": 204, "end": 205},
    ]
    (endpoint, *_) = made["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["health_check_config"] == {"port_value": 9999}


def test_limits_of_the_cluster_are_its_thresholds() -> None:
    """Each number of `connectionPool` and `retryBudget`; what is unset is Istio's 2^32-1."""
    (limits,) = cluster(everything(), "outbound|9080|v1|")["circuit_breakers"]["thresholds"]
    (free,) = cluster(everything(), "outbound|80||api.example.com")["circuit_breakers"]["thresholds"]

    assert (limits["max_connections"], limits["max_pending_requests"], limits["max_requests"]) == (
        100,
        10,
        100,
    )
    assert limits["max_retries"] == 4
    assert limits["retry_budget"] == {"budget_percent": {"value": 25.0}, "min_retry_concurrency": 5}
    assert free["max_connections"] == free["max_retries"] == 2**32 - 1
    assert free["retry_budget"] == {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3}


def test_the_hash_key_of_the_first_destination_that_has_one_is_the_routes() -> None:
    """Of v1, v2 and v3 the second hashes a header; with several destinations other hosts are still avoided."""
    weighted = next(item for item in routes(everything()) if item["name"] == "weighted")

    assert weighted["route"]["hash_policy"] == [{"header": {"header_name": "x-user"}}]
    assert "retry_host_predicate" in weighted["route"]["retry_policy"]


def test_only_trusted_peers_are_believed() -> None:
    """Trusted networks get a filter chain of their own; everybody else's forwarded headers are replaced."""
    listener = everything()["static_resources"]["listeners"][0]
    networks = listener["filter_chains"][0]["filter_chain_match"]["direct_source_prefix_ranges"]

    assert networks == [
        {"address_prefix": "10.0.0.0", "prefix_len": 8},
        {"address_prefix": "2001:db8::", "prefix_len": 32},
        {"address_prefix": "192.0.2.7", "prefix_len": 32},
    ]
    assert manager(everything(), 0)["use_remote_address"] is False
    assert manager(everything(), 1)["use_remote_address"] is True


def test_filters_nobody_uses_are_left_out() -> None:
    """CORS and faults cost every request, also where no route has them."""
    plain = manager(exported(SERVICE, service_of(TO_A)).bootstrap)["http_filters"]

    assert [item["name"] for item in plain] == ["envoy.filters.http.router"]
    assert len(manager(everything())["http_filters"]) == 3


GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - port: {number: 8081, name: http, protocol: HTTP}
    bind: 127.0.0.1
    hosts: ["*.test"]
  - port: {number: 8082, name: redirect, protocol: HTTP}
    bind: 127.0.0.1
    hosts: ["*.test", "./only.example.com"]
    tls: {httpsRedirect: true}
"""


def test_gateway_documents_make_the_listeners() -> None:
    """With one there is no other listener; a VirtualService bound to it has the hosts they share."""
    bound = service_of(TO_A, 'hosts: ["*.test"], gateways: [edge]'.replace(", g", "\n  g"))
    made = exported(SERVICE, GATEWAY, bound)
    first, second = made.bootstrap["static_resources"]["listeners"]

    assert [item["address"]["socket_address"]["port_value"] for item in (first, second)] == [8081, 8082]
    hosts = second["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    assert {host["domains"][0]: host.get("require_tls") for host in hosts} == {
        "*.test": "ALL",
        "only.example.com": "ALL",
    }


def test_keys_that_a_bootstrap_cannot_name_are_told() -> None:
    """An issuer's discovery document, and plain HTTP from elsewhere; what is behind a URL is a cluster."""
    tokens = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: t}
spec: {jwtRules: [{issuer: "https://a.test", %s}]}
"""
    (note,) = exported(SERVICE, tokens % "audiences: [a]").notes
    (plain,) = exported(SERVICE, tokens % "jwksUri: 'http://b.test/k'").notes
    found = exported(SERVICE, tokens % "jwksUri: 'https://b.test/k'")

    assert note == plain
    assert note.endswith("rules whose keys must be discovered, or come over http, are not exported")
    assert found.notes == ()
    made = cluster(found.bootstrap, "keys|443||b.test")
    assert made["transport_socket"]["typed_config"]["sni"] == "b.test"
    (listener,) = found.bootstrap["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (provider,) = manager["http_filters"][0]["typed_config"]["providers"].values()
    assert provider["remote_jwks"]["http_uri"]["cluster"] == made["name"]
