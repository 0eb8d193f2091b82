"""DestinationRules: which one holds for a host, and the policy of one port of one subset.

Lifetime: config. Istio's `push_context.go` (selection), `destination_rule.go` (merge) and
`cluster_traffic_policy.go` (inheritance) are the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.hosts import fqdn
from gateway.config.visibility import age, exported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Config, DestinationRule
    from gateway.config.connection_pool import ConnectionPoolSettings, RetryBudget
    from gateway.config.destination_rule import PortTrafficPolicy, Subset, TrafficPolicy
    from gateway.config.load_balancer import LoadBalancerSettings
    from gateway.config.outlier import OutlierDetection
    from gateway.config.tls import ClientTLSSettings


@dataclass(frozen=True, slots=True)
class Rule:
    """DestinationRules of one host and namespace, merged: subsets add up, the first policy wins."""

    subsets: Mapping[str, Subset]
    policy: TrafficPolicy | None
    selects: bool
    """Whether it is for gateways with certain labels: then it goes before one for all."""


class Rules:
    """Finds the rule of a host in near-constant time."""

    def __init__(self, config: Config) -> None:
        settings = config.settings.spec
        self._own = settings.namespace
        self._root = settings.root_namespace
        self._exact: dict[tuple[str, str], Rule] = {}
        self._wild: dict[str, list[tuple[str, Rule]]] = {}
        for (namespace, host), rule in _merged(config).items():
            if host.startswith("*"):
                self._wild.setdefault(namespace, []).append((host[1:], rule))
            else:
                self._exact[namespace, host] = rule
        for patterns in self._wild.values():
            patterns.sort(key=lambda item: len(item[0]), reverse=True)

    def find(self, host: str, home: str) -> Rule | None:
        """The rule for a service of namespace `home`: the gateway's own namespace, `home`, then the root.

        The first of them that has a match decides, and in it the most specific host.
        """
        for namespace in (self._own if self._own != self._root else home, home, self._root):
            rule = self._exact.get((namespace, host))
            if rule is not None:
                return rule
            for suffix, wild in self._wild.get(namespace, ()):
                if host.endswith(suffix) and len(host) > len(suffix):
                    return wild
        return None


def _merged(config: Config) -> dict[tuple[str, str], Rule]:
    settings = config.settings.spec
    found: dict[tuple[str, str], Rule] = {}
    for resource in sorted(config.destination_rules, key=age):
        spec, namespace = resource.spec, resource.metadata.namespace
        if not exported(spec.export_to, namespace, settings.namespace):
            continue
        selector = spec.workload_selector
        if selector is not None and (
            namespace != settings.namespace or not selector.match_labels.items() <= settings.labels.items()
        ):
            continue
        key = namespace, fqdn(spec.host, namespace, settings.cluster_domain)
        found[key] = _merge(found.get(key), resource)
    return found


def _merge(old: Rule | None, resource: DestinationRule) -> Rule:
    spec = resource.spec
    selects = spec.workload_selector is not None
    subsets = {subset.name: subset for subset in reversed(spec.subsets)}
    if old is None or (selects and not old.selects):
        return Rule(subsets, spec.traffic_policy, selects)
    if old.selects != selects:
        return old
    return Rule({**subsets, **old.subsets}, old.policy or spec.traffic_policy, selects)


@dataclass(frozen=True, slots=True)
class Blocks:
    """What finally holds for one cluster; None: Istio's defaults."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    retry_budget: RetryBudget | None = None


NOTHING = Blocks()


def blocks(rule: Rule | None, subset: Subset | None, port: int) -> Blocks:
    """Subset's port > subset > rule's port > rule. A subset replaces whole blocks, a port its four."""
    if rule is None:
        return NOTHING
    found = _over(NOTHING, rule.policy, port)
    return found if subset is None else _over(found, subset.traffic_policy, port)


def _over(under: Blocks, policy: TrafficPolicy | None, port: int) -> Blocks:
    if policy is None:
        return under
    budget = policy.retry_budget or under.retry_budget
    for item in policy.port_level_settings:
        if item.port.number == port:
            return _of(item, budget)
    return Blocks(
        policy.load_balancer or under.load_balancer,
        policy.connection_pool or under.connection_pool,
        policy.outlier_detection or under.outlier_detection,
        policy.tls or under.tls,
        budget,
    )


def _of(port: PortTrafficPolicy, budget: RetryBudget | None) -> Blocks:
    """A port has no retry budget of its own."""
    return Blocks(port.load_balancer, port.connection_pool, port.outlier_detection, port.tls, budget)
