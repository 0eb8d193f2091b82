"""Near endpoints first: priorities and shares of endpoints, seen from where the gateway stands.

Lifetime: config; plain functions. Istio's `pilot/pkg/networking/core/loadbalancer` is the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.config.load_balancer import Distribute, Failover, LocalityLoadBalancerSetting
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.upstream.cluster_config import EndpointConfig

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
DOTTED = "istio-locality"
"""`region.zone.subzone` as one label."""

Place = tuple[str, str, str]
"""Region, zone and subzone; empty where unknown."""
NOWHERE: Place = ("", "", "")


def place_of(locality: str) -> Place:
    """The parts of `region/zone/subzone`."""
    region, zone, subzone, *_ = (*locality.split("/"), "", "")
    return region, zone, subzone


@dataclass(frozen=True, slots=True)
class Here:
    """Where this gateway stands."""

    place: Place = NOWHERE
    labels: Mapping[str, str] | None = None

    @classmethod
    def of(cls, settings: GatewaySettingsSpec) -> Here:
        """`locality`, else the label `istio-locality`, else the topology labels."""
        labels = settings.labels
        written = settings.locality or labels.get(DOTTED, "").replace(".", "/")
        place = place_of(written) if written else _place_in(labels)
        return cls(place, _with_topology(labels, place))


def arrange(
    endpoints: tuple[EndpointConfig, ...],
    setting: LocalityLoadBalancerSetting | None,
    here: Here,
    *,
    ejects: bool,
) -> tuple[tuple[EndpointConfig, ...], Mapping[str, int]]:
    """Endpoints with their priorities, and the weights of localities when traffic is distributed by them.

    Without `outlierDetection` (`ejects`) there is no failover: nothing would ever notice that the near ones
    are gone. With it, and a gateway that knows where it stands, near ones are preferred by default.
    """
    if setting is not None and setting.enabled is False:
        return endpoints, {}
    if setting is not None and setting.distribute:
        return _distribute(endpoints, setting.distribute, here.place)
    if not ejects:
        return endpoints, {}
    labels = setting.failover_priority if setting is not None else ()
    failover = setting.failover if setting is not None else ()
    near = here.place != NOWHERE
    if not labels and not near:
        return endpoints, {}
    ranks: list[tuple[int, int]] = []
    for endpoint in endpoints:
        first = _mismatch(labels, endpoint, here.labels or {}) if labels else 0
        # After `failoverPriority` only a written `failover` counts: the default tiers would undo it.
        far = _distance(place_of(endpoint.locality), failover, here.place) if near and _tiers(setting) else 0
        ranks.append((first, far))
    order = {rank: number for number, rank in enumerate(sorted(set(ranks)))}
    return tuple(
        replace(endpoint, priority=order[rank]) if order[rank] else endpoint
        for endpoint, rank in zip(endpoints, ranks, strict=True)
    ), {}


def _tiers(setting: LocalityLoadBalancerSetting | None) -> bool:
    return setting is None or not setting.failover_priority or bool(setting.failover)


def _distance(place: Place, failover: Iterable[Failover], here: Place) -> int:
    """0 the same subzone, 1 zone, 2 region; 3 another region, 4 one that another is to stand in for."""
    if place[0] == here[0]:
        return (2 if place[1] != here[1] else 1) if place[1:] != here[1:] else 0
    for item in failover:
        if item.from_ == here[0]:
            return 3 if place[0] == item.to else 4
    return 3


def _mismatch(wanted: Sequence[str], endpoint: EndpointConfig, own: Mapping[str, str]) -> int:
    """0 when every label agrees, else the more the earlier the first is that does not."""
    labels = _with_topology(endpoint.labels, place_of(endpoint.locality))
    for number, item in enumerate(wanted):
        name, given, value = item.partition("=")
        if (value if given else own.get(name, "")) != labels.get(name, ""):
            return len(wanted) - number
    return 0


def _distribute(
    endpoints: tuple[EndpointConfig, ...], rules: Sequence[Distribute], here: Place
) -> tuple[tuple[EndpointConfig, ...], Mapping[str, int]]:
    """The first rule `from` here decides; localities it does not list get nothing."""
    rule = next((rule for rule in rules if _covers(rule.from_ or "", here)), None)
    if rule is None:
        return endpoints, {}
    sizes: dict[str, int] = {}
    for endpoint in endpoints:
        sizes[endpoint.locality] = sizes.get(endpoint.locality, 0) + endpoint.weight
    weights: dict[str, int] = {}
    for pattern, weight in rule.to.items():
        found = [name for name in sizes if name not in weights and _covers(pattern, place_of(name))]
        total = sum(sizes[name] for name in found)
        weights.update({name: ceil(sizes[name] * weight / total) for name in found})
    return tuple(endpoint for endpoint in endpoints if endpoint.locality in weights), weights


def _covers(pattern: str, place: Place) -> bool:
    """Whether a place lies in `region/zone/*`; what a pattern leaves out matches all."""
    return all(want in {"", "*", have} for want, have in zip(place_of(pattern), place, strict=True))


def _place_in(labels: Mapping[str, str]) -> Place:
    return labels.get(REGION, ""), labels.get(ZONE, ""), labels.get(SUBZONE, "")


def _with_topology(labels: Mapping[str, str], place: Place) -> Mapping[str, str]:
    """Labels and, where they say nothing, those that a locality stands for (Istio adds them to endpoints)."""
    topology = {name: part for name, part in zip((REGION, ZONE, SUBZONE), place, strict=True) if part}
    return {**topology, **labels}
