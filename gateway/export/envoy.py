"""The configuration as a static bootstrap for real Envoy (config.bootstrap.v3).

Lifetime: config. Reads the configuration and the plan of clusters, never what runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.config.address import host_port
from gateway.config.hosts import fqdn
from gateway.export.envoy_cluster import envoy_cluster
from gateway.export.envoy_hosts import Entry, HostList, host_lists
from gateway.export.envoy_listener import envoy_listener
from gateway.export.envoy_match import reads_claims
from gateway.export.envoy_route import LAST_STATUS, envoy_route
from gateway.export.envoy_security import envoy_security
from gateway.upstream.plan import plan as plan_clusters
from gateway.upstream.rules import Rules, blocks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config import Config
    from gateway.config.load_balancer import ConsistentHashLB
    from gateway.config.references import Destination
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.upstream import ClusterConfig
    from gateway.upstream.plan import Plan

REGEX_PROGRAM = 32768
"""Largest RE2 program, as Istio sets it; Envoy's own default of 100 refuses ordinary patterns."""


@dataclass(frozen=True, slots=True)
class Export:
    """A bootstrap, and what it could not say."""

    bootstrap: dict[str, Any]
    notes: tuple[str, ...]
    """One sentence for everything left out or changed."""

    def dumps(self) -> str:
        """The bootstrap as JSON text."""
        return json.dumps(self.bootstrap, indent=2) + "\n"


def export_envoy(config: Config) -> Export:
    """Real Envoy's bootstrap for this configuration."""
    settings, notes = config.settings.spec, list[str]()
    plan = plan_clusters(config)
    listeners = []
    security = envoy_security(config, notes)
    for hosts in host_lists(config, notes):
        virtual_hosts = _virtual_hosts(hosts, plan, settings, notes)
        listeners.append(envoy_listener(hosts.name, hosts.address, virtual_hosts, settings, security))
    bootstrap: dict[str, Any] = {
        "node": {"id": "gateway", "cluster": "gateway"},
        "static_resources": {
            "listeners": listeners,
            "clusters": list(_clusters(config, plan, notes)),
        },
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "re2.max_program_size.error_level": REGEX_PROGRAM,
                        "re2.max_program_size.warn_level": REGEX_PROGRAM,
                    },
                }
            ]
        },
    }
    if settings.admin != "off":
        host, port = host_port(settings.admin)
        bootstrap["admin"] = {"address": {"socket_address": {"address": host, "port_value": port}}}
    return Export(bootstrap, tuple(dict.fromkeys(notes)))


class _Upstreams:
    """Destinations as the rules of one VirtualService on one listener name them."""

    tls = False

    def __init__(self, plan: Plan, settings: GatewaySettingsSpec, namespace: str, listener_port: int) -> None:
        self.listener_port = listener_port
        self._plan = plan
        self._settings = settings
        self._namespace = namespace

    def cluster(self, destination: Destination) -> str:
        """The name of the destination's cluster, whether it exists or not."""
        found = self._find(destination)
        if found is not None:
            return found.name
        port = destination.port.number if destination.port is not None else self.listener_port
        host = fqdn(destination.host, self._namespace, self._settings.cluster_domain)
        return f"outbound|{port}|{destination.subset or ''}|{host}"

    def hash_key(self, destination: Destination) -> ConsistentHashLB | None:
        """The consistent hash its DestinationRule asks for."""
        found = self._find(destination)
        return found.consistent_hash if found is not None else None

    def _find(self, destination: Destination) -> ClusterConfig | None:
        number = destination.port.number if destination.port is not None else None
        return self._plan.find(
            destination.host,
            number,
            destination.subset,
            namespace=self._namespace,
            listener_port=self.listener_port,
        )


def _virtual_hosts(
    hosts: HostList, plan: Plan, settings: GatewaySettingsSpec, notes: list[str]
) -> list[dict[str, Any]]:
    """Domains with the same entries share a virtual host."""
    groups: dict[tuple[int, ...], tuple[list[str], list[Entry]]] = {}
    for domain, entries in hosts.domains().items():
        secure = domain in hosts.secure
        key = (secure, *(id(part) for entry in entries for part in (entry.http, entry.match)))
        groups.setdefault(key, ([], entries))[0].append(domain)
    found = []
    for domains, entries in groups.values():
        host: dict[str, Any] = {
            "name": domains[0],
            "domains": domains,
            "routes": list(_routes(entries, hosts.address[1], plan, settings, notes)),
            "include_request_attempt_count": True,
        }
        if domains[0] in hosts.secure:
            host["require_tls"] = "ALL"
        found.append(host)
    return found


def _routes(
    entries: Iterable[Entry], port: int, plan: Plan, settings: GatewaySettingsSpec, notes: list[str]
) -> Iterable[dict[str, Any]]:
    for entry in entries:
        title = entry.owner.title
        if entry.match is not None and reads_claims(entry.match):
            notes.append(f"{title}: a rule that matches claims of a JWT is left out")
            continue
        direct = entry.http.direct_response
        if direct is not None and direct.status > LAST_STATUS:
            notes.append(f"{title}: status {direct.status} became {LAST_STATUS}, Envoy's highest")
        upstreams = _Upstreams(plan, settings, entry.owner.metadata.namespace, port)
        yield envoy_route(entry.http, entry.match, entry.name, upstreams)


def _clusters(config: Config, plan: Plan, notes: list[str]) -> Iterable[dict[str, Any]]:
    rules = Rules(config)
    for cluster in plan.clusters.values():
        rule = rules.find(cluster.host, cluster.namespace)
        subset = rule.subsets.get(cluster.subset) if rule is not None else None
        policy = blocks(rule, subset, cluster.port)
        balancer = policy.load_balancer
        if policy.tls is not None and policy.tls.mode != "DISABLE":
            notes.append(f"{cluster.host}: TLS to the endpoints is not exported")
        if balancer is not None and balancer.zone_aware_lb_setting:
            notes.append(f"{cluster.host}: zoneAwareLbSetting is not exported")
        yield envoy_cluster(cluster, config.settings.spec)
