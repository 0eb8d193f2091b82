"""How a VirtualService route treats the requests it forwards: retries, faults, mirrors, CORS.

Lifetime: config.
"""

from __future__ import annotations

from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, Strict

from gateway.config.fields import (
    Bool,
    Checked,
    Duration,
    Many,
    Model,
    Percent,
    Problem,
    Str,
    StringMatch,
)
from gateway.config.references import Destination  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_TOKENS = frozenset(
    {
        "5xx",
        "cancelled",
        "connect-failure",
        "deadline-exceeded",
        "envoy-ratelimited",
        "gateway-error",
        "http3-post-connect-failure",
        "internal",
        "refused-stream",
        "reset",
        "reset-before-request",
        "resource-exhausted",
        "retriable-4xx",
        "retriable-headers",
        "retriable-status-codes",
        "unavailable",
    }
)
"""Words of `retryOn`; numbers are status codes."""

GRPC_STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""gRPC status names; the index is the code."""

_CODES = frozenset(str(int(status)) for status in HTTPStatus)
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*")


class HTTPRetry(Checked):
    """When a failed attempt is repeated."""

    attempts: Annotated[int, Strict(), Field(ge=0, lt=2**31)] | None = None
    """Repetitions after the first try; 0 turns retries off."""
    per_try_timeout: Duration | None = None
    """Seconds one attempt may take; default: the route's timeout."""
    retry_on: Str | None = None
    """Comma-separated conditions and status codes, no blanks."""
    retry_remote_localities: Bool | None = None
    retry_ignore_previous_hosts: Bool | None = None
    """Avoid endpoints already tried; default true."""
    backoff: Duration | None = None
    """Base of the waiting time between tries; default 25ms."""

    def _rules(self) -> Iterator[Problem]:
        if not self.attempts:
            for field in ("per_try_timeout", "retry_on", "retry_remote_localities"):
                if getattr(self, field) not in (None, ""):
                    message = "attempts is 0: retries are off, so nothing else may be set"
                    yield Problem("GW053", message, (field,), "set attempts to 1 or more")
        for token in (self.retry_on or "").split(",") if self.retry_on else ():
            if token not in RETRY_TOKENS and token not in _CODES:
                message = f'"{token}" is not a retryOn condition or status code'
                yield Problem("GW033", message, ("retryOn",), _nearest(token.strip(), RETRY_TOKENS | _CODES))


def _nearest(text: str, known: Any) -> str | None:
    near = get_close_matches(text, sorted(known), 1)
    return f'did you mean "{near[0]}"?' if near else None


class Delay(Checked):
    """Holds a share of the requests back."""

    percentage: Percent | None = None
    percent: Annotated[int, Strict(), Field(ge=0, le=100)] | None = None
    """Deprecated: `percentage`."""
    fixed_delay: Duration | None = None
    exponential_delay: Any = None

    def _rules(self) -> Iterator[Problem]:
        if self.exponential_delay is not None:
            yield Problem(
                "GW045", "exponentialDelay is not supported, by Istio neither", ("exponentialDelay",)
            )
        if self.fixed_delay is None:
            yield _does_nothing("a delay without fixedDelay does nothing")
        if self.percent is not None:
            yield Problem(
                "GW050", "percent is deprecated", ("percent",), "write percentage: {value: N}", "warning"
            )
        elif self.percentage is None:
            yield _does_nothing("a delay without percentage delays no request")
        yield from _share_problems(self.percentage)


class Abort(Checked):
    """Answers a share of the requests with an error."""

    http_status: Annotated[int, Strict(), Field(ge=200, le=600)] | None = None
    grpc_status: Str | None = None
    """A gRPC status by name, such as UNAVAILABLE."""
    http2_error: Any = None
    percentage: Percent | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.http2_error is not None:
            yield Problem("GW045", "http2Error is not supported, by Istio neither", ("http2Error",))
        if self.http_status is not None and self.grpc_status is not None:
            yield Problem("GW040", "only one of httpStatus and grpcStatus", ("grpcStatus",))
        if self.grpc_status is not None and self.grpc_status not in GRPC_STATUSES:
            message = f'"{self.grpc_status}" is not the name of a gRPC status'
            yield Problem(
                "GW033", message, ("grpcStatus",), _nearest(self.grpc_status.upper(), GRPC_STATUSES)
            )
        if self.http_status is None and self.grpc_status is None:
            yield _does_nothing("an abort without httpStatus or grpcStatus does nothing")
        if self.percentage is None:
            yield _does_nothing("an abort without percentage aborts no request")
        yield from _share_problems(self.percentage)


def _does_nothing(message: str) -> Problem:
    return Problem("GW051", message, severity="warning")


def _share_problems(share: Percent | None) -> Iterator[Problem]:
    if share is not None and 0 < share.value < 0.0001:
        yield Problem("GW037", "a share is 0 or at least 0.0001 percent", ("percentage", "value"))


class HTTPFaultInjection(Checked):
    """Errors and delays injected on purpose."""

    delay: Delay | None = None
    abort: Abort | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.delay is None and self.abort is None:
            yield Problem("GW032", "a fault needs a delay or an abort")


class HTTPMirrorPolicy(Model):
    """One of several mirrors."""

    destination: Destination
    percentage: Percent | None = None
    """Share of requests that are copied; default all."""


class CorsPolicy(Checked):
    """Who may read answers across origins."""

    allow_origins: Many[StringMatch] = ()
    allow_origin: Many[Str] = ()
    """Deprecated: `allowOrigins`. Exact origins, read only when that is empty."""
    allow_methods: Many[Str] = ()
    allow_headers: Many[Str] = ()
    expose_headers: Many[Str] = ()
    max_age: Duration | None = None
    """Whole seconds."""
    allow_credentials: Bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] | None = None
    """What becomes of a preflight of a foreign origin; default FORWARD."""

    def _rules(self) -> Iterator[Problem]:
        for index, origin in enumerate(self.allow_origins):
            if origin.regex == "*":
                yield Problem(
                    "GW036",
                    'RE2 does not accept the regex "*"',
                    ("allowOrigins", index, "regex"),
                    'write ".*" for any origin',
                )
        for index, method in enumerate(self.allow_methods):
            if method not in CORS_METHODS:
                message = f'"{method}" is not a method'
                yield Problem(
                    "GW033", message, ("allowMethods", index), _nearest(method.upper(), CORS_METHODS)
                )
        if self.max_age is not None and self.max_age % 1:
            yield Problem("GW034", "maxAge is in whole seconds", ("maxAge",))
        if self.allow_origin:
            message = "allowOrigin is deprecated"
            hint = "write allowOrigins: [{exact: ORIGIN}]"
            yield Problem("GW050", message, ("allowOrigin",), hint, "warning")
