"""One rule of a VirtualService as Envoy's Routes (config.route.v3), one for each of its matches.

Lifetime: config.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Protocol

from gateway.config.fields import format_duration
from gateway.export import envoy_policies as policies
from gateway.export.envoy_match import route_match

if TYPE_CHECKING:
    from gateway.config.http_actions import HTTPDirectResponse, HTTPRedirect
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.config.load_balancer import ConsistentHashLB
    from gateway.config.references import Destination
    from gateway.config.virtual_service import HTTPRoute, HTTPRouteDestination

MOST_BODY = 1024 * 1024
"""Bytes of a direct answer; Envoy's own default of 4096 is raised to this."""
LAST_STATUS = 599
"""Istio takes 600, Envoy does not."""

_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Upstreams(Protocol):
    """What a route needs to know of the clusters, as its VirtualService and listener see them."""

    listener_port: int
    tls: bool
    """Whether the listener terminates TLS."""

    def cluster(self, destination: Destination) -> str:
        """The name of the destination's cluster, whether it exists or not."""

    def hash_key(self, destination: Destination) -> ConsistentHashLB | None:
        """The consistent hash its DestinationRule asks for."""


def envoy_route(
    http: HTTPRoute, match: HTTPMatchRequest | None, name: str, upstreams: Upstreams
) -> dict[str, Any]:
    """The route of one match entry."""
    route: dict[str, Any] = {"name": name, "match": route_match(match)}
    if match is not None and match.stat_prefix:
        route["stat_prefix"] = match.stat_prefix
    if http.redirect is not None:
        route["redirect"] = redirect(http.redirect, upstreams)
    elif http.direct_response is not None:
        route["direct_response"] = direct_response(http.direct_response)
    else:
        _forward(route, http, upstreams)
    if len(http.route) != 1:
        route.update(policies.header_operations([http.headers]))
    filters = {
        policies.FAULT: policies.fault(http.fault),
        policies.CORS: policies.cors(http.cors_policy),
    }
    used = {filter_name: settings for filter_name, settings in filters.items() if settings is not None}
    if used and "route" in route:
        route["typed_per_filter_config"] = used
    return route


def _forward(route: dict[str, Any], http: HTTPRoute, upstreams: Upstreams) -> None:
    action: dict[str, Any] = {"timeout": format_duration(http.timeout or 0)}
    if len(http.route) == 1:
        (only,) = http.route
        action["cluster"] = upstreams.cluster(only.destination)
        route.update(policies.header_operations([http.headers, only.headers]))
    else:
        # Envoy refuses a weight of 0 for all, Istio leaves out those that have it.
        weighted = [item for item in http.route if item.weight]
        action["weighted_clusters"] = {"clusters": [_weighted(item, upstreams) for item in weighted]}
    _rewrite(action, http)
    keys = [upstreams.hash_key(item.destination) for item in http.route]
    hashed = next((key for key in keys if key is not None), None)
    if hashed is not None:
        action["hash_policy"] = [policies.hash_policy(hashed)]
    retries = policies.retry_policy(http.retries, http.timeout, hashed=bool(hashed) and len(http.route) == 1)
    if retries is not None:
        action["retry_policy"] = retries
    if mirrors := _mirrors(http, upstreams):
        action["request_mirror_policies"] = mirrors
    route["route"] = action


def _weighted(item: HTTPRouteDestination, upstreams: Upstreams) -> dict[str, Any]:
    entry = {"name": upstreams.cluster(item.destination), "weight": item.weight}
    entry.update(policies.header_operations([item.headers]))
    if (host := policies.authority(item.headers)) is not None:
        entry["host_rewrite_literal"] = host
    return entry


def _rewrite(action: dict[str, Any], http: HTTPRoute) -> None:
    rewrite = http.rewrite
    if rewrite is not None and rewrite.uri_regex_rewrite is not None:
        rule = rewrite.uri_regex_rewrite
        action["regex_rewrite"] = {"pattern": {"regex": rule.match}, "substitution": rule.rewrite}
    elif rewrite is not None and rewrite.uri:
        action["prefix_rewrite"] = rewrite.uri
    host = (rewrite.authority if rewrite else None) or policies.authority(http.headers)
    if not host and len(http.route) == 1:
        host = policies.authority(http.route[0].headers)
    if host:
        action["host_rewrite_literal"] = host


def _mirrors(http: HTTPRoute, upstreams: Upstreams) -> list[dict[str, Any]]:
    found = [(mirror.destination, mirror.percentage) for mirror in http.mirrors]
    if http.mirror is not None:
        found.append((http.mirror, http.mirror_percentage))
    result = []
    for destination, percentage in found:
        share = 100.0 if percentage is None else percentage.value
        if percentage is None and destination is http.mirror and http.mirror_percent is not None:
            share = http.mirror_percent
        if share:
            default = policies.fraction(share)
            result.append(
                {
                    "cluster": upstreams.cluster(destination),
                    "runtime_fraction": {"default_value": default},
                    "trace_sampled": False,
                }
            )
    return result


def redirect(rule: HTTPRedirect, upstreams: Upstreams) -> dict[str, Any]:
    """An answer that sends the client elsewhere."""
    action: dict[str, Any] = {"response_code": _CODES[rule.redirect_code or 301]}
    if rule.authority:
        action["host_redirect"] = rule.authority
    if rule.uri:
        action["path_redirect"] = rule.uri
    elif rule.prefix_rewrite:
        action["prefix_rewrite"] = rule.prefix_rewrite
    if rule.scheme:
        action["scheme_redirect"] = rule.scheme
    scheme = rule.scheme or ("https" if upstreams.tls else "http")
    if rule.port is not None and rule.port != _DEFAULT_PORTS[scheme]:
        action["port_redirect"] = rule.port
    elif rule.derive_port == "FROM_REQUEST_PORT" and upstreams.listener_port != _DEFAULT_PORTS[scheme]:
        action["port_redirect"] = upstreams.listener_port
    return action


def direct_response(rule: HTTPDirectResponse) -> dict[str, Any]:
    """An answer of the gateway's own."""
    action: dict[str, Any] = {"status": min(rule.status, LAST_STATUS)}
    content = bytes(rule.body.content) if rule.body is not None else b""
    if content:
        action["body"] = {"inline_bytes": base64.b64encode(content).decode()}
    return action
