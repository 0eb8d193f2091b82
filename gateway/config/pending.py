"""What is read but not enforced yet: never silently ignored.

Lifetime: config. Whoever makes a feature work removes it here. A feature that protects is an error and fatal:
the process refuses to start instead of serving unprotected. Everything else is a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.config.codes import define
from gateway.config.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.config.config import Config
    from gateway.config.destination_rule import DestinationRule, PortTrafficPolicy, TrafficPolicy
    from gateway.config.gateway import Gateway
    from gateway.config.resource import Resource
    from gateway.config.security import AuthorizationPolicy, PeerAuthentication
    from gateway.config.virtual_service import VirtualService

define(
    "GW300",
    "not yet enforced",
    "warning",
    "The document is right, and this part of it has no effect in this version. The rest of it works.",
)
define(
    "GW301",
    "protection not yet enforced",
    "error",
    "The document asks for a protection that this version cannot give. To go on without it would look like"
    " safety and be none, so the process does not start. Remove the document, or protect by other means.",
)

Path = tuple[str | int, ...]


class Pending(NamedTuple):
    """A feature in use that does not work yet."""

    at: Path
    """Its first use in the resource."""
    feature: str
    protects: bool = False


def pending(config: Config) -> Iterator[Finding]:
    """Each feature once a resource, at its first use."""
    kinds: tuple[tuple[tuple[Resource, ...], Callable[[Any], Iterator[Pending]]], ...] = (
        (config.virtual_services, _virtual_service),
        (config.destination_rules, _destination_rule),
        (config.gateways, _gateway),
        (config.authorization_policies, _authorization_policy),
        (config.peer_authentications, _peer_authentication),
        (config.request_authentications, _request_authentication),
        (config.telemetries, _telemetry),
    )
    for resources, find in kinds:
        for resource in resources:
            yield from _findings(config, resource, find(resource))


def _findings(config: Config, resource: Resource, uses: Iterable[Pending]) -> Iterator[Finding]:
    origin, told = config.origin(resource), set[str]()
    for use in uses:
        if use.feature in told:
            continue
        told.add(use.feature)
        here = origin.position(*use.at)
        if use.protects:
            message = f"{resource.title}: {use.feature} is not enforced yet, so the gateway refuses to start"
            yield Finding(*here.where, "error", "GW301", message, fatal=True, length=here.length)
        else:
            message = f"{resource.title}: {use.feature} is not enforced yet and has no effect"
            yield Finding(*here.where, "warning", "GW300", message, length=here.length)


# -- traffic -----------------------------------------------------------------------------------

_ROUTE = (("retries", "retries"), ("fault", "fault"), ("mirror", "mirror"), ("mirrors", "mirror"))


def _virtual_service(resource: VirtualService) -> Iterator[Pending]:
    for index, http in enumerate(resource.spec.http):
        for field, feature in _ROUTE:
            value = getattr(http, field)
            if value and not (field == "retries" and not value.attempts):
                yield Pending(("spec", "http", index, field), feature)
        for number, match in enumerate(http.match):
            for field in ("headers", "without_headers"):
                for name in getattr(match, field):
                    if name.startswith("@request.auth."):
                        yield Pending(
                            ("spec", "http", index, "match", number, field, name), "matching JWT claims"
                        )


_POLICY: tuple[tuple[str, str], ...] = (
    ("outlier_detection", "outlierDetection"),
    ("tunnel", "tunnel"),
    ("proxy_protocol", "proxyProtocol"),
    ("retry_budget", "retryBudget"),
    ("load_balancer.locality_lb_setting", "localityLbSetting"),
    ("load_balancer.zone_aware_lb_setting", "zoneAwareLbSetting"),
    ("load_balancer.warmup", "warmup"),
    ("load_balancer.warmup_duration_secs", "warmup"),
    ("connection_pool.http.http1_max_pending_requests", "http1MaxPendingRequests"),
    ("connection_pool.http.http2_max_requests", "http2MaxRequests"),
    ("connection_pool.http.max_retries", "maxRetries"),
    ("connection_pool.http.use_client_protocol", "HTTP/2 to upstreams"),
    ("connection_pool.http.http2_keep_alive", "HTTP/2 to upstreams"),
)


def _destination_rule(resource: DestinationRule) -> Iterator[Pending]:
    spec = resource.spec
    policies: list[tuple[Path, TrafficPolicy | None]] = [(("spec", "traffic_policy"), spec.traffic_policy)]
    policies += [
        (("spec", "subsets", index, "traffic_policy"), subset.traffic_policy)
        for index, subset in enumerate(spec.subsets)
    ]
    for at, policy in policies:
        if policy is None:
            continue
        yield from _policy(at, policy)
        for index, port in enumerate(policy.port_level_settings):
            yield from _policy((*at, "port_level_settings", index), port)


def _policy(at: Path, policy: TrafficPolicy | PortTrafficPolicy) -> Iterator[Pending]:
    for dotted, feature in _POLICY:
        steps = dotted.split(".")
        if _value(policy, steps):
            yield Pending((*at, *steps), feature)
    if _value(policy, ["connection_pool", "http", "h2_upgrade_policy"]) == "UPGRADE":
        yield Pending((*at, "connection_pool", "http", "h2_upgrade_policy"), "HTTP/2 to upstreams")
    if policy.tls is not None and policy.tls.mode not in {None, "DISABLE"}:
        # To send in plain text what was to be encrypted is no lesser feature.
        yield Pending((*at, "tls", "mode"), f"TLS to the upstream ({policy.tls.mode})", protects=True)


def _value(policy: Any, steps: list[str]) -> Any:
    for step in steps:
        policy = getattr(policy, step, None)
    return policy


def _gateway(resource: Gateway) -> Iterator[Pending]:
    for index, server in enumerate(resource.spec.servers):
        if server.port.protocol == "HTTPS":
            yield Pending(("spec", "servers", index, "tls"), "TLS of a Gateway server", protects=True)
        elif server.port.protocol in {"TCP", "TLS", "MONGO", "REDIS", "MYSQL"}:
            yield Pending(
                ("spec", "servers", index, "port", "protocol"), f"a server of protocol {server.port.protocol}"
            )


# -- security ----------------------------------------------------------------------------------


def _authorization_policy(resource: AuthorizationPolicy) -> Iterator[Pending]:
    protects = resource.spec.action != "AUDIT" and not resource.dry_run
    yield Pending(("kind",), "this policy", protects=protects)


def _peer_authentication(resource: PeerAuthentication) -> Iterator[Pending]:
    if resource.spec.strict:
        yield Pending(("kind",), "mode STRICT", protects=True)


def _request_authentication(_: Resource) -> Iterator[Pending]:
    yield Pending(("kind",), "verification of tokens", protects=True)


def _telemetry(_: Resource) -> Iterator[Pending]:
    yield Pending(("kind",), "this document")
