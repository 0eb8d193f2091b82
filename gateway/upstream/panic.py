"""Which tier of endpoints gets how many requests when some endpoints are not well (Envoy's priority load).

Lifetime: process; pure functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERPROVISIONING = 140
"""Percent: a tier counts as whole until less than 100/140 of it is well."""


class Load(NamedTuple):
    """What one tier gets."""

    percent: int
    """Share of the requests; the shares add up to 100."""
    everyone: bool
    """Panic: also its endpoints that are not well, for the few that are would be overrun."""


def loads(tiers: Sequence[tuple[int, int]], threshold: int) -> list[Load]:
    """Loads of tiers of (well, all) endpoints, preferred first; `threshold`: percent, 0 is never panic."""
    health = [_health(well, every) for well, every in tiers]
    available = min(100, sum(health))
    if not available and not threshold:
        return [Load(0 if number else 100, everyone=False) for number in range(len(tiers))]
    panic = [available < 100 and 100 * well < threshold * max(every, 1) for well, every in tiers]
    if all(panic):  # Nobody to spill to: every endpoint is as good as any other.
        total = sum(every for _, every in tiers)
        shares = [100 * every // total if total else 0 for _, every in tiers]
    else:
        shares, rest = [], 100
        for share in health:
            shares.append(min(rest, share * 100 // available))
            rest -= shares[-1]
    first = next((number for number, share in enumerate(shares) if share), 0)
    if shares:
        shares[first] += 100 - sum(shares)
    return [Load(share, everyone) for share, everyone in zip(shares, panic, strict=True)]


def _health(well: int, every: int) -> int:
    return min(100, OVERPROVISIONING * well // every) if every else 0
