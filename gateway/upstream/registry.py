"""What survives a reload: clusters, endpoints, pools and resolved names, reconciled with each new plan.

Lifetime: process. `prepare` is pure and may run in a thread; `commit` adopts its result on the loop.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from gateway.config.names import is_ip
from gateway.upstream.balancer import balance
from gateway.upstream.cluster import Cluster
from gateway.upstream.cluster_config import Resolution
from gateway.upstream.dns import CaresResolver, Names
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from gateway.upstream.balancer import Balancer
    from gateway.upstream.cluster_config import ClusterConfig, EndpointConfig
    from gateway.upstream.dns import Resolver
    from gateway.upstream.plan import Plan

SWEEP = 1.0
"""Seconds between two looks for connections that were idle too long: one timer, not one a connection."""

Members = list[tuple[Endpoint, int]]
"""Endpoints and their weights."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with its clusters, not in use yet; without `commit` it leaves no trace."""

    plan: Plan
    clusters: Mapping[str, Cluster]
    users: Mapping[str, Sequence[Cluster]]
    """Name to look up -> the clusters with endpoints there."""


class Registry:
    """Every cluster there is."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
        resolver: Resolver | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.clusters: Mapping[str, Cluster] = {}
        """In use, by name."""
        self._clock = clock
        # Seeded by the system, then cheap: a pick needs chance, not secrecy.
        self._rng = rng or Random(SystemRandom().getrandbits(64))  # noqa: S311 - see above
        self._own_resolver = resolver is None
        self._nameservers: tuple[str, ...] = ()
        self._names = Names(resolver or CaresResolver(), self._resolved, sleep)
        self._users: Mapping[str, Sequence[Cluster]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Registry clusters {len(self.clusters)}, {self._names}>"

    def prepare(self, plan: Plan) -> Prepared:
        """Clusters for a plan: the same objects where nothing changed, the same endpoints where they stay."""
        clusters = {}
        for name, config in plan.clusters.items():
            old = self.clusters.get(name)
            if old is not None and old.config == config:
                clusters[name] = old
            else:
                pool = old.pool if old is not None else Pool(name, self._clock)
                members = self._members(config, pool)
                before = old.balancer if old is not None else None
                balancer = balance(config.policy, config.table_size, members, self._rng, before)
                clusters[name] = Cluster(config, pool, balancer)
        users: dict[str, list[Cluster]] = {}
        for cluster in clusters.values():
            for host in {item.address for item in cluster.config.endpoints if _is_name(item)}:
                users.setdefault(host, []).append(cluster)
        return Prepared(plan, clusters, users)

    def commit(self, prepared: Prepared) -> None:
        """Makes a plan's clusters the ones in use; endpoints that are gone close as they become idle."""
        before, self.clusters, self._users = self.clusters, prepared.clusters, prepared.users
        for cluster in {cluster for clusters in prepared.users.values() for cluster in clusters}:
            self._catch_up(cluster)
        for name, cluster in before.items():
            if name not in prepared.clusters:
                _keep(cluster, ())
        for name, cluster in prepared.clusters.items():
            if before.get(name) is not cluster:
                _keep(cluster, cluster.endpoints)
                cluster.pool.set_limit(cluster.config.max_connections)
        self._follow(prepared.plan)
        if self._sweeper is None:
            self._sweep()

    async def ready(self, timeout: float = 5.0) -> bool:  # noqa: ASYNC109 - a start must not wait for ever
        """Waits until every name was looked up once, at most `timeout` seconds; whether all were."""
        try:
            async with asyncio.timeout(timeout):
                await self._names.tried()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Ends look-ups, sweeps and idle connections; busy connections close on release."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        await self._names.close()
        for cluster in self.clusters.values():
            _keep(cluster, ())

    def _places(self, config: ClusterConfig) -> list[tuple[str, int, int]]:
        """Host, port and weight of every endpoint, by today's answers."""
        found: dict[tuple[str, int], int] = {}
        for item in config.endpoints:
            hosts: tuple[str, ...] = (item.address,)
            if _is_name(item):
                addresses = self._names.addresses(item.address)
                # Sorted, so that an answer in another order is no change.
                once = config.resolution is Resolution.DNS_ROUND_ROBIN
                hosts = addresses[:1] if once else tuple(sorted(addresses))
            for host in hosts:
                found.setdefault((host, item.port), item.weight)
        return [(host, port, weight) for (host, port), weight in found.items()]

    def _members(self, config: ClusterConfig, pool: Pool) -> Members:
        """The endpoints there are, and new ones: those join the pool only when they are kept."""
        return [
            (pool.endpoints.get((host, port)) or Endpoint(pool, host, port), weight)
            for host, port, weight in self._places(config)
        ]

    def _catch_up(self, cluster: Cluster) -> None:
        """Answers may have come since `prepare` looked."""
        config = cluster.config
        places = [(host, port) for host, port, _ in self._places(config)]
        if places != [(endpoint.host, endpoint.port) for endpoint in cluster.endpoints]:
            self._adopt(cluster, cluster.balancer)

    def _adopt(self, cluster: Cluster, before: Balancer) -> None:
        """Gives a cluster the endpoints of today's answers; `before` may have its hash table already."""
        config = cluster.config
        members = self._members(config, cluster.pool)
        cluster.adopt(balance(config.policy, config.table_size, members, self._rng, before))
        _keep(cluster, cluster.endpoints)

    def _follow(self, plan: Plan) -> None:
        if self._own_resolver and plan.nameservers != self._nameservers:
            self._nameservers = plan.nameservers
            self._names.use(CaresResolver(plan.nameservers))
        self._names.refresh_rate = plan.refresh_rate
        self._names.follow(self._users)

    async def _resolved(self, name: str) -> None:
        """A name has a new answer."""
        for cluster in self._users.get(name, ()):
            config, before = cluster.config, cluster.balancer
            while before.hashes:  # Its table takes too long for the loop.
                places = self._places(config)
                members = self._members(config, cluster.pool)
                before = await asyncio.to_thread(
                    balance, config.policy, config.table_size, members, self._rng, before
                )
                if places == self._places(config):
                    break
            if self.clusters.get(cluster.name) is cluster:  # No reload replaced it meanwhile.
                self._adopt(cluster, before)

    def _sweep(self) -> None:
        for cluster in self.clusters.values():
            if cluster.pool.connections:
                cluster.pool.sweep(cluster.config)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP, self._sweep)


def _is_name(item: EndpointConfig) -> bool:
    return not item.is_unix and not is_ip(item.address)


def _keep(cluster: Cluster, endpoints: Iterable[Endpoint]) -> None:
    """These are the pool's endpoints now; all others retire."""
    pool = cluster.pool
    kept = {(endpoint.host, endpoint.port): endpoint for endpoint in endpoints}
    for place, endpoint in tuple(pool.endpoints.items()):
        if kept.get(place) is not endpoint:
            pool.retire(endpoint)
    pool.endpoints.update(kept)
