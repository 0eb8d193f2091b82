"""A compiled route: what it demands, and everything that becomes of a request that takes it.

Lifetime: config. Nothing here changes after it is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gateway.http.headers import Headers
    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.routing.conditions import Condition
    from gateway.routing.hash_key import HashCookie, HashKey
    from gateway.routing.header_ops import HeaderOps
    from gateway.routing.policies import Fault, Mirror, RetryPolicy
    from gateway.routing.rewrite import Rewrite
    from gateway.security import Target
    from gateway.security.in_order import Gate
    from gateway.upstream import Cluster


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """One of the places a route forwards to."""

    cluster: Cluster | None
    """None: no such service, subset or port; the answer is 503 with flag NC."""
    cluster_name: str
    """`outbound|9080|v1|reviews.default.svc.cluster.local`, also when there is no such cluster."""
    weight: int = 1
    authority: bytes | None = None
    """Replaces the request's authority; None keeps it."""
    request_ops: HeaderOps | None = None
    """Changes to the request, route and destination levels together."""
    response_ops: HeaderOps | None = None
    """Changes to the response, route and destination levels together."""
    gate: Gate | None = None
    """Asked first, and waited for: CUSTOM policies; or limits that are counted elsewhere, and all that comes
    before them; None: there are none."""
    checks: tuple[Callable[[Request, Random], Reply | None], ...] = ()
    """Policies that are for this destination, tried in order after the listener's; the first reply ends the
    request."""
    policies: tuple[str, ...] = ()
    """What `gate` and `checks` enforce, for people: `DENY default/no-writes`."""
    target: Target | None = None
    """Who it is to policies; None: there is no such cluster."""


@dataclass(frozen=True, slots=True, eq=False)
class Forwarding:
    """What the routes of one rule have in common: all but what they demand and how they rewrite."""

    destinations: tuple[Destination, ...] = ()
    timeout: float | None = None
    retries: RetryPolicy | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    hash_key: HashKey | None = None
    hash_cookie: HashCookie | None = None
    checks: tuple[Callable[[Request, Random], Reply | None], ...] = ()
    cors: Callable[[Request, Headers], Headers] | None = None
    response_ops: HeaderOps | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where a route is written."""

    virtual_service: str
    """`namespace/name` of the VirtualService whose hosts it serves."""
    rule_of: str
    """`namespace/name` of the VirtualService the rule stands in: the same, or a delegate."""
    rule: int
    """Index in that one's `http`."""
    match: int | None
    """Index in the rule's `match`; None when the rule has none."""

    def __str__(self) -> str:
        match = "" if self.match is None else f".match[{self.match}]"
        return f"{self.rule_of} http[{self.rule}]{match}"


class Route:
    """One `match` entry of one rule; a rule without `match` is one route that takes every request."""

    __slots__ = (
        "_bounds",
        "_only",
        "answer",
        "checks",
        "conditions",
        "cors",
        "destinations",
        "fault",
        "gate",
        "hash_cookie",
        "hash_key",
        "mirrors",
        "name",
        "patience",
        "response_ops",
        "retries",
        "rewrite",
        "source",
        "timeout",
        "total_weight",
    )

    def __init__(  # noqa: PLR0913 - the parts of a route
        self,
        name: str,
        source: Source,
        conditions: tuple[Condition, ...],
        rule: Forwarding,
        *,
        answer: Callable[[Request], Reply] | None = None,
        gate: Gate | None = None,
        rewrite: Rewrite | None = None,
        guard: Callable[[Request, Random], Reply | None] | None = None,
    ) -> None:
        self.name = name
        """`rule.match` names, as `%ROUTE_NAME%` shows; empty when neither has one."""
        self.source = source
        self.conditions = conditions
        """All hold for a request that takes this route."""
        self.answer = answer
        """Makes the reply of a redirect or direct response; None: the request is forwarded."""
        self.gate = gate
        """Asked before `answer`, and waited for: limits that are counted elsewhere; None: there are none."""
        self.checks = rule.checks if guard is None else (*rule.checks, guard)
        """Tried in order before the answer or the forwarding; the first reply ends the request."""
        self.destinations = rule.destinations
        self.total_weight = sum(destination.weight for destination in rule.destinations)
        self.timeout = rule.timeout
        """Seconds for the exchange with the upstream, retries included; None: no limit."""
        self.retries = rule.retries
        """None: never repeated."""
        limits = (rule.timeout, None if rule.retries is None else rule.retries.per_try_timeout)
        self.patience = min((limit for limit in limits if limit is not None), default=None)
        """Seconds that an attempt may take, as the upstream is told; None: no limit."""
        self.fault = rule.fault
        self.mirrors = rule.mirrors
        self.rewrite = rewrite
        """Changes the path (without query) that is forwarded; None keeps it."""
        self.hash_key = rule.hash_key
        """The key of consistent hashing; None: no destination asks for one."""
        self.hash_cookie = rule.hash_cookie
        """Makes the key, and the cookie that carries it, when `hash_key` finds none; None: no key then."""
        self.cors = rule.cors
        """Marks response headers for allowed origins; None: no policy."""
        self.response_ops = rule.response_ops
        """The route level's changes, for answers and for replies before a destination is chosen."""
        self._only = rule.destinations[0] if len(rule.destinations) == 1 else None
        self._bounds = _bounds(rule.destinations)

    @property
    def virtual_service(self) -> str:
        """`namespace/name` of the VirtualService whose hosts it serves."""
        return self.source.virtual_service

    @property
    def catches_all(self) -> bool:
        """Whether every request takes it."""
        return not self.conditions

    def choose(self, draw: int) -> Destination:
        """The destination for a uniform random integer (32 bits or more)."""
        if self._only is not None:
            return self._only
        point = draw % self.total_weight
        for bound, destination in self._bounds:
            if point < bound:
                return destination
        raise AssertionError("a draw below the total weight is below the last bound")

    def __repr__(self) -> str:
        return f"<Route {self.name or '-'} of {self.source}>"


def _bounds(destinations: tuple[Destination, ...]) -> tuple[tuple[int, Destination], ...]:
    bounds, total = [], 0
    for destination in destinations:
        total += destination.weight
        bounds.append((total, destination))
    return tuple(bounds)
