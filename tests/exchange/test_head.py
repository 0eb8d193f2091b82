"""Heads on the wire, byte for byte."""

from __future__ import annotations

from gateway.exchange.head import request_head
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
