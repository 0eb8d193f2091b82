"""Heads on the wire, byte for byte."""

from __future__ import annotations

from gateway.exchange.head import reply_headers, request_head
from gateway.exchange.hygiene import CHUNKED, NO_BODY
from gateway.http.reply import Reply


def test_a_request_head_is_ours_from_the_first_byte() -> None:
    headers = [(b"a", b"1"), (b"b", b"\xe9")]

    assert request_head("GET", b"/x?y", b"h:1", headers, NO_BODY) == (
        b"GET /x?y HTTP/1.1\r\nhost: h:1\r\na: 1\r\nb: \xe9\r\n\r\n"
    )


def test_framing_is_written_anew() -> None:
    assert request_head("POST", b"/", b"h", [], 5).endswith(b"\r\ncontent-length: 5\r\n\r\n")
    assert request_head("POST", b"/", b"h", [], 0).endswith(b"\r\ncontent-length: 0\r\n\r\n")
    assert request_head("POST", b"/", b"h", [], CHUNKED).endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n")


def test_not_modified_says_nothing_of_a_length() -> None:
    """It would be taken for that of the body the client has."""
    found = {status: dict(reply_headers(Reply(status), "id", b"")) for status in (200, 304)}

    assert found[200][b"content-length"] == b"0"
    assert b"content-length" not in found[304]
