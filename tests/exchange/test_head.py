"""Heads on the wire, byte for byte."""

from __future__ import annotations

from gateway.exchange.head import request_head, response_headers
from gateway.exchange.hygiene import CHUNKED, NO_BODY


def test_a_request_head_is_ours_from_the_first_byte() -> None:
    headers = [(b"a", b"1"), (b"b", b"\xe9")]

    assert request_head("GET", b"/x?y", b"h:1", headers, NO_BODY) == (
        b"GET /x?y HTTP/1.1\r\nhost: h:1\r\na: 1\r\nb: \xe9\r\n\r\n"
    )


def test_framing_is_written_anew() -> None:
    assert request_head("POST", b"/", b"h", [], 5).endswith(b"\r\ncontent-length: 5\r\n\r\n")
    assert request_head("POST", b"/", b"h", [], 0).endswith(b"\r\ncontent-length: 0\r\n\r\n")
    assert request_head("POST", b"/", b"h", [], CHUNKED).endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n")


def test_hop_by_hop_response_headers_and_those_named_by_connection_are_dropped() -> None:
    received = [
        (b"connection", b"close, X-Secret"),
        (b"x-secret", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"server", b"origin"),
        (b"date", b"today"),
    ]

    assert response_headers(received, 200, 0.0125, b"ours") == [
        (b"date", b"today"),
        (b"x-envoy-upstream-service-time", b"12"),
        (b"server", b"ours"),
    ]


def test_a_204_has_no_length_and_a_304_keeps_it() -> None:
    received = [(b"content-length", b"5")]

    assert (b"content-length", b"5") not in response_headers(received, 204, 0.0, b"")
    assert (b"content-length", b"5") in response_headers(received, 304, 0.0, b"")
