"""A cluster as one generation of the configuration sees it.

Lifetime: process, but replaced by a reload that changes its config; endpoints, counters and connections
are shared with the one before, so a request keeps to the rules it began with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.upstream.endpoint import Endpoint
from gateway.upstream.selection import Member, select, warming

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gateway.upstream.balancer import Balancer
    from gateway.upstream.cluster_config import ClusterConfig
    from gateway.upstream.connection import Connection
    from gateway.upstream.outlier import Detector
    from gateway.upstream.pool import Pool

RESELECTIONS = 5
"""How often `pick` asks the policy again to avoid a host that was tried (Istio:
`host_selection_retry_max_attempts`); then any other will do."""


class Tiers(tuple[Endpoint, ...]):
    """Endpoints to avoid that are whole tiers of priority: who is left may be in a tier without any load."""

    __slots__ = ()


class Cluster:
    """Where a route's requests go: picks an endpoint, and a connection to it."""

    __slots__ = ("balancer", "config", "endpoints", "members", "name", "outlier", "pool", "warming")

    def __init__(
        self,
        config: ClusterConfig,
        pool: Pool,
        balancer: Balancer,
        members: Sequence[Member] | None = None,
        outlier: Detector | None = None,
    ) -> None:
        self.name = config.name
        self.config = config
        self.pool = pool
        self.outlier = outlier
        """Ejects who keeps failing; None unless `outlierDetection` is set."""
        self.endpoints: Sequence[Endpoint]
        """All there are, also those that are not well."""
        self.balancer: Balancer
        self.adopt(balancer, members)

    def __repr__(self) -> str:
        return f"<Cluster {self.name} endpoints {len(self.endpoints)}, connections {self.pool.connections}>"

    @property
    def weights(self) -> Sequence[int]:
        """Weights of the endpoints, in the same order."""
        return tuple(member.weight for member in self.members)

    def pick(self, key: bytes | None = None, tried: Sequence[Endpoint] = ()) -> Endpoint | None:
        """An endpoint by the cluster's policy, None when there is no healthy one.

        Who is ejected or fails its checks is not in the balancer (unless in panic), so this asks nobody.
        `key` is what consistent hashing hashes; without it those policies pick at random. `tried` are
        avoided while there are others, except by hashing: there a key has one place (Istio: retries too).
        """
        endpoint = self.balancer.pick(key)
        if tried and endpoint in tried and (key is None or not self.balancer.hashes):
            return self._another(endpoint, tried)
        return endpoint

    def _another(self, endpoint: Endpoint | None, tried: Sequence[Endpoint]) -> Endpoint | None:
        """Somebody who was not tried, by the policy as far as the dice allow; `endpoint` when all were."""
        balancer = self.balancer
        for _ in range(RESELECTIONS):
            other = balancer.pick(None)
            if other not in tried:
                return other
        left = [item for item in balancer.endpoints if item not in tried]
        if not left and isinstance(tried, Tiers):
            every = (member.endpoint for member in self.members)
            left = [item for item in every if item.healthy and item not in tried]
        return balancer.rng.choice(left) if left else endpoint

    def tiers(self, tried: Collection[Endpoint], avoided: Iterable[Endpoint] = ()) -> Tiers:
        """`avoided`, and all endpoints of the tiers that `tried` are in (Istio `retryRemoteLocalities`)."""
        found = {member.priority for member in self.members if member.endpoint in tried}
        if found == {member.priority for member in self.members}:
            return Tiers(avoided)  # They all had their turn: from the beginning.
        return Tiers((*avoided, *(item.endpoint for item in self.members if item.priority in found)))

    def lease(self, endpoint: Endpoint) -> Connection | None:
        """A clean idle connection, without waiting; None when there is none."""
        return self.pool.lease(endpoint, self.config)

    async def connect(self, endpoint: Endpoint) -> Connection:
        """A connection that `lease` had none of: a new one, or at `maxConnections` the first to come free.

        Raises UpstreamError with flag UF. Cancelling it leaks nothing.
        """
        return await self.pool.connect(endpoint, self.config)

    async def acquire(self, endpoint: Endpoint) -> Connection:
        """`lease`, else `connect`."""
        return self.pool.lease(endpoint, self.config) or await self.pool.connect(endpoint, self.config)

    def adopt(self, balancer: Balancer, members: Sequence[Member] | None = None) -> None:
        """Follows a change of the endpoints (DNS); without `members` they are the balancer's."""
        self.balancer = balancer
        if members is None:
            pairs = zip(balancer.endpoints, balancer.weights, strict=True)
            members = [Member(endpoint, int(weight)) for endpoint, weight in pairs]
        self.members = tuple(members)
        self.endpoints = tuple(member.endpoint for member in self.members)
        self.warming = warming(self.config, self.members, self.pool.clock())
        """Whether shares of new endpoints are growing: then a sweep balances anew."""

    def rebalance(self) -> None:
        """Follows a change of which endpoints are well, or of their warmth."""
        now = self.pool.clock()
        self.balancer = select(self.config, self.members, self.balancer.rng, self.balancer, now)
        self.warming = warming(self.config, self.members, now)

    def sweep(self, now: float) -> None:
        """What time changes: ejections end, new endpoints become warm."""
        if self.outlier is not None:
            self.outlier.sweep(now)
        if self.warming:
            self.rebalance()
