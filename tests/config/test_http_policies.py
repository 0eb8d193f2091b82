"""Retries, faults, CORS."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config.http_policies import CorsPolicy, HTTPFaultInjection, HTTPRetry


def problems(model: type[BaseModel], fields: object) -> list[tuple[str, tuple[str | int, ...], str]]:
    """(code, place, severity) of everything remarked on."""
    notices: list[object] = []
    try:
        model.model_validate(fields, context={"notices": notices})
    except ValidationError as error:
        return [
            (problem.code, (*item["loc"], *problem.at), problem.severity)
            for item in error.errors()
            for problem in item.get("ctx", {}).get("problems", ())
        ]
    return [(problem.code, problem.at, problem.severity) for _, problem in notices]


def test_the_founding_document_s_retry_policy() -> None:
    """Attempts, per-try timeout and a list of conditions."""
    retry = HTTPRetry.model_validate(
        {"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx,reset,connect-failure,refused-stream"}
    )

    assert (retry.attempts, retry.per_try_timeout, retry.backoff) == (3, 2.0, None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"attempts": 0}, []),
        ({"attempts": 0, "backoff": "1s"}, []),
        ({"attempts": 0, "perTryTimeout": "1s"}, [("GW053", ("per_try_timeout",), "error")]),
        ({"retryOn": "5xx"}, [("GW053", ("retry_on",), "error")]),
        ({"attempts": 1, "retryOn": "5xx,503,retriable-4xx"}, []),
        ({"attempts": 1, "retryOn": "5xx, reset"}, [("GW033", ("retryOn",), "error")]),
        ({"attempts": 1, "retryOn": "5xx,299"}, [("GW033", ("retryOn",), "error")]),
    ],
)
def test_retries(fields: object, expected: list[object]) -> None:
    """No settings of retries that are off; only known conditions and status codes; blanks are not trimmed."""
    assert expected == problems(HTTPRetry, fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"delay": {"percentage": {"value": 10}, "fixedDelay": "5s"}}, []),
        ({"abort": {"percentage": {"value": 5}, "httpStatus": 500}}, []),
        ({"abort": {"percentage": {"value": 0.0001}, "grpcStatus": "UNAVAILABLE"}}, []),
        ({}, [("GW032", (), "error")]),
        ({"delay": {"percentage": {"value": 10}}}, [("GW051", (), "warning")]),
        ({"delay": {"fixedDelay": "1s"}}, [("GW051", (), "warning")]),
        ({"delay": {"fixedDelay": "1s", "percent": 5}}, [("GW050", ("percent",), "warning")]),
        ({"delay": {"exponentialDelay": "1s"}}, [("GW045", ("delay", "exponentialDelay"), "error")]),
        ({"abort": {"percentage": {"value": 5}}}, [("GW051", (), "warning")]),
        ({"abort": {"httpStatus": 500}}, [("GW051", (), "warning")]),
        (
            {"abort": {"httpStatus": 500, "grpcStatus": "OK", "percentage": {"value": 1}}},
            [("GW040", ("abort", "grpcStatus"), "error")],
        ),
        (
            {"abort": {"grpcStatus": "14", "percentage": {"value": 1}}},
            [("GW033", ("abort", "grpcStatus"), "error")],
        ),
        (
            {"abort": {"httpStatus": 500, "percentage": {"value": 0.00001}}},
            [("GW037", ("abort", "percentage", "value"), "error")],
        ),
    ],
)
def test_faults(fields: object, expected: list[object]) -> None:
    """What Istio refuses, and what silently does nothing."""
    assert expected == problems(HTTPFaultInjection, fields)


@pytest.mark.parametrize("status", [199, 601])
def test_an_abort_has_a_status(status: int) -> None:
    """200 to 600."""
    with pytest.raises(ValidationError):
        HTTPFaultInjection.model_validate({"abort": {"httpStatus": status, "percentage": {"value": 1}}})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"allowOrigins": [{"exact": "https://a"}], "allowMethods": ["GET", "*"], "maxAge": "24h"}, []),
        ({"allowMethods": ["get"]}, [("GW033", ("allowMethods", 0), "error")]),
        ({"maxAge": "1.5s"}, [("GW034", ("maxAge",), "error")]),
        ({"allowOrigins": [{"regex": "*"}]}, [("GW036", ("allowOrigins", 0, "regex"), "error")]),
        ({"allowOrigin": ["*"]}, [("GW050", ("allowOrigin",), "warning")]),
    ],
)
def test_cors(fields: object, expected: list[object]) -> None:
    """Known methods, whole seconds, RE2 origins; the old list still works."""
    assert expected == problems(CorsPolicy, fields)
