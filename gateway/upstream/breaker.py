"""Circuit breakers: what the limits of a cluster look like from outside, and what a request beyond one gets.

Lifetime: request. Open = no more is let through, closed = traffic flows (Envoy's gauges say it the same way).
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.http.flags import Flag
from gateway.upstream.errors import UpstreamError


class Breaker(NamedTuple):
    """One limit of a cluster right now."""

    limit: str
    """`max_connections`, `max_pending_requests`, `max_requests`, `max_retries` or `retries_over_time`."""
    open: bool
    """Whether it is reached: one more would be refused, or for connections would wait."""
    remaining: int
    """How many more are let through."""


def breaker(limit: str, used: int, most: int) -> Breaker:
    """The state of a limit of which `used` are in use."""
    return Breaker(limit, used >= most, max(0, most - used))


def overflow() -> UpstreamError:
    """What a request beyond a limit gets: 503, flag UO, never repeated (Envoy's reset reason `overflow`)."""
    return UpstreamError(Flag.UPSTREAM_OVERFLOW, "overflow")
