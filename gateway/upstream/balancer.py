"""Which endpoint gets the next request.

Lifetime: process; one object per set of endpoints, made anew when the set changes.
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heapreplace
from itertools import accumulate
from typing import TYPE_CHECKING

from gateway.upstream.cluster_config import Policy
from gateway.upstream.consistent_hash import Maglev, Ring, hash64

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from gateway.upstream.endpoint import Endpoint


class Balancer:
    """Picks at random among equals (RANDOM); the other policies are its subclasses."""

    hashes = False
    """Whether a key decides."""
    tables: tuple[Ring | Maglev, ...] = ()
    """What hashing looks keys up in, for the balancer that comes after this one."""

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[float], rng: Random) -> None:
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

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[float], rng: Random) -> None:
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

    def __init__(self, endpoints: Sequence[Endpoint], weights: Sequence[float], rng: Random) -> None:
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
        self, endpoints: Sequence[Endpoint], weights: Sequence[float], rng: Random, table: Ring | Maglev
    ) -> None:
        super().__init__(endpoints, weights, rng)
        self.table = table
        self.tables = (table,)

    def pick(self, key: bytes | None) -> Endpoint | None:
        """The endpoint of the key."""
        if key is None or not self._last:
            return super().pick(None)
        return self.endpoints[self.table.index(key)]


DETOURS = 64
"""Places a key is sent to in turn until one is usable: with half of them usable, all but 1 in 2^64 keys."""


class Detour(Balancer):
    """A hashing balancer of which some endpoints are not usable: only their keys go elsewhere.

    Envoy makes a new table of the usable ones; this moves fewer keys and takes no time. An endpoint that
    comes back gets exactly its own keys back.
    """

    hashes = True

    def __init__(self, whole: HashBalancer, usable: Sequence[tuple[Endpoint, int]]) -> None:
        super().__init__([item for item, _ in usable], [weight for _, weight in usable], whole.rng)
        self.tables = whole.tables
        self._whole = whole
        self._usable = frozenset(self.endpoints)

    def pick(self, key: bytes | None) -> Endpoint | None:
        """The endpoint of the key, or of the first key made from it that has a usable one."""
        if key is None or not self._last:
            return super().pick(None)
        for _ in range(DETOURS):
            endpoint = self._whole.pick(key)
            if endpoint in self._usable:
                return endpoint
            key += b"\0"
        return self.endpoints[hash64(key) % self._last]


class Split(Balancer):
    """Several balancers with a share of the requests each: tiers of priority, localities with weights."""

    def __init__(self, parts: Sequence[tuple[Balancer, float]], rng: Random) -> None:
        endpoints = [endpoint for part, _ in parts for endpoint in part.endpoints]
        super().__init__(endpoints, [weight for part, _ in parts for weight in part.weights], rng)
        self.hashes = parts[0][0].hashes
        self.shares = tuple(share for _, share in parts)
        self._parts = tuple(part for part, _ in parts)
        self._total = float(sum(self.shares))
        self._bounds = list(accumulate(self.shares))[:-1]

    def pick(self, key: bytes | None) -> Endpoint | None:
        """An endpoint of the part that the dice, or the key, fall on."""
        if key is not None and self.hashes:
            # Hashed differently than inside the part, or each part would see a slice of the hashes only.
            draw = (hash64(b"part\0" + key) >> 11) / 2**53
        else:
            draw = self.rng.random()
        return self._parts[bisect_right(self._bounds, draw * self._total)].pick(key)


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
    members: Sequence[tuple[Endpoint, float]],
    rng: Random,
    old: Balancer | None,
) -> Balancer:
    """The balancer of these endpoints and weights. A hash table is taken from `old` when it is the same."""
    endpoints = [endpoint for endpoint, _ in members]
    weights = [weight or 1 for _, weight in members]
    table = _TABLES.get(policy)
    if table is not None:
        identities = tuple((endpoint.address, int(weight) or 1) for endpoint, weight in members)
        known = old.tables if old is not None else ()
        for before in known:
            if type(before) is table and before.made_of(identities, table_size):
                return HashBalancer(endpoints, weights, rng, before)
        return HashBalancer(endpoints, weights, rng, table(identities, table_size))
    kinds = _EQUAL if len(set(weights)) < 2 else _WEIGHTED
    return kinds[policy](endpoints, weights, rng)
