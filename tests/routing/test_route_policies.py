"""Retries, faults and mirrors, compiled."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.fields import Percent
from gateway.config.http_policies import HTTPFaultInjection, HTTPRetry
from gateway.routing.policies import (
    DEFAULT_RETRY_ON,
    Fault,
    RetryPolicy,
    compile_fault,
    compile_retries,
    per_million,
)


def retries(
    given: dict[str, Any] | None, *, timeout: float | None = None, sticky: bool = False
) -> RetryPolicy | None:
    return compile_retries(
        None if given is None else HTTPRetry.model_validate(given), timeout=timeout, sticky=sticky
    )


def test_the_default_is_istios() -> None:
    """Two retries of what was never answered; no status code."""
    assert retries(None) == RetryPolicy(
        retries=2,
        per_try_timeout=None,
        retry_on=frozenset(
            {"connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"}
        ),
        statuses=frozenset(),
        remote_localities=False,
        ignore_previous_hosts=True,
        backoff=0.025,
    )
    assert RetryPolicy().max_backoff == 0.25


def test_no_attempts_are_no_retries() -> None:
    """0 turns them off."""
    assert retries({"attempts": 0}) is None


def test_numbers_in_retry_on_are_status_codes() -> None:
    """And make them retriable."""
    policy = retries({"attempts": 3, "retryOn": "5xx,reset,503,429"})

    assert policy is not None
    assert policy.retry_on == {"5xx", "reset", "retriable-status-codes"}
    assert policy.statuses == {503, 429}
    assert policy.retries == 3


def test_a_policy_is_named_when_the_route_lists_what_is_repeated() -> None:
    """Attempts alone leave Istio's default list."""
    named = {text: retries({"attempts": 1, "retryOn": text}).named for text in ("", "503", "reset")}  # type: ignore[union-attr]
    assert named == {"": False, "503": True, "reset": True}
    assert not RetryPolicy().named


@pytest.mark.parametrize(
    ("retry_on", "suspects", "grpc"),
    [
        ("", set(), {1: "cancelled", 14: "unavailable"}),
        ("503,429", {503, 429}, {}),
        ("5xx", set(range(500, 600)), {}),
        ("gateway-error,retriable-4xx", {502, 503, 504, 409}, {}),
        ("envoy-ratelimited", set(range(100, 600)), {}),
        ("internal,deadline-exceeded,resource-exhausted", set(), {13: "internal"}),
    ],
)
def test_a_policy_knows_which_answers_to_look_at(
    retry_on: str, suspects: set[int], grpc: dict[int, str]
) -> None:
    policy = retries({"attempts": 1, "retryOn": retry_on})
    assert policy is not None
    assert policy.suspects == suspects
    assert policy.grpc.items() >= grpc.items()


def test_other_fields() -> None:
    """Durations in seconds; an empty retryOn is the default list."""
    policy = retries(
        {
            "attempts": 1,
            "perTryTimeout": "2s",
            "backoff": "100ms",
            "retryRemoteLocalities": True,
            "retryOn": "",
        },
        timeout=10,
    )

    assert policy is not None
    assert (
        policy.per_try_timeout,
        policy.backoff,
        policy.max_backoff,
        policy.remote_localities,
    ) == (2.0, 0.1, 1.0, True)
    assert policy.retry_on == DEFAULT_RETRY_ON


@pytest.mark.parametrize(
    ("per_try", "timeout", "expected"),
    [("2s", 2.0, None), ("3s", 2.0, None), ("1s", 2.0, 1.0), ("9s", None, 9.0)],
)
def test_a_try_may_not_take_longer_than_all(
    per_try: str, timeout: float | None, expected: float | None
) -> None:
    """A per-try timeout that is not shorter than the route's is dropped."""
    policy = retries({"attempts": 1, "perTryTimeout": per_try}, timeout=timeout)

    assert policy is not None
    assert expected == policy.per_try_timeout


def test_with_a_hash_key_the_same_endpoint_is_tried_again() -> None:
    """The key has one place; avoiding it would break the affinity."""
    assert not retries(None, sticky=True).ignore_previous_hosts  # type: ignore[union-attr]
    assert not retries({"attempts": 1}, sticky=True).ignore_previous_hosts  # type: ignore[union-attr]
    assert not retries({"attempts": 1, "retryIgnorePreviousHosts": False}).ignore_previous_hosts  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"delay": {"percentage": {"value": 10}, "fixedDelay": "5s"}}, Fault(delay_share=100_000, delay=5.0)),
        ({"delay": {"percent": 10, "fixedDelay": "5s"}}, Fault(delay_share=100_000, delay=5.0)),
        ({"delay": {"percent": 10, "percentage": {"value": 0}, "fixedDelay": "5s"}}, None),
        ({"delay": {"fixedDelay": "5s"}}, None),
        ({"delay": {"percentage": {"value": 10}}}, None),
        (
            {"abort": {"percentage": {"value": 0.0001}, "httpStatus": 500}},
            Fault(abort_share=1, abort_status=500),
        ),
        ({"abort": {"httpStatus": 500}}, None),
        ({"abort": {"percentage": {"value": 100}}}, None),
        (
            {"abort": {"percentage": {"value": 100}, "grpcStatus": "UNAVAILABLE"}},
            Fault(abort_share=1_000_000, abort_grpc_status=14),
        ),
    ],
)
def test_faults_that_can_happen(given: dict[str, Any], expected: Fault | None) -> None:
    """Without a percentage, and without a delay or status, nothing happens."""
    assert expected == compile_fault(HTTPFaultInjection.model_validate(given))
    assert compile_fault(None) is None


@pytest.mark.parametrize(
    ("percent", "share"), [(0.57, 5700), (100.0, 1_000_000), (0.00019, 1), (33.3333, 333_333), (0.0, 0)]
)
def test_a_share_has_four_decimals(percent: float, share: int) -> None:
    """More are cut off."""
    assert share == per_million(Percent(value=percent))
