"""From documents to clusters: one for every host and port, and for every subset of it.

Lifetime: config; pure, runs in a worker thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.config.hosts import covers, fqdn
from gateway.upstream.cluster_config import (
    UNLIMITED,
    ClusterConfig,
    EndpointConfig,
    Keepalive,
    Policy,
    Resolution,
    RetryReserve,
    RetryShare,
    Warmup,
)
from gateway.upstream.locality import Here, arrange
from gateway.upstream.names import cluster_name
from gateway.upstream.rules import Rules, blocks
from gateway.upstream.services import ServicePorts, services

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Config
    from gateway.config.connection_pool import ConnectionPoolSettings, RetryBudget, TcpKeepalive
    from gateway.config.destination_rule import Subset
    from gateway.config.health_checks import HealthCheck
    from gateway.config.load_balancer import LoadBalancerSettings
    from gateway.config.settings import DefaultRetryBudget, GatewaySettingsSpec
    from gateway.upstream.rules import Rule


@dataclass(frozen=True, slots=True)
class Plan:
    """Every cluster of a configuration, and how a destination finds its own."""

    clusters: Mapping[str, ClusterConfig]
    """By name."""
    services: Mapping[str, ServicePorts]
    """By host in full."""
    domain: str
    """`clusterDomain`."""
    refresh_rate: float
    """Seconds a DNS answer is kept at most."""
    nameservers: tuple[str, ...]
    """DNS servers; empty: the system's."""

    def find(
        self, host: str, port: int | None, subset: str | None, *, namespace: str, listener_port: int = 0
    ) -> ClusterConfig | None:
        """The cluster of a destination as a document of `namespace` names it; None is answered with NC.

        Without a port: the service's only one, else the one the request came in on.
        """
        service = self._service(fqdn(host, namespace, self.domain))
        if service is None:
            return None
        if port is None or service.resolution is Resolution.APP:
            port = next(iter(service.ports)) if len(service.ports) == 1 else listener_port
        return self.clusters.get(cluster_name(service.host, port, subset))

    def _service(self, host: str) -> ServicePorts | None:
        """A wildcard entry serves the hosts it covers by its own endpoints; Istio has no cluster there."""
        found = self.services.get(host)
        if found is None:
            wild = [name for name in self.services if name.startswith("*") and covers(name, host)]
            found = self.services[max(wild, key=len)] if wild else None
        return found


def plan(config: Config) -> Plan:
    """What the clusters are. Never fails for a configuration that was validated."""
    settings = config.settings.spec
    rules = Rules(config)
    known = services(config)
    process = _Process.of(settings)
    clusters: dict[str, ClusterConfig] = {}
    for service in known.values():
        rule = rules.find(service.host, service.namespace)
        subsets: list[Subset | None] = [None, *(rule.subsets.values() if rule is not None else ())]
        for port in service.ports:
            for subset in subsets:
                cluster = _cluster(service, port, rule, subset, process)
                clusters[cluster.name] = cluster
    return Plan(clusters, known, settings.cluster_domain, settings.dns.refresh_rate, settings.dns.nameservers)


@dataclass(frozen=True, slots=True)
class _Process:
    """What every cluster needs of this process's own settings."""

    settings: GatewaySettingsSpec
    here: Here
    checks: Mapping[str, HealthCheck]
    """By host in full."""

    @classmethod
    def of(cls, settings: GatewaySettingsSpec) -> _Process:
        checks = {
            fqdn(host, settings.namespace, settings.cluster_domain): check
            for host, check in settings.health_checks.items()
        }
        return cls(settings, Here.of(settings), checks)


def _cluster(
    service: ServicePorts, port: int, rule: Rule | None, subset: Subset | None, process: _Process
) -> ClusterConfig:
    policy, settings = blocks(rule, subset, port), process.settings
    inside = service.resolution is Resolution.APP  # Nothing to secure, nobody to probe.
    endpoints = service.ports[port]
    if subset is not None and subset.labels:
        wanted = subset.labels.items()
        endpoints = tuple(endpoint for endpoint in endpoints if wanted <= endpoint.labels.items())
    balancing = policy.load_balancer
    endpoints, locality_weights = arrange(
        _distinct(endpoints),
        balancing.locality_lb_setting if balancing is not None else None,
        process.here,
        ejects=policy.outlier_detection is not None,
    )
    return ClusterConfig(
        name=cluster_name(service.host, port, subset.name if subset is not None else None),
        host=service.host,
        port=port,
        subset=subset.name if subset is not None else "",
        namespace=service.namespace,
        endpoints=endpoints,
        resolution=service.resolution,
        outlier=policy.outlier_detection,
        health_check=None if inside else process.checks.get(service.host),
        locality_weights=locality_weights,
        tls=None if inside else policy.tls,
        subject_alt_names=service.subject_alt_names,
        retry_budget=_budget(policy.retry_budget, policy.connection_pool, settings.retry_budget),
        response_head_bytes=settings.limits.response_head_bytes,
        response_hold_bytes=settings.limits.response_hold_bytes,
        response_headers=settings.limits.response_headers,
        stream_idle=settings.timeouts.stream_idle,
        **_balancing(balancing),
        **_limits(policy.connection_pool),
    )


def _distinct(endpoints: tuple[EndpointConfig, ...]) -> tuple[EndpointConfig, ...]:
    """An address that is listed twice is one endpoint, the first."""
    seen: dict[tuple[str, int], EndpointConfig] = {}
    for endpoint in endpoints:
        seen.setdefault((endpoint.address, endpoint.port), endpoint)
    return tuple(seen.values())


_SIMPLE = {"ROUND_ROBIN": Policy.ROUND_ROBIN, "RANDOM": Policy.RANDOM}


def _balancing(settings: LoadBalancerSettings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    hashing = settings.consistent_hash
    if hashing is None:
        policy = _SIMPLE.get(settings.simple or "", Policy.LEAST_REQUEST)
        return {"policy": policy, "warmup": None if policy is Policy.RANDOM else _warmup(settings)}
    if hashing.maglev is not None:
        return {
            "policy": Policy.MAGLEV,
            "table_size": hashing.maglev.table_size or 0,
            "consistent_hash": hashing,
        }
    size = hashing.ring_hash.minimum_ring_size if hashing.ring_hash is not None else hashing.minimum_ring_size
    return {"policy": Policy.RING_HASH, "table_size": size or 0, "consistent_hash": hashing}


def _warmup(settings: LoadBalancerSettings) -> Warmup | None:
    written = settings.warmup
    if written is None or written.duration is None:
        return Warmup(settings.warmup_duration_secs) if settings.warmup_duration_secs is not None else None
    least, curve = written.minimum_percent, written.aggression
    return Warmup(written.duration, 0.1 if least is None else least / 100, 1.0 if curve is None else curve)


def _limits(settings: ConnectionPoolSettings | None) -> dict[str, Any]:
    """Only what is set; 0 is unset in every integer, and no timeout in `tcp.idleTimeout`."""
    tcp = settings.tcp if settings is not None else None
    http = settings.http if settings is not None else None
    found: dict[str, Any] = {}
    if tcp is not None:
        found["max_connections"] = tcp.max_connections or UNLIMITED
        found["max_connection_duration"] = tcp.max_connection_duration
        found["keepalive"] = _keepalive(tcp.tcp_keepalive)
        if tcp.connect_timeout is not None:
            found["connect_timeout"] = tcp.connect_timeout
        if tcp.idle_timeout is not None:
            found["idle_timeout"] = tcp.idle_timeout or None
    if http is not None:
        found["max_requests_per_connection"] = http.max_requests_per_connection or 0
        found["max_pending_requests"] = http.http1_max_pending_requests or UNLIMITED
        found["max_requests"] = http.http2_max_requests or UNLIMITED
        found["max_retries"] = http.max_retries or UNLIMITED
        if http.idle_timeout is not None:
            found["idle_timeout"] = http.idle_timeout
    return found


def _budget(
    own: RetryBudget | None, pool: ConnectionPoolSettings | None, default: DefaultRetryBudget
) -> RetryShare | None:
    """The rule's own budget; without one the default, unless `maxRetries` says how many there may be."""
    if own is not None:
        return RetryShare(
            20.0 if own.percent is None else own.percent.value,
            3 if own.min_retry_concurrency is None else own.min_retry_concurrency,
        )
    limited = pool is not None and pool.http is not None and pool.http.max_retries
    if limited or not default.enabled:
        return None
    later = default.over_time
    reserve = RetryReserve(float(later.reserve), later.refill) if later.enabled else None
    return RetryShare(default.percent.value, default.min_retry_concurrency, float(default.burst), reserve)


def _keepalive(settings: TcpKeepalive | None) -> Keepalive | None:
    return None if settings is None else Keepalive(settings.probes, settings.time, settings.interval)
