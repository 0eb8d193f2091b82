"""Tables that give every key a place, and move few keys when places come or go.

Lifetime: process; immutable. Building one takes up to 0.1 s, so it happens in `Registry.prepare`'s thread.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Identities = tuple[tuple[str, int], ...]

MIN_RING_SIZE = 1024
MAX_RING_SIZE = 8 * 1024 * 1024
MAGLEV_TABLE_SIZE = 65537


def hash64(text: bytes) -> int:
    """64 bits of BLAKE2b. Envoy uses xxHash64: keys fall on other endpoints there, but as evenly."""
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


class Ring:
    """Endpoints at hashed points of a ring, more for more weight; a key goes to the next point."""

    __slots__ = ("_hashes", "_identities", "_owners", "_size")

    def __init__(self, identities: Identities, size: int) -> None:
        self._identities, self._size = identities, size
        points: list[tuple[int, int]] = []
        for owner, ((address, _), count) in enumerate(
            zip(identities, _points(identities, size), strict=True)
        ):
            points += [(hash64(f"{address}_{number}".encode()), owner) for number in range(count)]
        points.sort()
        self._hashes = array("Q", [point for point, _ in points])
        self._owners = array("L", [owner for _, owner in points])

    def __len__(self) -> int:
        return len(self._hashes)

    def index(self, key: bytes) -> int:
        """Number of the endpoint that has the key."""
        at = bisect_left(self._hashes, hash64(key))
        return self._owners[at if at < len(self._hashes) else 0]

    def made_of(self, identities: Identities, size: int) -> bool:
        """Whether building it from these would give the same."""
        return identities == self._identities and size == self._size


def _points(identities: Identities, size: int) -> list[int]:
    """How many points each endpoint has: at least `size` in all, and the lightest at least one (Envoy)."""
    total = sum(weight for _, weight in identities)
    if not total:
        return []
    lightest = min(weight for _, weight in identities) / total
    scale = min(ceil(lightest * (size or MIN_RING_SIZE)) / lightest, MAX_RING_SIZE)
    counts, current, target = [], 0, 0.0
    for _, weight in identities:
        target += scale * weight / total
        count = max(ceil(target - 1e-9) - current, 0)
        current += count
        counts.append(count)
    return counts


class Maglev:
    """Google's table: each endpoint claims slots in its own order, in turns by weight (NSDI 2016, 3.4)."""

    __slots__ = ("_identities", "_owners", "_size")

    def __init__(self, identities: Identities, size: int) -> None:
        self._identities, self._size = identities, size
        self._owners = _claim(identities, size or MAGLEV_TABLE_SIZE)

    def __len__(self) -> int:
        return len(self._owners)

    def index(self, key: bytes) -> int:
        """Number of the endpoint that has the key."""
        owners = self._owners
        return owners[hash64(key) % len(owners)]

    def made_of(self, identities: Identities, size: int) -> bool:
        """Whether building it from these would give the same."""
        return identities == self._identities and size == self._size


def _claim(identities: Identities, size: int) -> Sequence[int]:
    """The slots' owners. `size` is prime, so every skip visits every slot."""
    table = [-1] * size
    if not identities:
        return array("i")
    heaviest = max(weight for _, weight in identities)
    # [next slot, skip, weight, turn at which it may claim again]
    claims = [
        [hash64(b"offset " + address.encode()) % size, hash64(b"skip " + address.encode()) % (size - 1) + 1]
        for address, _ in identities
    ]
    weights = [weight for _, weight in identities]
    credit = [0] * len(weights)
    free, order = size, range(len(weights))
    while True:
        for owner in order:
            credit[owner] += weights[owner]
            if credit[owner] < heaviest:
                continue
            credit[owner] -= heaviest
            claim = claims[owner]
            slot, skip = claim
            while table[slot] >= 0:
                slot += skip
                if slot >= size:
                    slot -= size
            table[slot] = owner
            claim[0] = slot
            free -= 1
            if not free:
                return array("i", table)
