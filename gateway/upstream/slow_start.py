"""Slow start: a new endpoint's share grows over the warm-up (DestinationRule `warmup`; Envoy `slow_start`).

Lifetime: process; pure functions. Shares change with each sweep, so a pick costs what it always costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.upstream.cluster_config import Warmup

LEAST = 1e-4
"""Least share, so that an endpoint is due again in finite time whatever the curve is."""


def share(warmup: Warmup, age: float) -> float:
    """The part of its weight that an endpoint of this age (seconds) has, 0 to 1."""
    if age >= warmup.duration:
        return 1.0
    grown = (max(age, 0.001) / warmup.duration) ** (1 / warmup.aggression)
    return float(max(grown, warmup.minimum, LEAST))
