"""The configuration as a static bootstrap for real Envoy (config.bootstrap.v3).

Lifetime: config. Reads the configuration and the plan of clusters, never what runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.config.address import host_port
from gateway.export.envoy_chains import secure_chains
from gateway.export.envoy_cluster import envoy_cluster
from gateway.export.envoy_hosts import host_lists
from gateway.export.envoy_keys import key_clusters
from gateway.export.envoy_listener import Chain, envoy_listener
from gateway.export.envoy_peers import Demands, peer_filter
from gateway.export.envoy_policies import typed
from gateway.export.envoy_security import Judges
from gateway.export.envoy_table import Tables
from gateway.export.envoy_tls import Sockets
from gateway.tls.material import CredentialError
from gateway.upstream.cluster_config import Resolution
from gateway.upstream.plan import plan as plan_clusters
from gateway.upstream.rules import Rules, blocks
from gateway.upstream.securing import destinations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.config import Config
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


def export_envoy(config: Config, paths: Iterable[Path] = ()) -> Export:
    """Real Envoy's bootstrap for this configuration.

    `paths`: what it was loaded from, where the folders of credentials are; default: the documents' files.
    """
    settings, notes = config.settings.spec, list[str]()
    plan = plan_clusters(config)
    sockets = Sockets(config, paths, notes)
    demands = Demands(config)
    judges = Judges(config, plan, notes)
    tables = Tables(plan, settings, demands, judges, notes)
    listeners = []
    for hosts in host_lists(config, notes):
        peers = [peer_filter(tables.demand(hosts))] if demands.any else []
        filters = [*judges.everywhere(), *peers, *judges.behind()]
        if hosts.tls:
            chains = list(secure_chains(config, hosts, tables, sockets, filters, notes))
        else:
            chains = [Chain(tables.virtual_hosts(hosts, hosts.domains()), filters)]
        if chains:
            listeners.append(envoy_listener(hosts.name, hosts.address, chains, settings))
    bootstrap: dict[str, Any] = {
        "node": {"id": "gateway", "cluster": "gateway"},
        "static_resources": {
            "listeners": listeners,
            "clusters": [*_clusters(config, plan, sockets, notes), *key_clusters(config)],
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
        address = {"socket_address": {"address": host, "port_value": port}}
        bootstrap["admin"] = {"address": address, "ignore_global_conn_limit": True}
    if settings.limits.connections is not None:
        bootstrap["overload_manager"] = {
            "resource_monitors": [_connection_limit(settings.limits.connections)]
        }
    return Export(bootstrap, tuple(dict.fromkeys(notes)))


def _connection_limit(most: int) -> dict[str, Any]:
    """Of all listeners together."""
    limit = typed(
        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=most,
    )
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}


def _clusters(config: Config, plan: Plan, sockets: Sockets, notes: list[str]) -> Iterable[dict[str, Any]]:
    rules, secured = Rules(config), destinations(plan)
    for cluster in plan.clusters.values():
        rule = rules.find(cluster.host, cluster.namespace)
        subset = rule.subsets.get(cluster.subset) if rule is not None else None
        policy = blocks(rule, subset, cluster.port)
        balancer = policy.load_balancer
        if balancer is not None and balancer.zone_aware_lb_setting:
            notes.append(f"{cluster.host}: zoneAwareLbSetting is not exported")
        destination = secured.get(cluster.name)
        if destination is None:
            yield envoy_cluster(cluster, config.settings.spec)
            continue
        try:
            socket = sockets.client(destination)
        except CredentialError as error:
            # Never in plain text what is to be sent over TLS.
            notes.append(f"{cluster.host}: no requests are sent to it: {error}")
            nobody = replace(cluster, endpoints=(), resolution=Resolution.STATIC)
            yield envoy_cluster(nobody, config.settings.spec)
        else:
            yield {**envoy_cluster(cluster, config.settings.spec), "transport_socket": socket}
