"""How a gRPC call is told apart and refused."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.flags import Flag
from gateway.http.grpc import for_call, grpc_status, is_call, percent_encode
from gateway.http.reply import Reply
from gateway.http.request import Request


@pytest.mark.parametrize(
    ("content_type", "call"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (None, False),
    ],
)
def test_a_call_is_known_by_its_content_type(content_type: bytes | None, call: bool) -> None:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    assert is_call(Request("POST", "http", b"a", "a", b"/", b"", headers)) == call


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (418, 2),
        (500, 2),
    ],
)
def test_each_status_has_a_grpc_status(status: int, code: int) -> None:
    assert grpc_status(status) == code


def test_a_reply_to_a_call_has_status_200_and_tells_the_rest_in_headers() -> None:
    reply = Reply(
        503,
        b"50% \xc3\xa9",
        Flag.UPSTREAM_OVERFLOW,
        "details",
        ((b"content-type", b"text/plain"), (b"x-envoy-overloaded", b"true")),
    )
    assert for_call(reply) == Reply(
        200,
        b"",
        Flag.UPSTREAM_OVERFLOW,
        "details",
        (
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"14"),
            (b"grpc-message", b"50%25 %C3%A9"),
            (b"x-envoy-overloaded", b"true"),
        ),
    )


def test_a_reply_without_a_body_has_no_message() -> None:
    assert for_call(Reply(404)).headers == (
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"12"),
    )


@given(st.binary())
def test_a_message_survives_its_encoding(message: bytes) -> None:
    encoded = percent_encode(message)
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert unquote_to_bytes(encoded) == message


def test_what_was_said_to_a_call_is_not_said_twice() -> None:
    """A fault names its own status; the answer's way out leaves it alone."""
    told = for_call(Reply(200, b"why"), 14)

    assert for_call(told) is told
