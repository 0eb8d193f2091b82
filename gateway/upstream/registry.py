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
from gateway.upstream.app import AppPool
from gateway.upstream.cluster import Cluster
from gateway.upstream.cluster_config import Resolution
from gateway.upstream.dns import CaresResolver, Names
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.health import Checks
from gateway.upstream.outlier import Detector
from gateway.upstream.pool import Pool
from gateway.upstream.selection import Member, select

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from gateway.tls import Origination
    from gateway.upstream.app import Application
    from gateway.upstream.balancer import Balancer
    from gateway.upstream.cluster_config import ClusterConfig, EndpointConfig
    from gateway.upstream.dns import Resolver
    from gateway.upstream.plan import Plan

SWEEP = 1.0
"""Seconds between two looks for connections that were idle too long: one timer, not one a connection."""
SHORTEST_SWEEP = 0.1
"""The same when an outlier detection, or `timeouts.streamIdle`, asks for a shorter interval."""
EXACTNESS = 20
"""Sweeps in a `streamIdle`: silence is noticed by the first look after it began, and ended by the first one
after the limit, so it lasts at most two sweeps too long, a tenth."""


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
        self.app: Application | None = None
        """What the gateway is wrapped around; None: nothing."""
        self._clock = clock
        # Seeded by the system, then cheap: a pick needs chance, not secrecy.
        self._rng = rng or Random(SystemRandom().getrandbits(64))  # noqa: S311 - see above
        self._own_resolver = resolver is None
        self._nameservers: tuple[str, ...] = ()
        self._names = Names(resolver or CaresResolver(), self._resolved, sleep)
        self._users: Mapping[str, Sequence[Cluster]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._tended: Sequence[Cluster] = ()
        """Clusters that time changes: with ejections or warm-ups."""
        self._pace = SWEEP
        self._left: Sequence[Pool] = ()
        """Pools of clusters that are gone, with requests under way."""
        self.checks = Checks(clock, self._rng, sleep)
        """Active health checks."""

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
                kept = old is not None and _inside(old.config) == _inside(config)
                pool = old.pool if old is not None and kept else self._pool(config)
                members = self._members(config, pool)
                before = old.balancer if old is not None else None
                balancer = select(config, members, self._rng, before, self._clock())
                clusters[name] = Cluster(config, pool, balancer, members, _detector(config, pool, old))
        users: dict[str, list[Cluster]] = {}
        for cluster in clusters.values():
            if _inside(cluster.config):
                continue
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
                self._left = (*self._left, cluster.pool)
        changed = [cluster for name, cluster in prepared.clusters.items() if before.get(name) is not cluster]
        for cluster in changed:
            _keep(cluster, cluster.endpoints)
            cluster.pool.follow(cluster.config)
        self._watch_health(before, changed)
        self._follow(prepared.plan)
        if self._sweeper is None:
            self._sweep()

    def secure(self, originations: Mapping[str, Origination]) -> None:
        """Gives the clusters in use their TLS, by name; those that are not named speak plain text."""
        for name, cluster in self.clusters.items():
            cluster.pool.secure(originations.get(name))

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
        await self.checks.close()
        await self._names.close()
        for cluster in self.clusters.values():
            _keep(cluster, ())

    def _pool(self, config: ClusterConfig) -> Pool:
        if _inside(config) and self.app is not None:
            return AppPool(config.name, self._clock, self.app)
        return Pool(config.name, self._clock)

    def _places(self, config: ClusterConfig) -> dict[tuple[str, int], EndpointConfig]:
        """Host and port of every endpoint by today's answers, and where that is written."""
        found: dict[tuple[str, int], EndpointConfig] = {}
        if _inside(config):
            return {(item.address, item.port): item for item in config.endpoints if self.app is not None}
        for item in config.endpoints:
            hosts: tuple[str, ...] = (item.address,)
            if _is_name(item):
                addresses = self._names.addresses(item.address)
                # Sorted, so that an answer in another order is no change.
                once = config.resolution is Resolution.DNS_ROUND_ROBIN
                hosts = addresses[:1] if once else tuple(sorted(addresses))
            for host in hosts:
                found.setdefault((host, item.port), item)
        return found

    def _members(self, config: ClusterConfig, pool: Pool) -> list[Member]:
        """The endpoints there are, and new ones: those join the pool only when they are kept."""
        return [
            Member(
                pool.endpoints.get(place) or Endpoint(pool, *place), item.weight, item.priority, item.locality
            )
            for place, item in self._places(config).items()
        ]

    def _catch_up(self, cluster: Cluster) -> None:
        """Answers may have come since `prepare` looked."""
        places = list(self._places(cluster.config))
        if places != [(endpoint.host, endpoint.port) for endpoint in cluster.endpoints]:
            self._adopt(cluster, cluster.balancer)

    def _adopt(self, cluster: Cluster, before: Balancer) -> None:
        """Gives a cluster the endpoints of today's answers; `before` may have its hash tables already."""
        members = self._members(cluster.config, cluster.pool)
        cluster.adopt(select(cluster.config, members, self._rng, before, self._clock()), members)
        _keep(cluster, cluster.endpoints)

    def _watch_health(self, before: Mapping[str, Cluster], changed: Sequence[Cluster]) -> None:
        """Who is ejected or fails its checks stays so in the new generation, if that asks for it at all."""
        for cluster in changed:
            old = before.get(cluster.name)
            if cluster.outlier is not None and cluster.config.outlier is not None:
                cluster.outlier.follow(cluster.config.outlier, cluster)
            elif old is not None and old.outlier is not None:
                old.outlier.release()
        self.checks.follow(self.clusters.values())
        for cluster in changed:
            cluster.rebalance()
        every = self.clusters.values()
        self._tended = [item for item in every if item.outlier is not None or item.config.warmup is not None]
        intervals = [item.outlier.thresholds.interval for item in every if item.outlier is not None]
        silences = [item.config.stream_idle / EXACTNESS for item in every]
        self._pace = max(SHORTEST_SWEEP, min([SWEEP, *intervals, *silences]))

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
            while config.policy.hashes:  # Its tables take too long for the loop.
                places = self._places(config)
                members = self._members(config, cluster.pool)
                before = await asyncio.to_thread(select, config, members, self._rng, before, self._clock())
                if places == self._places(config):
                    break
            if self.clusters.get(cluster.name) is cluster:  # No reload replaced it meanwhile.
                self._adopt(cluster, before)
                if config.health_check is not None:
                    self.checks.follow(self.clusters.values())
                    cluster.rebalance()

    def _sweep(self) -> None:
        for cluster in self.clusters.values():
            if cluster.pool.connections:
                cluster.pool.sweep(cluster.config)
        now = self._clock()
        if self._left:
            self._left = [pool for pool in self._left if pool.connections]
            for pool in self._left:
                pool.look(now)
        if self._tended:
            for cluster in self._tended:
                cluster.sweep(now)
        self._sweeper = asyncio.get_running_loop().call_later(self._pace, self._sweep)


def _inside(config: ClusterConfig) -> bool:
    """Whether it is the wrapped application: its calls are no connections, so it has a pool of its own."""
    return config.resolution is Resolution.APP


def _is_name(item: EndpointConfig) -> bool:
    return not item.is_unix and not is_ip(item.address)


def _detector(config: ClusterConfig, pool: Pool, old: Cluster | None) -> Detector | None:
    """The one there is, or a new one; it takes the new configuration with `commit`."""
    if config.outlier is None:
        return None
    return (old.outlier if old is not None else None) or Detector(pool, config.outlier)


def _keep(cluster: Cluster, endpoints: Iterable[Endpoint]) -> None:
    """These are the pool's endpoints now; all others retire."""
    pool = cluster.pool
    kept = {(endpoint.host, endpoint.port): endpoint for endpoint in endpoints}
    for place, endpoint in tuple(pool.endpoints.items()):
        if kept.get(place) is not endpoint:
            pool.retire(endpoint)
    pool.endpoints.update(kept)
