"""Rules of VirtualServices, compiled to routes.

Lifetime: config. `RuleCompiler` lives for one compilation.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gateway.config.address import host_port
from gateway.config.hosts import fqdn
from gateway.routing.answers import Answer, compile_direct_response, compile_redirect
from gateway.routing.conditions import compile_conditions
from gateway.routing.cors import Cors
from gateway.routing.guarding import guarded, limits_of, target_of
from gateway.routing.hash_key import compile_hash_cookie, compile_hash_key
from gateway.routing.header_ops import authority_override, compile_request_ops, compile_response_ops
from gateway.routing.policies import MILLION, Mirror, compile_fault, compile_retries, per_million
from gateway.routing.rewrite import compile_guard, compile_rewrite
from gateway.routing.route import Destination, Forwarding, Route, Source
from gateway.security import Checks
from gateway.security.guard import with_limits
from gateway.upstream.cluster_config import Resolution
from gateway.upstream.names import cluster_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config.http_match import HTTPMatchRequest
    from gateway.config.load_balancer import ConsistentHashLB
    from gateway.config.references import Destination as Place
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.config.virtual_service import HTTPRoute, HTTPRouteDestination, VirtualService
    from gateway.routing.delegates import Rule
    from gateway.security import Guard
    from gateway.security.rate_limit import Limits, RateLimits
    from gateway.upstream import Cluster, ClusterConfig, Plan

logger = logging.getLogger(__name__)


class RuleCompiler:
    """Turns rules into routes for the listeners of one generation."""

    def __init__(
        self,
        plan: Plan,
        clusters: Mapping[str, Cluster],
        settings: GatewaySettingsSpec,
        guard: Guard | None = None,
        limits: RateLimits | None = None,
    ) -> None:
        self._plan = plan
        self._limits = limits
        self._guard = guard
        self._own = guard.own if guard is not None else ()
        self._clusters = clusters
        self._settings = settings
        self._listen_port = host_port(settings.listen)[1]

    def routes(
        self, rule: Rule, root: VirtualService, *, gateways: frozenset[str], port: int | None
    ) -> Iterator[Route]:
        """The routes of one rule on one listener; none when every match is for another place.

        `gateways` are the names (`namespace/name`, or `mesh`) under which the listener serves `root`; `port`
        is the Gateway server's, None on the listener without Gateway document.
        """
        http = rule.http
        matches: list[tuple[int | None, HTTPMatchRequest | None]] = [
            (index, match)
            for index, match in enumerate(http.match)
            if self._applies(match, root, gateways, port)
        ]
        if not http.match:
            matches = [(None, None)]
        elif not matches:
            return
        limits = limits_of(http.name, self._limits)
        own = with_limits(Checks(self._own), limits)
        common = self._forwarding(rule, port or self._listen_port, limits)
        for index, match in matches:
            source = Source(_name(root), _name(rule.owner), rule.number, index)
            answer = _answer(http, match, port)
            yield Route(
                route_name(http, match),
                source,
                compile_conditions(match, port=port),
                common,
                answer=guarded(answer, own.checks) if answer is not None else None,
                gate=own.gate if answer is not None else None,
                rewrite=compile_rewrite(http.rewrite, match) if answer is None else None,
                guard=compile_guard(http.rewrite, match) if answer is None else None,
            )

    def _applies(
        self, match: HTTPMatchRequest, root: VirtualService, gateways: frozenset[str], port: int | None
    ) -> bool:
        """What of a match is decided by the listener and by who this gateway is."""
        if match.port is not None and port is not None and match.port != port:
            return False
        if match.gateways:
            named = {gateway_key(name, root.metadata.namespace) for name in match.gateways}
            return not named.isdisjoint(gateways)
        own = self._settings
        if match.source_namespace and match.source_namespace != own.namespace:
            return False
        return all(own.labels.get(key) == value for key, value in match.source_labels.items())

    def _forwarding(self, rule: Rule, port: int, limits: Limits) -> Forwarding:
        http = rule.http
        route_response = http.headers.response if http.headers is not None else None
        if http.redirect is not None or http.direct_response is not None:
            # Neither faults nor CORS nor retries concern a route that answers by itself.
            return Forwarding(response_ops=compile_response_ops(route_response))
        entries = http.route if len(http.route) == 1 else [item for item in http.route if item.weight]
        destinations = tuple(self._destination(item, rule, port, limits) for item in entries)
        policy = self._hash_policy(destinations)
        cors = Cors(http.cors_policy) if http.cors_policy is not None else None
        timeout = http.timeout or None
        sticky = policy is not None and len(destinations) == 1
        return Forwarding(
            destinations=destinations,
            timeout=timeout,
            retries=(
                None  # No network lost the request: what the application failed at, it would do twice.
                if any(map(_is_wrapped_app, destinations))
                else compile_retries(http.retries, timeout=timeout, sticky=sticky)
            ),
            fault=compile_fault(http.fault),
            mirrors=tuple(self._mirrors(rule, port, destinations)),
            hash_key=compile_hash_key(policy) if policy is not None else None,
            hash_cookie=compile_hash_cookie(policy) if policy is not None else None,
            checks=(cors.preflight,) if cors is not None else (),
            cors=cors.mark if cors is not None else None,
            response_ops=compile_response_ops(route_response),
        )

    def _destination(self, item: HTTPRouteDestination, rule: Rule, port: int, limits: Limits) -> Destination:
        # Also the only one that is left of several is a level of its own.
        several = len(rule.http.route) > 1
        level, own = rule.http.headers, item.headers
        request = (level.request if level else None, own.request if own else None)
        response = (level.response if level else None, own.response if own else None)
        rewrite = rule.http.rewrite
        authority = rewrite.authority.encode() if rewrite is not None and rewrite.authority else None
        for operations in request:
            authority = authority_override(operations) if authority is None else authority
        name, cluster = self._cluster(item.destination, rule.owner, port)
        return Destination(
            cluster=cluster,
            cluster_name=name,
            # The only destination gets everything, whatever its weight says.
            weight=item.weight or 1,
            authority=authority,
            request_ops=compile_request_ops(*request, several=several),
            response_ops=compile_response_ops(*response, several=several),
            **self._policies(cluster, limits),
        )

    def _policies(self, cluster: Cluster | None, limits: Limits) -> dict[str, Any]:
        """What of a destination is policy, and the limits of its route behind it."""
        if self._guard is None or cluster is None:
            return with_limits(Checks(self._own), limits)._asdict()
        target = target_of(cluster.config)
        return {**with_limits(self._guard.destination(target), limits)._asdict(), "target": target}

    def _cluster(self, place: Place, owner: VirtualService, listener_port: int) -> tuple[str, Cluster | None]:
        """The cluster of a destination, and its name even when there is none."""
        namespace = owner.metadata.namespace
        number = place.port.number if place.port is not None else None

        def find(subset: str | None) -> ClusterConfig | None:
            return self._plan.find(
                place.host, number, subset, namespace=namespace, listener_port=listener_port
            )

        found = find(place.subset)
        if found is not None:
            return found.name, self._clusters.get(found.name)
        whole = find(None)
        if number is None:
            number = listener_port if whole is None else whole.port
        host = fqdn(place.host, namespace, self._settings.cluster_domain)
        return cluster_name(host, number, place.subset), None

    def _hash_policy(self, destinations: tuple[Destination, ...]) -> ConsistentHashLB | None:
        """The hash policy of the first destination that has one: a route has one key."""
        for destination in destinations:
            if destination.cluster is not None:
                policy = destination.cluster.config.consistent_hash
                if policy is not None:
                    return policy
        return None

    def _mirrors(self, rule: Rule, port: int, destinations: tuple[Destination, ...]) -> Iterator[Mirror]:
        http = rule.http
        places = [(policy.destination, policy.percentage) for policy in http.mirrors]
        if http.mirror is not None:
            places.append((http.mirror, http.mirror_percentage))
        for place, percentage in places:
            share = MILLION if percentage is None else per_million(percentage)
            if place is http.mirror and percentage is None and http.mirror_percent is not None:
                share = http.mirror_percent * 10_000
            if share:
                name, cluster = self._cluster(place, rule.owner, port)
                if cluster is not None and not self._judged_alike(cluster, destinations):
                    logger.warning("%s: no copies for %s: it has policies of its own", rule.owner.title, name)
                    cluster = None
                yield Mirror(cluster, name, share)

    def _judged_alike(self, mirror: Cluster, destinations: tuple[Destination, ...]) -> bool:
        """Whether what passes the policies of `destinations` may be copied: nobody judges a copy."""
        if self._guard is None:
            return True
        wanted = self._guard.destination(target_of(mirror.config))
        if not wanted.checks and wanted.gate is None:
            return True
        targets = [item.target for item in destinations if item.target is not None]
        return all(self._guard.destination(target) is wanted for target in targets)


def gateway_key(reference: str, namespace: str) -> str:
    """`namespace/name` of a gateway as a VirtualService of `namespace` names it; `mesh` stays."""
    if reference == "mesh" or "/" in reference:
        return reference
    name, _, rest = reference.partition(".")
    # The old way: `name.namespace.svc.cluster.local`, shortened anywhere.
    return f"{rest.partition('.')[0] or namespace}/{name}"


def _is_wrapped_app(destination: Destination) -> bool:
    return destination.cluster is not None and destination.cluster.config.resolution is Resolution.APP


def _name(service: VirtualService) -> str:
    return f"{service.metadata.namespace}/{service.metadata.name}"


def route_name(http: HTTPRoute, match: HTTPMatchRequest | None) -> str:
    """As Istio names routes in logs: `rule.match`, and `.match` of a rule without name."""
    own = f".{match.name}" if match is not None and match.name else ""
    return f"{http.name or ''}{own}"


def _answer(http: HTTPRoute, match: HTTPMatchRequest | None, port: int | None) -> Answer | None:
    if http.redirect is not None:
        return compile_redirect(http.redirect, match, port=port)
    return compile_direct_response(http.direct_response) if http.direct_response is not None else None
