"""A cluster of the plan as Envoy's Cluster (config.cluster.v3).

Lifetime: config.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gateway.config.fields import format_duration
from gateway.export.envoy_policies import typed
from gateway.upstream.cluster_config import UNLIMITED, Policy, Resolution

if TYPE_CHECKING:
    from gateway.config.connection_pool import RetryBudget
    from gateway.config.load_balancer import LoadBalancerSettings
    from gateway.config.outlier import OutlierDetection
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.upstream.cluster_config import ClusterConfig, EndpointConfig, Keepalive
    from gateway.upstream.rules import Blocks

_TYPES = {
    Resolution.NONE: "STATIC",
    Resolution.STATIC: "STATIC",
    Resolution.DNS: "STRICT_DNS",
    Resolution.DNS_ROUND_ROBIN: "LOGICAL_DNS",
}
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def envoy_cluster(
    cluster: ClusterConfig, policy: Blocks, budget: RetryBudget | None, settings: GatewaySettingsSpec
) -> dict[str, Any]:
    """The cluster with its endpoints, limits and outlier detection; `policy` is what its rules say."""
    fields: dict[str, Any] = {
        "name": cluster.name,
        "type": _TYPES[cluster.resolution],
        "connect_timeout": format_duration(cluster.connect_timeout),
        "load_assignment": _assignment(cluster),
        "circuit_breakers": {"thresholds": [_thresholds(cluster, policy, budget)]},
        "typed_extension_protocol_options": {_HTTP: _http_options(cluster)},
        **_balancer(cluster, policy.load_balancer),
    }
    if cluster.resolution in {Resolution.DNS, Resolution.DNS_ROUND_ROBIN}:
        fields.update(_dns(settings))
    if cluster.keepalive is not None:
        fields["upstream_connection_options"] = {"tcp_keepalive": _keepalive(cluster.keepalive)}
    if cluster.outlier is not None:
        fields["outlier_detection"] = outlier_detection(cluster.outlier)
        health = cluster.outlier.min_health_percent or 0
        fields["common_lb_config"] = {"healthy_panic_threshold": {"value": health}}
    return fields


def _balancer(cluster: ClusterConfig, written: LoadBalancerSettings | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"lb_policy": cluster.policy.value}
    if cluster.policy is Policy.RING_HASH and cluster.table_size:
        fields["ring_hash_lb_config"] = {"minimum_ring_size": cluster.table_size}
    elif cluster.policy is Policy.MAGLEV and cluster.table_size:
        fields["maglev_lb_config"] = {"table_size": cluster.table_size}
    elif cluster.policy in {Policy.LEAST_REQUEST, Policy.ROUND_ROBIN} and written is not None:
        slowly = _slow_start(written)
        if slowly:
            fields[f"{cluster.policy.value.lower()}_lb_config"] = {"slow_start_config": slowly}
    return fields


def _slow_start(written: LoadBalancerSettings) -> dict[str, Any]:
    warmup = written.warmup
    window = written.warmup_duration_secs if warmup is None else warmup.duration
    if window is None:
        return {}
    fields: dict[str, Any] = {"slow_start_window": format_duration(window)}
    if warmup is not None and warmup.minimum_percent is not None:
        fields["min_weight_percent"] = {"value": warmup.minimum_percent}
    if warmup is not None and warmup.aggression is not None:
        fields["aggression"] = {"default_value": warmup.aggression, "runtime_key": "slow_start.aggression"}
    return fields


def _dns(settings: GatewaySettingsSpec) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "dns_lookup_family": "V4_PREFERRED",
        "respect_dns_ttl": True,
        "dns_refresh_rate": format_duration(settings.dns.refresh_rate),
    }
    if settings.dns.nameservers:
        servers = [
            {"socket_address": {"address": server, "port_value": 53}} for server in settings.dns.nameservers
        ]
        fields["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": typed("network.dns_resolver.cares.v3.CaresDnsResolverConfig", resolvers=servers),
        }
    return fields


def _thresholds(cluster: ClusterConfig, policy: Blocks, budget: RetryBudget | None) -> dict[str, Any]:
    http = policy.connection_pool.http if policy.connection_pool is not None else None
    fields: dict[str, Any] = {
        "max_connections": cluster.max_connections,
        "max_pending_requests": (http.http1_max_pending_requests if http else 0) or UNLIMITED,
        "max_requests": (http.http2_max_requests if http else 0) or UNLIMITED,
        "max_retries": (http.max_retries if http else 0) or UNLIMITED,
        "track_remaining": True,
    }
    if budget is not None:
        percent = 20.0 if budget.percent is None else budget.percent.value
        least = 3 if budget.min_retry_concurrency is None else budget.min_retry_concurrency
        fields["retry_budget"] = {"budget_percent": {"value": percent}, "min_retry_concurrency": least}
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
    return {
        "@type": f"type.googleapis.com/{_HTTP}",
        "common_http_protocol_options": common,
        "explicit_http_config": {"http_protocol_options": {}},
    }


def _keepalive(probes: Keepalive) -> dict[str, Any]:
    fields = {
        "keepalive_probes": probes.probes,
        "keepalive_time": None if probes.time is None else round(probes.time),
        "keepalive_interval": None if probes.interval is None else round(probes.interval),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _assignment(cluster: ClusterConfig) -> dict[str, Any]:
    places: dict[str, list[EndpointConfig]] = {}
    for endpoint in cluster.endpoints:
        places.setdefault(endpoint.locality, []).append(endpoint)
    return {
        "cluster_name": cluster.name,
        "endpoints": [
            {
                **_locality(place),
                "lb_endpoints": [_endpoint(endpoint) for endpoint in endpoints],
            }
            for place, endpoints in places.items()
        ],
    }


def _locality(place: str) -> dict[str, Any]:
    names = ("region", "zone", "sub_zone")
    parts = dict(zip(names, place.split("/"), strict=False))
    return {"locality": parts} if place else {}


def _endpoint(endpoint: EndpointConfig) -> dict[str, Any]:
    if endpoint.is_unix:
        address: dict[str, Any] = {"pipe": {"path": endpoint.address}}
    else:
        address = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    return {"endpoint": {"address": address}, "load_balancing_weight": endpoint.weight}


def outlier_detection(outlier: OutlierDetection) -> dict[str, Any]:
    """When an endpoint is ejected. The statistical detectors are off, as in Istio."""
    fives, gateways = outlier.consecutive_5xx_errors, outlier.consecutive_gateway_errors
    if outlier.consecutive_errors is not None and fives is None and gateways is None:
        fives, gateways = 0, outlier.consecutive_errors  # what Istio 1.7 made of consecutiveErrors
    split = bool(outlier.split_external_local_origin_errors)
    fields: dict[str, Any] = {
        "interval": format_duration(outlier.interval or 10),
        "base_ejection_time": format_duration(outlier.base_ejection_time or 30),
        "max_ejection_percent": outlier.max_ejection_percent or 10,
        "always_eject_one_host": True,
        "enforcing_success_rate": 0,
        "enforcing_consecutive_gateway_failure": 100 if gateways else 0,
        "enforcing_consecutive_5xx": 0 if fives == 0 else 100,
        "split_external_local_origin_errors": split,
    }
    if gateways:
        fields["consecutive_gateway_failure"] = gateways
    if fives:
        fields["consecutive_5xx"] = fives
    if split:
        fields["consecutive_local_origin_failure"] = outlier.consecutive_local_origin_failures or 5
        fields["enforcing_consecutive_local_origin_failure"] = 100
        fields["enforcing_local_origin_success_rate"] = 0
    return fields
