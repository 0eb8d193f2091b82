"""Retries: whether a failed attempt is repeated, why, when, and what the log says when it is not.

Lifetime: request. `verdict` and `backoff` are plain functions; `Retries` is made at the first failure, so a
request that succeeds at once has none. Source: Istio `HTTPRetry`, Envoy `retry_on`.

A method that is not idempotent (RFC 9110 9.2.2) is repeated only
* when no backend has seen the request: connecting failed, the stream was refused, no byte was written, or
  an idle connection that was used again closed without an answer and no body had been taken from the client;
* or when the route names the event: `retryOn` is written there, and one of its words or codes covers it.
Istio's default list is not written by anybody: under it a POST is not repeated for its grpc-status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.exchange.exchange import TimedOut
from gateway.http.flags import Flag
from gateway.http.reply import Reply
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from gateway.exchange.exchange import Exchange
    from gateway.routing.policies import RetryPolicy
    from gateway.upstream import Cluster, Endpoint
    from gateway.upstream.pool import Pool

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""To do it twice is to do it once."""

REFUSED_STREAM = "remote refused stream reset"
"""Envoy's reset reason of a stream the backend did not begin with (HTTP/2 REFUSED_STREAM, GOAWAY)."""

TRY_TIMED_OUT = Reply(504, b"upstream request timeout", Flag.UPSTREAM_TIMEOUT, "upstream_per_try_timeout")
"""What the client gets when the last try took longer than `perTryTimeout`."""


class TryTimedOut(UpstreamError):  # noqa: N818 - an event, not an error
    """`perTryTimeout` passed before the response head came; the route's own timeout did not."""

    def __init__(self) -> None:
        super().__init__(Flag.UPSTREAM_TIMEOUT, "per try timeout", sent=True)


class Outcome(NamedTuple):
    """How an attempt ended: with a response head, or with an error."""

    status: int = 0
    headers: Sequence[tuple[bytes, bytes]] = ()
    """The response's; lower-case names."""
    error: UpstreamError | None = None
    """None: there is a response."""
    reused: bool = False
    """Whether the connection had served another request before."""


class Verdict(NamedTuple):
    """What becomes of a failed attempt."""

    again: bool
    """It is repeated."""
    event: str = ""
    """The condition that covers it: `connect-failure`, `5xx`, `503`, `unavailable`...; "": none does."""
    denied: str = ""
    """Why an attempt that a condition covers is not repeated: `method`, `body`, `overloaded`, `attempts`,
    `budget` or `allowance`."""
    flag: Flag | None = None
    """To be added to the exchange: URX when the attempts are used up, UO when there are too many retries."""
    at_once: bool = False
    """The connection was stale, the backend has not failed: repeat without waiting, and without a place in
    the budget. It is an attempt like any other."""


_FINAL = frozenset({Flag.UPSTREAM_OVERFLOW, Flag.STREAM_IDLE_TIMEOUT})
FINAL = Verdict(again=False)
"""Nothing asks for a repetition."""
STALE = Verdict(again=True, event="stale-connection", at_once=True)


def verdict(  # noqa: PLR0913 - what a decision depends on
    policy: RetryPolicy | None,
    outcome: Outcome,
    *,
    method: str,
    made: int,
    replayable: bool = True,
    untouched: bool = True,
    stale_before: bool = False,
) -> Verdict:
    """Whether an attempt is repeated, as far as its own request knows; the cluster may still have no place.

    `made`: attempts after the first, so far. `replayable`: the whole body, as far as it came, can be sent
    again. `untouched`: no byte of a body was taken from the client. `stale_before`: the request met one
    stale connection already. Only while nothing went downstream.
    """
    error = outcome.error
    if (
        error is not None
        and outcome.reused
        and not stale_before
        and (made == 0 or (policy is not None and made < policy.retries))
        and error.flag is Flag.UPSTREAM_TERMINATION
        and replayable
        and (untouched or not error.sent or method in IDEMPOTENT)
    ):
        return STALE
    if policy is None:
        return FINAL
    event = _by_response(policy, outcome) if error is None else _by_error(policy, error)
    if not event:
        return FINAL
    if error is None and any(name == b"x-envoy-overloaded" for name, _ in outcome.headers):
        return Verdict(again=False, event=event, denied="overloaded")
    if not policy.named and method not in IDEMPOTENT and not _unseen(error):
        return Verdict(again=False, event=event, denied="method")
    if not replayable:
        return Verdict(again=False, event=event, denied="body")
    if made >= policy.retries:
        return Verdict(again=False, event=event, denied="attempts", flag=Flag.RETRIES_EXHAUSTED)
    return Verdict(again=True, event=event)


def backoff(policy: RetryPolicy, number: int, rng: Random) -> float:
    """Seconds before retry `number` (from 1): uniform from 0 to min(base * 2**(number - 1), 10 * base)."""
    # 2**4 is beyond the cap already; a larger power would only overflow.
    longest: float = min(policy.backoff * 2 ** min(number - 1, 4), policy.max_backoff)
    return rng.random() * longest


def avoided(
    policy: RetryPolicy | None, exchange: Exchange, cluster: Cluster, made: int
) -> tuple[Endpoint, ...]:
    """The endpoints that retry `made` avoids; the attempt before it is the last of `exchange.earlier`.

    With `retryRemoteLocalities` every second retry leaves the localities of all attempts before it.
    """
    tried: tuple[Endpoint, ...] = ()
    if policy is None or policy.ignore_previous_hosts:
        tried = tuple(attempt.endpoint for attempt in exchange.earlier)
    if policy is not None and policy.remote_localities and made > 1:
        return cluster.tiers({attempt.endpoint for attempt in exchange.earlier[: made // 2 * 2]}, tried)
    return tried


def reset_body(error: UpstreamError, *, retried: bool) -> bytes:
    """The reply's body for a failed attempt; after a retry Envoy says so."""
    if not retried:
        return error.body
    return error.body.replace(b"reset reason:", b"retried and the latest reset reason:", 1)


def _by_response(policy: RetryPolicy, outcome: Outcome) -> str:
    """The condition that a response meets."""
    status, words = outcome.status, policy.retry_on
    grpc = b""
    for name, value in outcome.headers:
        if name == b"x-envoy-ratelimited":
            return "envoy-ratelimited" if "envoy-ratelimited" in words else ""
        if name == b"grpc-status":
            grpc = value
    if "5xx" in words and 500 <= status <= 599:
        return "5xx"
    if "gateway-error" in words and 502 <= status <= 504:
        return "gateway-error"
    if "retriable-4xx" in words and status == 409:
        return "retriable-4xx"
    if status in policy.statuses:
        return str(status)
    return policy.grpc.get(int(grpc), "") if grpc.isdigit() and len(grpc) < 4 else ""


def _by_error(policy: RetryPolicy, error: UpstreamError) -> str:
    """The condition that a failure without a response meets. Overflow, silence and the route's timeout meet
    none.
    """
    if error.flag in _FINAL or isinstance(error, TimedOut):
        return ""
    words = policy.retry_on
    if "connect-failure" in words and error.flag is Flag.UPSTREAM_CONNECT_FAILURE:
        return "connect-failure"
    if "refused-stream" in words and error.reason == REFUSED_STREAM:
        return "refused-stream"
    if "reset" in words:
        return "reset"
    if "reset-before-request" in words and not error.sent:
        return "reset-before-request"
    if "5xx" in words:
        return "5xx"
    return "gateway-error" if "gateway-error" in words else ""


def _unseen(error: UpstreamError | None) -> bool:
    """Whether the request provably never reached a backend."""
    return error is not None and (
        not error.sent or error.flag is Flag.UPSTREAM_CONNECT_FAILURE or error.reason == REFUSED_STREAM
    )


class Retries:
    """The retries of one request, from its first failure on: counts them, holds their place in the budget."""

    __slots__ = ("_held", "_method", "_policy", "_pool", "_stale", "made")

    def __init__(self, policy: RetryPolicy | None, pool: Pool, method: str) -> None:
        self.made = 0
        """Attempts after the first, so far; the next is number `made + 1` (`x-envoy-attempt-count`)."""
        self._policy = policy
        self._pool = pool
        self._method = method
        self._held = self._stale = False

    @property
    def retried(self) -> bool:
        """Whether the route's policy made a further attempt; not merely a stale connection, which Envoy would
        not have repeated without one.
        """
        return self.made > self._stale

    def judge(self, outcome: Outcome, *, replayable: bool = True, untouched: bool = True) -> Verdict:
        """The verdict on the attempt that just ended. When it is `again`, a place for the retry is taken."""
        self.close()
        pool = self._pool
        found = verdict(
            self._policy,
            outcome,
            method=self._method,
            made=self.made,
            replayable=replayable,
            untouched=untouched,
            stale_before=self._stale,
        )
        error = outcome.error
        unconnected = error is not None and error.flag is Flag.UPSTREAM_CONNECT_FAILURE
        if found.again and not found.at_once:
            if unconnected and pool.forgives():
                pool.retries.forgiven()
            elif denied := pool.try_retry():
                return found._replace(again=False, denied=denied, flag=Flag.UPSTREAM_OVERFLOW)
            else:
                self._held = True
            self.made += 1
            return found
        if found.at_once:
            self._stale = True
            self.made += 1
            pool.retries.repeated += 1
        if found.flag is not None:
            pool.retries.exhausted += 1
        if error is not None or found.event:
            pool.retries.failed()
        return found

    def wait(self, rng: Random) -> float:
        """Seconds before the retry that was just granted."""
        assert self._policy is not None
        return backoff(self._policy, self.made, rng)

    def close(self) -> None:
        """Gives the place back: the retry has its answer, or nobody waits for one. Any number of times."""
        if self._held:
            self._held = False
            self._pool.retries.give_back()
