"""What a cluster is by configuration: who its endpoints are and how they are used.

Lifetime: config. Compared by value: a reload that leaves a cluster's config equal keeps the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.health_checks import HealthCheck
    from gateway.config.load_balancer import ConsistentHashLB
    from gateway.config.outlier import OutlierDetection
    from gateway.config.tls import ClientTLSSettings

UNLIMITED = 2**32 - 1
"""Istio's default of every limit."""


class Resolution(StrEnum):
    """How the endpoints' addresses are found (ServiceEntry `resolution`)."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    """Every address of every name is an endpoint (Envoy STRICT_DNS)."""
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    """One address at a time, in turn (Envoy LOGICAL_DNS)."""
    APP = "APP"
    """The ASGI application that the gateway is wrapped around, in this process."""


class Policy(StrEnum):
    """How an endpoint is picked."""

    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    RING_HASH = "RING_HASH"
    MAGLEV = "MAGLEV"

    @property
    def hashes(self) -> bool:
        """Whether a key decides."""
        return self in {Policy.RING_HASH, Policy.MAGLEV}


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """One place that serves the cluster: an IP address, a host name or a Unix socket, and a port."""

    address: str
    """`10.0.0.1`, `::1`, `reviews.internal` or `/run/reviews.sock` (port 0)."""
    port: int
    weight: int = 1
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    locality: str = ""
    """`region/zone/subzone`."""
    hostname: str = ""
    """The name this address was found under; empty when it was configured."""
    priority: int = 0
    """Endpoints of a higher number get requests when those of the lower ones are too few."""

    @property
    def is_unix(self) -> bool:
        """Whether this is a Unix socket."""
        return self.address.startswith(("/", "@"))


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keep-alive probes; None leaves the system's value."""

    probes: int | None = None
    time: float | None = None
    interval: float | None = None


@dataclass(frozen=True, slots=True)
class Warmup:
    """How a new endpoint's share grows: `max(minimum, (age / duration) ** (1 / aggression))`."""

    duration: float
    minimum: float = 0.1
    """0 to 1."""
    aggression: float = 1.0


@dataclass(frozen=True, slots=True)
class RetryReserve:
    """What retries may be begun beyond the share that the requests begun have earned; see `Allowance`."""

    size: float = 5.0
    refill: float = 3600.0
    """Seconds until an empty one is full again without any request; 0: never."""


@dataclass(frozen=True, slots=True)
class RetryShare:
    """How many retries may be in flight: a share of the requests in flight, but always a few."""

    percent: float = 20.0
    least: int = 3
    burst: float = 0.0
    """Retries that requests without any save up at most; see `RetryBudget`."""
    reserve: RetryReserve | None = None
    """Limits the retries begun as well, to the same share of the requests begun; None: does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """One service port, or one subset of it, after every DestinationRule has spoken."""

    name: str
    """`outbound|9080|v1|reviews.default.svc.cluster.local`."""
    host: str
    port: int
    subset: str = ""
    namespace: str = "default"
    """The ServiceEntry's."""
    endpoints: tuple[EndpointConfig, ...] = ()
    resolution: Resolution = Resolution.STATIC

    policy: Policy = Policy.LEAST_REQUEST
    table_size: int = 0
    """Least size of the ring (RING_HASH), or size of the table (MAGLEV); 0: the default."""
    consistent_hash: ConsistentHashLB | None = None
    """Where the key of these two comes from; for the routes that lead here."""

    max_connections: int = UNLIMITED
    """Further requests wait as pending."""
    max_pending_requests: int = UNLIMITED
    """Requests that wait for a connection; further ones are answered with 503 UO."""
    max_requests: int = UNLIMITED
    """Requests in flight; further ones are answered with 503 UO."""
    max_retries: int = UNLIMITED
    """Retries in flight; further ones are not made. Only without `retry_budget`."""
    retry_budget: RetryShare | None = None
    """Takes the place of `max_retries`; None: no budget."""
    connect_timeout: float = 10.0
    idle_timeout: float | None = 3600.0
    """Seconds an idle connection is kept; None: for ever."""
    max_requests_per_connection: int = 0
    """0: no limit; 1: no keep-alive."""
    max_connection_duration: float | None = None
    keepalive: Keepalive | None = None

    response_head_bytes: int = 61440
    response_hold_bytes: int = 0
    """Bodies of known length up to this count as arrived when they are whole; below the pool's read-ahead."""
    response_headers: int = 200
    stream_idle: float = 300.0
    """Seconds of silence in both directions while a response is awaited; then the request is ended."""

    outlier: OutlierDetection | None = None
    health_check: HealthCheck | None = None
    warmup: Warmup | None = None
    """Only for ROUND_ROBIN and LEAST_REQUEST."""
    locality_weights: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Share of each locality (`distribute`); empty: endpoints count, not where they are."""
    tls: ClientTLSSettings | None = None
    subject_alt_names: tuple[str, ...] = ()
    """Of the ServiceEntry, and of its workloads' service accounts: who may answer when `tls` does not say."""
    wears: bool = field(init=False, compare=False)
    """Whether connections have a limit of requests or of time; asked after every request."""

    def __post_init__(self) -> None:
        limited = self.max_requests_per_connection > 0 or self.max_connection_duration is not None
        object.__setattr__(self, "wears", limited)

    @property
    def panic_percent(self) -> int:
        """When fewer endpoints are well all are used: `minHealthPercent`, else Envoy's 50."""
        return 50 if self.outlier is None else self.outlier.min_health_percent or 0

    def __repr__(self) -> str:
        return f"<ClusterConfig {self.name} {self.resolution} {self.policy} endpoints {len(self.endpoints)}>"
