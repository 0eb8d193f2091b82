"""Errors carry Envoy's words: status, flag, details, body."""

from __future__ import annotations

import pytest

from gateway.http.flags import Flag
from gateway.upstream.errors import UpstreamError, local_reset, protocol_error, terminated


@pytest.mark.parametrize(
    ("error", "status", "flag", "details"),
    [
        (terminated(sent=True), 503, "UC", "upstream_reset_before_response_started{connection_termination}"),
        (protocol_error("why"), 502, "UPE", "upstream_reset_before_response_started{protocol_error}"),
        (local_reset(sent=False), 503, "LR", "upstream_reset_before_response_started{local_reset}"),
        (
            UpstreamError(Flag.UPSTREAM_OVERFLOW, "overflow"),
            503,
            "UO",
            "upstream_reset_before_response_started{overflow}",
        ),
    ],
)
def test_an_error_is_told_as_envoy_tells_it(
    error: UpstreamError, status: int, flag: str, details: str
) -> None:
    assert (error.status, error.flag, error.details()) == (status, flag, details)
    assert error.details(started=True) == details.replace("before", "after")
    assert error.body == (
        b"upstream connect error or disconnect/reset before headers. reset reason: " + str(error).encode()
    )


def test_the_exact_cause_is_for_people_and_not_for_the_client() -> None:
    error = protocol_error("two Content-Length headers")
    assert error.cause == "two Content-Length headers"
    assert b"Content-Length" not in error.body
