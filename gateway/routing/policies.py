"""What a route does to a forwarded request besides sending it: retries, faults, mirrors.

Lifetime: config. Compiled here; the exchange carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.config.http_policies import GRPC_STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.fields import Percent
    from gateway.config.http_policies import HTTPFaultInjection, HTTPRetry
    from gateway.upstream import Cluster

DEFAULT_RETRY_ON = frozenset(
    {"connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"}
)
"""Istio's default policy. It lists no status code, so the last word does nothing."""
DEFAULT_RETRIES = 2
DEFAULT_BACKOFF = 0.025

GRPC_WORDS = {
    "cancelled": 1,
    "deadline-exceeded": 4,
    "resource-exhausted": 8,
    "internal": 13,
    "unavailable": 14,
}
"""Conditions that are gRPC statuses, and their codes."""

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is repeated, and how patiently (Istio HTTPRetry)."""

    retries: int = DEFAULT_RETRIES
    """Repetitions after the first try, at least 1."""
    per_try_timeout: float | None = None
    """Seconds one attempt may take from the complete request to the response head; None: no such limit."""
    retry_on: frozenset[str] = DEFAULT_RETRY_ON
    """Conditions, Envoy's words."""
    statuses: frozenset[int] = frozenset()
    """Status codes that are repeated (`retriable-status-codes`)."""
    remote_localities: bool = False
    """Every second retry moves on to another locality."""
    ignore_previous_hosts: bool = True
    """Avoid endpoints already tried."""
    backoff: float = DEFAULT_BACKOFF
    """Seconds; retry N waits a uniform random time up to min(backoff * 2**(N-1), max_backoff)."""
    named: bool = False
    """Whether the route itself says what is repeated. Then it holds for every method; Istio's default list
    repeats a POST only when no backend has seen it."""
    suspects: frozenset[int] = field(init=False, compare=False, repr=False)
    """Statuses that may be repeated: an answer with another one, and without grpc-status, is final."""
    grpc: Mapping[int, str] = field(init=False, compare=False, repr=False)
    """gRPC statuses that are repeated, with their condition."""

    def __post_init__(self) -> None:
        words = self.retry_on
        suspects = set(self.statuses)
        if "5xx" in words:
            suspects.update(range(500, 600))
        if "gateway-error" in words:
            suspects.update((502, 503, 504))
        if "retriable-4xx" in words:
            suspects.add(409)
        if "envoy-ratelimited" in words:  # A header says it, with any status.
            suspects.update(range(100, 600))
        grpc = {code: word for word, code in GRPC_WORDS.items() if word in words}
        object.__setattr__(self, "suspects", frozenset(suspects))
        object.__setattr__(self, "grpc", grpc)

    @property
    def max_backoff(self) -> float:
        """Longest waiting time in seconds."""
        return 10 * self.backoff


def compile_retries(
    retry: HTTPRetry | None, *, timeout: float | None, sticky: bool = False
) -> RetryPolicy | None:
    """A route's retry policy; None when retries are off.

    `sticky`: the route has one destination with a hash key; a retry then goes to the same endpoint again. A
    per-try timeout that is not shorter than the route's is dropped.
    """
    if retry is None:
        return RetryPolicy(ignore_previous_hosts=not sticky)
    if not retry.attempts:
        return None
    words, statuses = DEFAULT_RETRY_ON, frozenset[int]()
    if retry.retry_on:
        tokens = [token.strip() for token in retry.retry_on.split(",")]
        statuses = frozenset(int(token) for token in tokens if token.isdigit())
        words = frozenset(token for token in tokens if token and not token.isdigit())
        if statuses:
            words |= {"retriable-status-codes"}
    limit = retry.per_try_timeout
    return RetryPolicy(
        retries=retry.attempts,
        per_try_timeout=None if limit is None or (timeout is not None and limit >= timeout) else limit,
        retry_on=words,
        statuses=statuses,
        remote_localities=bool(retry.retry_remote_localities),
        ignore_previous_hosts=retry.retry_ignore_previous_hosts is not False and not sticky,
        backoff=retry.backoff or DEFAULT_BACKOFF,
        named=bool(retry.retry_on),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Delay and abort (Istio HTTPFaultInjection); separate dice, the delay first.

    Shares are per million: the fault happens when a uniform draw below `MILLION` is below the share.
    """

    delay_share: int = 0
    delay: float = 0.0
    """Seconds."""
    abort_share: int = 0
    abort_status: int = 0
    """HTTP status; 0 when `abort_grpc_status` is set."""
    abort_grpc_status: int | None = None
    """gRPC code."""


def compile_fault(fault: HTTPFaultInjection | None) -> Fault | None:
    """A route's fault; None when it has none that can happen."""
    if fault is None:
        return None
    delay_share = abort_share = 0
    delay, abort = fault.delay, fault.abort
    if delay is not None and delay.fixed_delay:
        # The deprecated whole percentage counts only without the precise one.
        delay_share = (
            (delay.percent or 0) * 10_000 if delay.percentage is None else per_million(delay.percentage)
        )
    if abort is not None and (abort.http_status or abort.grpc_status) and abort.percentage is not None:
        abort_share = per_million(abort.percentage)
    if not delay_share and not abort_share:
        return None
    grpc = abort.grpc_status if abort is not None else None
    return Fault(
        delay_share=delay_share,
        delay=(delay.fixed_delay or 0.0) if delay is not None and delay_share else 0.0,
        abort_share=abort_share,
        abort_status=(abort.http_status or 0) if abort is not None else 0,
        abort_grpc_status=None if grpc is None else GRPC_STATUSES.index(grpc),
    )


def per_million(percent: Percent) -> int:
    """A percentage with four decimals, cut off (Istio's translation)."""
    return int(round(percent.value * 10_000, 6))


@dataclass(frozen=True, slots=True)
class Mirror:
    """A place that gets copies of a share of the requests."""

    cluster: Cluster | None
    """None: not found; skipped silently."""
    cluster_name: str
    share: int
    """Per million, as in `Fault`; several mirrors of a route share one draw."""
