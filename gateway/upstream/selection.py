"""The balancer of a cluster as its endpoints are right now: who is well, how near, how warm.

Lifetime: process; pure functions. Made anew when one of these changes, so that a pick asks none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.upstream.balancer import Balancer, Detour, HashBalancer, Split, balance
from gateway.upstream.panic import OVERPROVISIONING, loads
from gateway.upstream.slow_start import share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

    from gateway.upstream.cluster_config import ClusterConfig
    from gateway.upstream.endpoint import Endpoint


class Member(NamedTuple):
    """An endpoint as a member of one cluster."""

    endpoint: Endpoint
    weight: int
    priority: int = 0
    locality: str = ""


def select(
    config: ClusterConfig, members: Sequence[Member], rng: Random, old: Balancer | None, now: float
) -> Balancer:
    """The balancer over the endpoints that may be picked; hash tables are taken from `old` where they fit."""
    tiers: dict[int, list[Member]] = {}
    for member in members:
        tiers.setdefault(member.priority, []).append(member)
    ordered = [tiers[priority] for priority in sorted(tiers)] or [[]]
    every = loads([(_well(tier), len(tier)) for tier in ordered], config.panic_percent)
    maker = _Maker(config, rng, old, now)
    parts = [
        (maker.tier(tier, everyone=load.everyone), load.percent)
        for tier, load in zip(ordered, every, strict=True)
        # Hash tables are made for all, or the loop would wait for one when the load moves.
        if load.percent or config.policy.hashes
    ]
    tables = tuple(table for part, _ in parts for table in part.tables)
    chosen = _one_of([(part, percent) for part, percent in parts if percent], rng)
    chosen.tables = tables
    return chosen


def warming(config: ClusterConfig, members: Iterable[Member], now: float) -> bool:
    """Whether the shares of some endpoints are still growing."""
    warmup = config.warmup
    return warmup is not None and any(now - item.endpoint.since < warmup.duration for item in members)


class _Maker:
    """What all parts of one balancer have in common."""

    def __init__(self, config: ClusterConfig, rng: Random, old: Balancer | None, now: float) -> None:
        self._config, self._rng, self._old, self._now = config, rng, old, now

    def tier(self, members: Sequence[Member], *, everyone: bool) -> Balancer:
        """One priority: one balancer, or one for each locality that has a share of its own."""
        weights = self._config.locality_weights
        if not weights or everyone or not members:
            return self._leaf(members, everyone=everyone)
        places: dict[str, list[Member]] = {}
        for member in members:
            places.setdefault(member.locality, []).append(member)
        parts = [
            (self._leaf(found, everyone=False), weights.get(place, 0) * _share_of_the_well(found))
            for place, found in places.items()
        ]
        made = _one_of([(part, weight) for part, weight in parts if weight] or parts[:1], self._rng)
        made.tables = tuple(table for part, _ in parts for table in part.tables)
        return made

    def _leaf(self, members: Sequence[Member], *, everyone: bool) -> Balancer:
        config = self._config
        able = members if everyone else [member for member in members if member.endpoint.healthy]
        if not config.policy.hashes:
            return balance(config.policy, 0, [self._weighed(item) for item in able], self._rng, None)
        pairs = [(member.endpoint, member.weight) for member in members]
        whole = balance(config.policy, config.table_size, pairs, self._rng, self._old)
        if len(able) == len(members) or not isinstance(whole, HashBalancer):
            return whole
        return Detour(whole, [(member.endpoint, member.weight) for member in able])

    def _weighed(self, member: Member) -> tuple[Endpoint, float]:
        warmup, weight = self._config.warmup, member.weight or 1
        if warmup is None:
            return member.endpoint, weight
        return member.endpoint, weight * share(warmup, self._now - member.endpoint.since)


def _one_of(parts: Sequence[tuple[Balancer, float]], rng: Random) -> Balancer:
    return parts[0][0] if len(parts) == 1 else Split(parts, rng)


def _well(members: Iterable[Member]) -> int:
    return sum(member.endpoint.healthy for member in members)


def _share_of_the_well(members: Sequence[Member]) -> float:
    """A locality keeps its whole weight until less than 100/140 of it is well."""
    return min(1.0, OVERPROVISIONING / 100 * _well(members) / len(members))
