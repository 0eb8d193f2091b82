"""How attempts end, and which of the words of a retry policy cover that.

Lifetime: config.
"""

from __future__ import annotations

from typing import Any

from gateway.config.http_policies import HTTPRetry
from gateway.exchange.exchange import TimedOut
from gateway.exchange.retry import (
    REFUSED_STREAM,
    Outcome,
    TryTimedOut,
    Verdict,
    verdict,
)
from gateway.http.flags import Flag
from gateway.routing.policies import RetryPolicy, compile_retries
from gateway.upstream.breaker import overflow
from gateway.upstream.errors import UpstreamError, local_reset, protocol_error, terminated

REFUSED = UpstreamError(Flag.UPSTREAM_REMOTE_RESET, REFUSED_STREAM, sent=True)
NOT_CONNECTED = UpstreamError(Flag.UPSTREAM_CONNECT_FAILURE, "remote connection failure")
CONNECT_TIMEOUT = UpstreamError(Flag.UPSTREAM_CONNECT_FAILURE, "connection timeout")
CUT = terminated(sent=True)
UNSENT = terminated(sent=False)

ERRORS: dict[str, UpstreamError] = {
    "not connected": NOT_CONNECTED,
    "connect timeout": CONNECT_TIMEOUT,
    "cut": CUT,
    "cut before a byte": UNSENT,
    "refused": REFUSED,
    "nonsense": protocol_error("two Content-Length headers"),
    "local reset": local_reset(sent=True),
    "try timed out": TryTimedOut(),
    "timed out": TimedOut(),
    "overflow": overflow(),
}
ANY_RESET = set(ERRORS) - {"timed out", "overflow"}
BEFORE_REQUEST = {"not connected", "connect timeout", "cut before a byte"}
COVERS: dict[str, tuple[set[int], set[str], set[int]]] = {
    "5xx": (set(range(500, 600)), ANY_RESET, set()),
    "gateway-error": ({502, 503, 504}, ANY_RESET, set()),
    "reset": (set(), ANY_RESET, set()),
    "reset-before-request": (set(), BEFORE_REQUEST, set()),
    "connect-failure": (set(), {"not connected", "connect timeout"}, set()),
    "refused-stream": (set(), {"refused"}, set()),
    "retriable-4xx": ({409}, set(), set()),
    "retriable-status-codes": (set(), set(), set()),
    "retriable-headers": (set(), set(), set()),
    "envoy-ratelimited": (set(), set(), set()),
    "http3-post-connect-failure": (set(), set(), set()),
    "cancelled": (set(), set(), {1}),
    "deadline-exceeded": (set(), set(), {4}),
    "internal": (set(), set(), {13}),
    "resource-exhausted": (set(), set(), {8}),
    "unavailable": (set(), set(), {14}),
}
"""The truth table: statuses, errors and gRPC statuses of each word."""


def policy(retry_on: str = "", attempts: int = 2, **more: Any) -> RetryPolicy:
    made = compile_retries(
        HTTPRetry.model_validate({"attempts": attempts, "retryOn": retry_on or None, **more}), timeout=None
    )
    assert made is not None
    return made


def judge(retry_on: str, outcome: Outcome, *, method: str = "GET", made: int = 0, **more: Any) -> Verdict:
    return verdict(policy(retry_on), outcome, method=method, made=made, **more)


def answered(status: int, **headers: str) -> Outcome:
    return Outcome(status, [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()])


def failed(error: UpstreamError, *, reused: bool = False) -> Outcome:
    return Outcome(error=error, reused=reused)
