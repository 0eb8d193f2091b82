"""Which endpoint gets the next request.

Lifetime: process; one object per set of endpoints, made anew when the set changes.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

from gateway.upstream.cluster_config import Policy
from gateway.upstream.consistent_hash import Maglev, Ring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from gateway.upstream.endpoint import Endpoint


class Balancer:
    """Picks at random among equals (RANDOM); the other policies are its subclasses."""

    hashes = False
    """Whether a key decides."""

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[int], rng: Random) -> None:
        self.endpoints = tuple(endpoints)
        self.weights = tuple(weights)
        self.rng = rng
        self._last = len(self.endpoints)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} endpoints {len(self.endpoints)}>"

    def pick(self, key: bytes | None) -> Endpoint | None:  # noqa: ARG002 - hashing policies read it
        """The endpoint of the next request; None without endpoints."""
        # int(random() * n): a third of randrange's cost, and n is far below 2^53.
        return self.endpoints[int(self.rng.random() * self._last)] if self._last else None


class WeightedRandom(Balancer):
    """RANDOM with unequal weights."""

    def pick(self, key: bytes | None) -> Endpoint | None:  # noqa: ARG002 - hashing policies read it
        """An endpoint with the probability of its weight."""
        return self.rng.choices(self.endpoints, self.weights)[0]


class LeastRequest(Balancer):
    """Of two endpoints drawn with replacement, the one with fewer active requests (equal weights)."""

    def pick(self, key: bytes | None) -> Endpoint | None:  # noqa: ARG002 - hashing policies read it
        """The less busy of two; the first when they are equally busy."""
        count = self._last
        if count < 2:
            return self.endpoints[0] if count else None
        random, endpoints = self.rng.random, self.endpoints
        one, other = endpoints[int(random() * count)], endpoints[int(random() * count)]
        return other if other.active < one.active else one


class RoundRobin(Balancer):
    """Each in turn, from a random start, so that many gateways do not march in step."""

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[int], rng: Random) -> None:
        super().__init__(endpoints, weights, rng)
        self._next = int(rng.random() * self._last)

    def pick(self, key: bytes | None) -> Endpoint | None:  # noqa: ARG002 - hashing policies read it
        """The next in turn."""
        if not self._last:
            return None
        endpoint = self.endpoints[self._next]
        self._next = (self._next + 1) % self._last
        return endpoint


class WeightedRoundRobin(Balancer):
    """Earliest deadline first: smooth for any weights, as Envoy's scheduler."""

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[int], rng: Random) -> None:
        super().__init__(endpoints, weights, rng)
        # A random phase each is the random start; index breaks ties, so endpoints are never compared.
        self._due = [(rng.random() / weight, index) for index, weight in enumerate(self.weights)]
        heapify(self._due)

    def pick(self, key: bytes | None) -> Endpoint | None:  # noqa: ARG002 - hashing policies read it
        """The endpoint that is due first; its next turn comes 1/share later."""
        at, index = self._due[0]
        heapreplace(self._due, (at + self._cost(index), index))
        return self.endpoints[index]

    def _cost(self, index: int) -> float:
        return 1 / self.weights[index]


class WeightedLeastRequest(WeightedRoundRobin):
    """LEAST_REQUEST with unequal weights: the share is weight / (active requests + 1)."""

    def _cost(self, index: int) -> float:
        return (self.endpoints[index].active + 1) / self.weights[index]


class HashBalancer(Balancer):
    """RING_HASH and MAGLEV: the same key goes to the same endpoint; without a key any one."""

    hashes = True

    def __init__(
        self, endpoints: Sequence[Endpoint], weights: Sequence[int], rng: Random, table: Ring | Maglev
    ) -> None:
        super().__init__(endpoints, weights, rng)
        self.table = table

    def pick(self, key: bytes | None) -> Endpoint | None:
        """The endpoint of the key."""
        if key is None or not self._last:
            return super().pick(None)
        return self.endpoints[self.table.index(key)]


_EQUAL: dict[Policy, type[Balancer]] = {
    Policy.RANDOM: Balancer,
    Policy.ROUND_ROBIN: RoundRobin,
    Policy.LEAST_REQUEST: LeastRequest,
}
_WEIGHTED: dict[Policy, type[Balancer]] = {
    Policy.RANDOM: WeightedRandom,
    Policy.ROUND_ROBIN: WeightedRoundRobin,
    Policy.LEAST_REQUEST: WeightedLeastRequest,
}
_TABLES: dict[Policy, type[Ring | Maglev]] = {Policy.RING_HASH: Ring, Policy.MAGLEV: Maglev}


def balance(
    policy: Policy,
    table_size: int,
    members: Sequence[tuple[Endpoint, int]],
    rng: Random,
    old: Balancer | None,
) -> Balancer:
    """The balancer of these endpoints and weights. A hash table is taken from `old` when it is the same."""
    endpoints = [endpoint for endpoint, _ in members]
    weights = [max(1, weight) for _, weight in members]
    table = _TABLES.get(policy)
    if table is not None:
        identities = tuple(
            (endpoint.address, weight) for endpoint, weight in zip(endpoints, weights, strict=True)
        )
        before = old.table if isinstance(old, HashBalancer) else None
        if not (type(before) is table and before.made_of(identities, table_size)):
            before = table(identities, table_size)
        return HashBalancer(endpoints, weights, rng, before)
    kinds = _EQUAL if len(set(weights)) < 2 else _WEIGHTED
    return kinds[policy](endpoints, weights, rng)
