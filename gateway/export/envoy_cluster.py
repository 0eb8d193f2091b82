"""A cluster of the plan as Envoy's Cluster (config.cluster.v3).

Lifetime: config.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gateway.config.address import nameserver
from gateway.config.fields import format_duration
from gateway.export.envoy_policies import typed
from gateway.upstream.cluster_config import Policy, Resolution
from gateway.upstream.health import USER_AGENT
from gateway.upstream.outlier import Thresholds

if TYPE_CHECKING:
    from gateway.config.health_checks import HealthCheck
    from gateway.config.outlier import OutlierDetection
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.upstream.cluster_config import ClusterConfig, EndpointConfig, Keepalive, Warmup

_TYPES = {
    Resolution.NONE: "STATIC",
    Resolution.STATIC: "STATIC",
    Resolution.DNS: "STRICT_DNS",
    Resolution.DNS_ROUND_ROBIN: "LOGICAL_DNS",
    Resolution.APP: "STRICT_DNS",  # There it has to be a server of its own, under that name.
}
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def envoy_cluster(cluster: ClusterConfig, settings: GatewaySettingsSpec) -> dict[str, Any]:
    """The cluster with its endpoints, limits and outlier detection."""
    fields: dict[str, Any] = {
        "name": cluster.name,
        "type": _TYPES[cluster.resolution],
        "connect_timeout": format_duration(cluster.connect_timeout),
        "load_assignment": _assignment(cluster),
        "circuit_breakers": {"thresholds": [_thresholds(cluster)]},
        "typed_extension_protocol_options": {_HTTP: _http_options(cluster)},
        **_balancer(cluster),
    }
    if cluster.resolution in {Resolution.DNS, Resolution.DNS_ROUND_ROBIN}:
        fields.update(_dns(settings))
    if cluster.keepalive is not None:
        fields["upstream_connection_options"] = {"tcp_keepalive": _keepalive(cluster.keepalive)}
    balancing: dict[str, Any] = {}
    if cluster.outlier is not None:
        fields["outlier_detection"] = outlier_detection(cluster.outlier)
        balancing["healthy_panic_threshold"] = {"value": cluster.panic_percent}
    if cluster.locality_weights:
        balancing["locality_weighted_lb_config"] = {}
    if balancing:
        fields["common_lb_config"] = balancing
    if cluster.health_check is not None:
        fields["health_checks"] = [_health_check(cluster.host, cluster.health_check)]
    return fields


def _balancer(cluster: ClusterConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"lb_policy": cluster.policy.value}
    if cluster.policy is Policy.RING_HASH and cluster.table_size:
        fields["ring_hash_lb_config"] = {"minimum_ring_size": cluster.table_size}
    elif cluster.policy is Policy.MAGLEV and cluster.table_size:
        fields["maglev_lb_config"] = {"table_size": cluster.table_size}
    elif cluster.warmup is not None:
        config = {"slow_start_config": _slow_start(cluster.warmup)}
        fields[f"{cluster.policy.value.lower()}_lb_config"] = config
    return fields


def _slow_start(warmup: Warmup) -> dict[str, Any]:
    return {
        "slow_start_window": format_duration(warmup.duration),
        "min_weight_percent": {"value": warmup.minimum * 100},
        "aggression": {"default_value": warmup.aggression, "runtime_key": "slow_start.aggression"},
    }


def _health_check(host: str, check: HealthCheck) -> dict[str, Any]:
    """Each failure counts towards the threshold here; Envoy by itself would take a wrong status at once."""
    fields: dict[str, Any] = {
        "timeout": format_duration(check.timeout),
        "interval": format_duration(check.interval),
        "initial_jitter": "1s",
        "unhealthy_threshold": check.unhealthy_threshold,
        "healthy_threshold": check.healthy_threshold,
        "reuse_connection": False,
        "http_health_check": {
            "host": host,
            "path": check.path,
            "expected_statuses": [
                {"start": status, "end": status + 1} for status in sorted(set(check.expected_statuses))
            ],
            "retriable_statuses": [{"start": 100, "end": 600}],
            "request_headers_to_add": [
                {
                    "header": {"key": "user-agent", "value": USER_AGENT},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
        },
    }
    return fields


def _dns(settings: GatewaySettingsSpec) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "dns_lookup_family": "V4_PREFERRED",
        "respect_dns_ttl": True,
        "dns_refresh_rate": format_duration(settings.dns.refresh_rate),
    }
    if settings.dns.nameservers:
        servers = [
            {"socket_address": {"address": address, "port_value": port}}
            for address, port in map(nameserver, settings.dns.nameservers)
        ]
        fields["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": typed("network.dns_resolver.cares.v3.CaresDnsResolverConfig", resolvers=servers),
        }
    return fields


def _thresholds(cluster: ClusterConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "max_connections": cluster.max_connections,
        "max_pending_requests": cluster.max_pending_requests,
        "max_requests": cluster.max_requests,
        "max_retries": cluster.max_retries,
        "track_remaining": True,
    }
    budget = cluster.retry_budget
    if budget is not None:  # Envoy knows no savings (`burst`).
        fields["retry_budget"] = {
            "budget_percent": {"value": budget.percent}, "min_retry_concurrency": budget.least
        }  # fmt: skip
    return fields


def _http_options(cluster: ClusterConfig) -> dict[str, Any]:
    common: dict[str, Any] = {
        # 0 is Envoy's word for no idle timeout.
        "idle_timeout": format_duration(cluster.idle_timeout or 0),
        "max_headers_count": cluster.response_headers,
    }
    if cluster.max_requests_per_connection:
        common["max_requests_per_connection"] = cluster.max_requests_per_connection
    if cluster.max_connection_duration is not None:
        common["max_connection_duration"] = format_duration(cluster.max_connection_duration)
    common["max_response_headers_kb"] = min(8192, math.ceil(cluster.response_head_bytes / 1024))
    fields = {
        "@type": f"type.googleapis.com/{_HTTP}",
        "common_http_protocol_options": common,
        "explicit_http_config": {"http_protocol_options": {}},
    }
    codes = cluster.outlier.outlier_detection_http_error_codes if cluster.outlier is not None else ()
    if codes:
        listed = "|".join(str(code) for code in sorted(set(codes)))
        match = {"name": ":status", "string_match": {"safe_regex": {"regex": listed}}}
        fields["outlier_detection"] = {"error_matcher": {"http_response_headers_match": {"headers": [match]}}}
    return fields


def _keepalive(probes: Keepalive) -> dict[str, Any]:
    fields = {
        "keepalive_probes": probes.probes,
        "keepalive_time": None if probes.time is None else round(probes.time),
        "keepalive_interval": None if probes.interval is None else round(probes.interval),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _assignment(cluster: ClusterConfig) -> dict[str, Any]:
    places: dict[tuple[int, str], list[EndpointConfig]] = {}
    for endpoint in cluster.endpoints:
        places.setdefault((endpoint.priority, endpoint.locality), []).append(endpoint)
    port = cluster.health_check.port if cluster.health_check is not None else None
    return {
        "cluster_name": cluster.name,
        "endpoints": [
            {
                **_locality(cluster, *place),
                "lb_endpoints": [_endpoint(endpoint, port) for endpoint in endpoints],
            }
            for place, endpoints in places.items()
        ],
    }


def _locality(cluster: ClusterConfig, priority: int, place: str) -> dict[str, Any]:
    names = ("region", "zone", "sub_zone")
    fields: dict[str, Any] = {}
    if place:
        fields["locality"] = dict(zip(names, place.split("/"), strict=False))
    if priority:
        fields["priority"] = priority
    if place in cluster.locality_weights:
        fields["load_balancing_weight"] = cluster.locality_weights[place]
    return fields


def _endpoint(endpoint: EndpointConfig, health_port: int | None) -> dict[str, Any]:
    if endpoint.is_unix:
        fields: dict[str, Any] = {"address": {"pipe": {"path": endpoint.address}}}
    else:
        fields = {"address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}}
        if health_port is not None:
            fields["health_check_config"] = {"port_value": health_port}
    return {"endpoint": fields, "load_balancing_weight": endpoint.weight}


def outlier_detection(outlier: OutlierDetection) -> dict[str, Any]:
    """When an endpoint is ejected. The statistical detectors are off, as in Istio."""
    found = Thresholds.of(outlier)
    fields: dict[str, Any] = {
        "interval": format_duration(found.interval),
        "base_ejection_time": format_duration(found.base),
        "max_ejection_percent": found.most,
        "always_eject_one_host": True,
        # Who answers its checks and fails its requests is just who is to be ejected.
        "successful_active_health_check_uneject_host": False,
        "enforcing_success_rate": 0,
        "enforcing_consecutive_gateway_failure": 100 if found.gateways else 0,
        "enforcing_consecutive_5xx": 100 if found.fives else 0,
        "split_external_local_origin_errors": bool(found.locals),
    }
    if found.gateways:
        fields["consecutive_gateway_failure"] = found.gateways
    if found.fives:
        fields["consecutive_5xx"] = found.fives
    if found.locals:
        fields["consecutive_local_origin_failure"] = found.locals
        fields["enforcing_consecutive_local_origin_failure"] = 100
        fields["enforcing_local_origin_success_rate"] = 0
    return fields
