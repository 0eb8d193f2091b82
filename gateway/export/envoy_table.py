"""A listener's virtual hosts with their routes.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config.hosts import fqdn
from gateway.export.envoy_peers import on_route
from gateway.export.envoy_route import LAST_STATUS, envoy_route
from gateway.security.mutual_tls import PERMISSIVE
from gateway.security.policies import BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.config.load_balancer import ConsistentHashLB
    from gateway.config.references import Destination
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.export.envoy_hosts import Entry, HostList
    from gateway.export.envoy_peers import Demands
    from gateway.export.envoy_security import Judges
    from gateway.security.mutual_tls import Mode
    from gateway.upstream import ClusterConfig
    from gateway.upstream.plan import Plan

_DENIED = 403


class Tables:
    """Makes the virtual hosts of every listener."""

    def __init__(
        self,
        plan: Plan,
        settings: GatewaySettingsSpec,
        demands: Demands,
        judges: Judges,
        notes: list[str],
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._demands = demands
        self._judges = judges
        self._notes = notes

    def demand(self, hosts: HostList) -> Mode:
        """What is asked of clients where no route says otherwise. A redirect to https has no route in Envoy,
        and must come in plain; so a listener that redirects asks in its routes only.
        """
        return PERMISSIVE if hosts.secure else self._demands.gateway(hosts.address[1])

    def virtual_hosts(
        self, hosts: HostList, domains: Mapping[str, list[Entry]], *, tls: bool = False
    ) -> list[dict[str, Any]]:
        """Domains with the same entries share a virtual host."""
        groups: dict[tuple[int, ...], tuple[list[str], list[Entry]]] = {}
        for domain, entries in domains.items():
            secure = domain in hosts.secure
            key = (secure, *(id(part) for entry in entries for part in (entry.http, entry.match)))
            groups.setdefault(key, ([], entries))[0].append(domain)
        found = []
        for names, entries in groups.values():
            host: dict[str, Any] = {
                "name": names[0],
                "domains": names,
                "routes": list(self._routes(hosts, entries, tls=tls)),
                "include_request_attempt_count": True,
            }
            if names[0] in hosts.secure:
                host["require_tls"] = "ALL"
            found.append(host)
        return self._closed(hosts, found)

    def _routes(self, hosts: HostList, entries: Iterable[Entry], *, tls: bool) -> Iterable[dict[str, Any]]:
        port = hosts.address[1]
        for entry in entries:
            title = entry.owner.title
            direct = entry.http.direct_response
            if direct is not None and direct.status > LAST_STATUS:
                self._notes.append(f"{title}: status {direct.status} became {LAST_STATUS}, Envoy's highest")
            namespace = entry.owner.metadata.namespace
            upstreams = _Upstreams(self._plan, self._settings, namespace, port, tls=tls)
            route = envoy_route(entry.http, entry.match, entry.name, upstreams)
            self._ask(route, hosts)
            yield route

    def _ask(self, route: dict[str, Any], hosts: HostList) -> None:
        """Writes down who is judged otherwise than all are: on a route, or at its destinations."""
        action = route.get("route")
        if action is None:
            self._demand(route, self._demands.gateway(hosts.address[1]), hosts)
            return
        weighted = action.get("weighted_clusters")
        if weighted is None:
            entries = [(action["cluster"], route)]
        else:
            entries = [(item["name"], item) for item in weighted["clusters"]]
        self._copy(action, [name for name, _ in entries])
        for name, place in entries:
            cluster = self._plan.clusters.get(name)
            self._demand(place, self._demands.destination(cluster, hosts.address[1]), hosts)
            if judged := self._judges.at(name):
                place.setdefault("typed_per_filter_config", {}).update(judged)

    def _demand(self, place: dict[str, Any], mode: Mode, hosts: HostList) -> None:
        usual = self.demand(hosts)
        if mode != usual and (mode.strict or usual.strict):
            place.setdefault("typed_per_filter_config", {}).update(on_route(mode))

    def _copy(self, action: dict[str, Any], names: list[str]) -> None:
        """Nobody judges a copy: it goes only where the request itself could have gone."""
        known = self._plan.clusters
        clusters = [known[name] for name in names if name in known]
        for policy in list(action.get("request_mirror_policies", ())):
            mirror = known.get(policy["cluster"])
            if mirror is not None and not self._judges.alike(mirror, clusters):
                self._notes.append(f"no copies for {policy['cluster']}: it has policies of its own")
                action["request_mirror_policies"].remove(policy)

    def _closed(self, hosts: HostList, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Who may not know what there is gets 403 instead of 404, behind everything else of each host."""
        if not hosts.secure or not self._demands.gateway(hosts.address[1]).strict:
            return found
        answer = {"status": _DENIED, "body": {"inline_string": BODY.decode()}}
        last = {"name": "", "match": {"prefix": "/"}, "direct_response": answer}
        if not any("*" in host["domains"] for host in found):
            found.append({"name": "*", "domains": ["*"], "routes": []})
        for host in found:
            host["routes"].append(last)
        return found


class _Upstreams:
    """Destinations as the rules of one VirtualService on one listener name them."""

    def __init__(
        self, plan: Plan, settings: GatewaySettingsSpec, namespace: str, listener_port: int, *, tls: bool
    ) -> None:
        self.listener_port = listener_port
        self.tls = tls
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
