"""What becomes of a request that is forwarded: where it may go, how long it may take, what else happens.

Lifetime: request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.http.secrets import clean

if TYPE_CHECKING:
    from gateway.explain.answer import Answer
    from gateway.http.request import Request
    from gateway.routing import Destination, Route
    from gateway.routing.policies import Fault, RetryPolicy
    from gateway.security import Verdict
    from gateway.upstream import Cluster

PER_CENT = 10_000
"""Shares are per million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One destination of the route."""

    cluster: str
    percent: float
    known: bool
    """Whether there is such a cluster; otherwise the answer is 503 NC."""
    resolution: str
    """`STATIC`, `DNS`...; empty when it is not known."""
    endpoints: tuple[str, ...]
    """`address:port`, with the weight when they differ. Names are not looked up."""
    policy: str
    """How one of them is picked: `LEAST_REQUEST`..."""
    sticky: str
    """The endpoint that the hash key of this request leads to; empty when no key decides."""
    request_headers: str
    """Changes to the request's headers: `-removed =set +added`."""
    response_headers: str
    head: tuple[str, ...]
    """The request head that is sent, line by line."""
    verdicts: tuple[Verdict, ...] = ()
    """What each policy says that is for this destination alone."""
    refused: Answer | None = None
    """What they answer together; None: the request may go there."""

    @property
    def empty(self) -> bool:
        """Whether it is known and has no endpoint."""
        return self.known and not self.endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a failed attempt is repeated."""

    most: int
    """Repetitions after the first try."""
    on: tuple[str, ...]
    statuses: tuple[int, ...]
    per_try_timeout: float | None
    """Seconds."""
    waits: tuple[float, ...]
    """Seconds: the longest wait before each repetition; it is drawn at random below that."""
    elsewhere: bool
    """Endpoints already tried are avoided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is done on purpose, to a share of the requests."""

    delay: float
    """Seconds; 0: no delay."""
    delay_percent: float
    abort: str
    """`HTTP 500` or `gRPC 14`; empty: no abort."""
    abort_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the route forwards."""

    timeout: float | None
    """Seconds for everything; None: no limit."""
    retries: Retries | None
    """None: never repeated."""
    faults: Faults | None
    mirrors: tuple[tuple[str, float], ...]
    """Clusters that get copies, and of how many per cent of the requests."""
    rewrite: str
    """The path that is forwarded; empty: the same."""
    hash_key: str
    """What consistent hashing hashes of this request; empty: nothing."""
    cors: bool
    """Whether responses are marked for allowed origins."""


def plan_of(route: Route, request: Request) -> Plan:
    """The plan of a route for one request."""
    path = request.path if route.rewrite is None else route.rewrite(request.path)
    return Plan(
        timeout=route.timeout,
        retries=None if route.retries is None else _retries(route.retries),
        faults=None if route.fault is None else _faults(route.fault),
        mirrors=tuple((mirror.cluster_name, mirror.share / PER_CENT) for mirror in route.mirrors),
        rewrite="" if path == request.path else path.decode("latin-1"),
        hash_key=_key(route, request),
        cors=route.cors is not None,
    )


def target_of(destination: Destination, route: Route, request: Request, head: tuple[str, ...]) -> Target:
    """A destination as it stands for one request."""
    cluster = destination.cluster
    config = cluster.config if cluster is not None else None
    return Target(
        cluster=destination.cluster_name,
        percent=round(100 * destination.weight / route.total_weight, 4),
        known=cluster is not None,
        resolution=str(config.resolution) if config is not None else "",
        endpoints=() if cluster is None else _endpoints(cluster),
        policy=str(config.policy) if config is not None else "",
        sticky="" if cluster is None else _sticky(cluster, route, request),
        request_headers=_operations(destination.request_ops),
        response_headers=_operations(destination.response_ops),
        head=head,
    )


def _operations(operations: object | None) -> str:
    return "" if operations is None else repr(operations).removeprefix("<HeaderOps ").removesuffix(">")


def _endpoints(cluster: Cluster) -> tuple[str, ...]:
    """By configuration: an offline decision looks no name up."""
    configured = cluster.config.endpoints
    same = len({item.weight for item in configured}) < 2
    return tuple(
        (item.address if item.is_unix else f"{_host(item.address)}:{item.port}")
        + ("" if same else f" weight {item.weight}")
        for item in configured
    )


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _sticky(cluster: Cluster, route: Route, request: Request) -> str:
    if route.hash_key is None or not cluster.balancer.hashes or not cluster.endpoints:
        return ""
    key = route.hash_key(request)
    endpoint = cluster.balancer.pick(key) if key is not None else None
    return "" if endpoint is None else endpoint.address


def _key(route: Route, request: Request) -> str:
    if route.hash_key is None:
        return ""
    key = route.hash_key(request)
    if key is not None:
        return clean(key.decode("latin-1"))
    return "(a new cookie)" if route.hash_cookie is not None else "(none: any endpoint)"


def _retries(policy: RetryPolicy) -> Retries:
    return Retries(
        most=policy.retries,
        on=tuple(sorted(policy.retry_on)),
        statuses=tuple(sorted(policy.statuses)),
        per_try_timeout=policy.per_try_timeout,
        waits=tuple(
            round(min(policy.backoff * 2**number, policy.max_backoff), 6)
            for number in range(min(policy.retries, 10))
        ),
        elsewhere=policy.ignore_previous_hosts,
    )


def _faults(fault: Fault) -> Faults:
    grpc = fault.abort_grpc_status
    abort = "" if not fault.abort_share else f"HTTP {fault.abort_status}" if grpc is None else f"gRPC {grpc}"
    return Faults(
        delay=fault.delay,
        delay_percent=fault.delay_share / PER_CENT,
        abort=abort,
        abort_percent=fault.abort_share / PER_CENT,
    )
