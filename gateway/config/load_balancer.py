"""DestinationRule `loadBalancer`: which endpoint gets a request.

Lifetime: config.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict

from gateway.config.fields import (
    Bool,
    Checked,
    Duration,
    DurationOrZero,
    FrozenMap,
    Many,
    Map,
    Model,
    NonEmpty,
    Number,
    Problem,
    Str,
    Uint32,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Simple = Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]
MAX_MAGLEV = 5_000_011


class CookieAttribute(Model):
    """An attribute of the cookie that is set."""

    name: NonEmpty
    value: Str | None = None


class HTTPCookie(Checked):
    """A cookie as hash key; made when it is missing and `ttl` is given."""

    name: NonEmpty
    path: Str | None = None
    ttl: DurationOrZero | None = None
    """Seconds; 0 makes a session cookie, unset makes none."""
    attributes: Many[CookieAttribute] = ()

    def _rules(self) -> Iterator[Problem]:
        names = [attribute.name.lower() for attribute in self.attributes]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Problem("GW043", f'attribute "{name}" is listed twice', ("attributes", index, "name"))


class RingHash(Model):
    """Consistent hashing on a ring."""

    minimum_ring_size: Annotated[int, Strict(), Field(ge=0, le=8 * 1024 * 1024)] | None = None
    """Default 1024."""


class MagLev(Checked):
    """Consistent hashing by Maglev's table."""

    table_size: Annotated[int, Strict(), Field(ge=0)] | None = None
    """A prime below 5000011; default 65537."""

    def _rules(self) -> Iterator[Problem]:
        size = self.table_size
        if size and (size >= MAX_MAGLEV or not _is_prime(size)):
            yield Problem("GW037", f"tableSize is a prime below {MAX_MAGLEV}", ("tableSize",))


def _is_prime(number: int) -> bool:
    if number < 2:
        return False
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))


class ConsistentHashLB(Checked):
    """Requests with the same key go to the same endpoint."""

    http_header_name: NonEmpty | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: Bool | None = None
    http_query_parameter_name: NonEmpty | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: Annotated[int, Strict(), Field(ge=0, le=8 * 1024 * 1024)] | None = None
    """Deprecated: `ringHash.minimumRingSize`."""

    def _rules(self) -> Iterator[Problem]:
        keys = ("http_header_name", "http_cookie", "use_source_ip", "http_query_parameter_name")
        given = [field for field in keys if getattr(self, field) is not None]
        for field in given[1:]:
            yield Problem("GW040", f"one hash key only, and {given[0]} is set already", (field,))
        if not given:
            yield Problem(
                "GW032",
                "consistentHash needs httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName",
            )
        tables = [f for f in ("ring_hash", "maglev", "minimum_ring_size") if getattr(self, f) is not None]
        for field in tables[1:]:
            yield Problem("GW040", "only one of ringHash, maglev and minimumRingSize", (field,))
        if self.minimum_ring_size is not None:
            message, hint = "minimumRingSize is deprecated", "write ringHash: {minimumRingSize: N}"
            yield Problem("GW050", message, ("minimumRingSize",), hint, "warning")


class Distribute(Checked):
    """Where requests from one locality go."""

    from_: Annotated[str, Strict()] | None = Field(None, alias="from")
    to: Map[Str, Uint32] = FrozenMap()
    """Locality -> weight; the weights add up to 100."""

    def _rules(self) -> Iterator[Problem]:
        yield from (
            Problem("GW037", "a weight is 1 to 100", ("to", place))
            for place, weight in self.to.items()
            if not 1 <= weight <= 100
        )
        total = sum(self.to.values())
        if self.to and total != 100:
            yield Problem("GW093", f"the weights add up to {total}, not 100", ("to",))
        for shorter, longer in pairwise(sorted(place.rstrip("*").rstrip("/") for place in self.to)):
            if longer == shorter or longer.startswith(shorter + "/"):
                yield Problem("GW043", f'"{longer}" overlaps "{shorter}"', ("to",))


class Failover(Checked):
    """The region that takes over."""

    from_: Annotated[str, Strict()] | None = Field(None, alias="from")
    to: Str | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.from_ == self.to:
            yield Problem("GW093", "a region does not fail over to itself", ("to",))
        for field, region in (("from", self.from_), ("to", self.to)):
            if region is not None and ("/" in region or "*" in region):
                yield Problem("GW093", f'"{region}" is not a region: no "/" or "*"', (field,))


class LocalityLoadBalancerSetting(Checked):
    """Preference for near endpoints."""

    enabled: Bool | None = None
    distribute: Many[Distribute] = ()
    failover: Many[Failover] = ()
    failover_priority: Many[NonEmpty] = ()
    """Labels (`key` or `key=value`), most important first."""

    def _rules(self) -> Iterator[Problem]:
        if self.distribute and (self.failover or self.failover_priority):
            yield Problem("GW040", "only one of distribute and failover", ("distribute",))


class ZoneAwareLoadBalancerSetting(Model):
    """Preference for endpoints of the own zone."""

    enabled: Bool | None = None
    min_cluster_size: Uint32 | None = None


class WarmupConfiguration(Checked):
    """A new endpoint gets its share of requests slowly."""

    duration: Duration | None = None
    minimum_percent: Annotated[float, Strict(), Field(ge=0, le=100)] | None = None
    """Share it starts with; default 10."""
    aggression: Number | None = None
    """Exponent of the curve; default 1."""

    def _rules(self) -> Iterator[Problem]:
        if self.duration is None:
            yield Problem("GW032", "warmup needs a duration", ("duration",))
        if self.aggression is not None and self.aggression <= 0:
            yield Problem("GW037", "aggression is above 0", ("aggression",))


class LoadBalancerSettings(Checked):
    """Which endpoint gets a request; default LEAST_REQUEST."""

    simple: Simple | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup_duration_secs: Duration | None = None
    """Deprecated: `warmup.duration`."""
    warmup: WarmupConfiguration | None = None

    @property
    def fails_over(self) -> bool:
        """Whether a locality setting asks for failover, which needs outlier detection."""
        locality = self.locality_lb_setting
        return locality is not None and bool(locality.failover or locality.failover_priority)

    def _rules(self) -> Iterator[Problem]:
        if self.simple is not None and self.consistent_hash is not None:
            yield Problem("GW040", "only one of simple and consistentHash", ("consistentHash",))
        if self.simple == "PASSTHROUGH":
            message = "PASSTHROUGH needs the original destination, which an edge gateway does not have"
            yield Problem("GW045", message, ("simple",), "use LEAST_REQUEST")
        if self.simple == "LEAST_CONN":
            yield Problem("GW050", "LEAST_CONN is deprecated", ("simple",), "write LEAST_REQUEST", "warning")
        if self.warmup_duration_secs is not None:
            message, hint = "warmupDurationSecs is deprecated", "write warmup: {duration: 60s}"
            yield Problem("GW050", message, ("warmupDurationSecs",), hint, "warning")
            if self.warmup is not None:
                yield Problem("GW040", "only one of warmup and warmupDurationSecs", ("warmupDurationSecs",))
