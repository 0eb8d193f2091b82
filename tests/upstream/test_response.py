"""The grammar of responses, without a socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.flags import Flag
from gateway.upstream.errors import UpstreamError
from gateway.upstream.response import (
    MAX_CHUNK_OVERHEAD,
    ChunkedBody,
    Framing,
    ResponseHead,
    check_partial_head,
    frame,
    judged,
    parse_head,
)

OK = b"HTTP/1.1 200 OK\r\n"


def parse(raw: bytes, *, to_head: bool = False, max_headers: int = 200) -> ResponseHead:
    return parse_head(raw, to_head=to_head, max_headers=max_headers)


def test_a_head_is_told_as_it_came_with_lower_case_names() -> None:
    head = parse(b"HTTP/1.1 201 Very Created\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Caf: caf\xe9\r\n\r\n")
    assert (head.status, head.reason) == (201, b"Very Created")
    assert head.headers == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-caf", b"caf\xe9")]


@pytest.mark.parametrize(
    ("lines", "framing", "length", "keep_alive"),
    [
        (b"Content-Length: 5\r\n", Framing.SIZED, 5, True),
        (b"Content-Length: 5 \r\n", Framing.SIZED, 5, True),
        (b"Content-Length: 0\r\n", Framing.SIZED, 0, True),
        (b"Content-Length: 0\r\nConnection: close\r\n", Framing.SIZED, 0, False),
        (b"Content-Length: 5\r\nConnection: close\r\nConnection: keep-alive\r\n", Framing.SIZED, 5, False),
        (b"Content-Length: 0\r\nConnection: x, Close\r\n", Framing.SIZED, 0, False),
        (b"Transfer-Encoding: Chunked\r\n", Framing.CHUNKED, 0, True),
        (b"", Framing.CLOSE, 0, False),
        (b"Connection: keep-alive\r\n", Framing.CLOSE, 0, False),
    ],
)
def test_framing_of_a_body(lines: bytes, framing: Framing, length: int, keep_alive: bool) -> None:
    head = parse(OK + lines + b"\r\n")
    assert (head.framing, head.length, head.keep_alive) == (framing, length, keep_alive)


@pytest.mark.parametrize(
    ("raw", "to_head", "keep_alive"),
    [
        (OK + b"Content-Length: 100\r\n\r\n", True, True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", True, True),
        (OK + b"\r\n", True, True),
        (OK + b"Connection: close\r\n\r\n", True, False),
        (b"HTTP/1.0 200 OK\r\n\r\n", True, False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", True, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", False, True),
        (b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\nContent-Length: 100\r\n\r\n", False, False),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", False, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", False, True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", False, False),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", False, False),
    ],
)
def test_head_204_and_304_have_no_body(raw: bytes, to_head: bool, keep_alive: bool) -> None:
    """What may still follow such a head keeps the connection from being used again (R03, R04, R06)."""
    head = parse(raw, to_head=to_head)
    assert (head.framing, head.keep_alive) == (Framing.NONE, keep_alive)


def test_204_loses_its_framing_headers_and_304_keeps_them() -> None:
    """RFC 9110 8.6: no Content-Length in 204, and in 304 it tells the size of the unmodified body."""
    empty = parse(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\nX: 1\r\n\r\n")
    unmodified = parse(b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n")
    assert (empty.headers, unmodified.headers) == ([(b"x", b"1")], [(b"content-length", b"5")])


def test_chunked_in_http_1_0_is_the_last_response_of_its_connection() -> None:
    """RFC 9112 6.1: a sender that old cannot mean it, so nothing after it is trusted."""
    head = parse(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (head.framing, head.keep_alive) == (Framing.CHUNKED, False)


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5, 5\r\n\r\n",
        OK + b"Content-Length: +5\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 5 5\r\n\r\n",
        OK + b"Content-Length:\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        OK + b"X: a\r\n b\r\n\r\n",
        OK + b" X: a\r\n\r\n",
        OK + b"X: a\rb\r\n\r\n",
        OK + b"X: a\nY: b\r\n\r\n",
        OK + b"X: a\x00b\r\n\r\n",
        OK + b"X : a\r\n\r\n",
        OK + b": a\r\n\r\n",
        OK + b"X\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"HTTP/1.1 200 O\x1bK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 000 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/1.1 999 High\r\n\r\n",
        b"HTTP/1.1 20 Short\r\n\r\n",
        b"HTTP/1.1 2000 Long\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_response_in_doubt_is_a_protocol_error(raw: bytes) -> None:
    """What two parsers could read differently is refused with 502 (security.md R01-R19)."""
    with pytest.raises(UpstreamError) as caught:
        parse(raw)
    assert (caught.value.flag, caught.value.status) == (Flag.UPSTREAM_PROTOCOL_ERROR, 502)


def test_headers_are_counted() -> None:
    at_limit = OK + b"X: 1\r\n" * 3 + b"\r\n"
    assert len(parse(at_limit, max_headers=3).headers) == 3
    with pytest.raises(UpstreamError, match="protocol error"):
        parse(at_limit, max_headers=2)


_TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=12).map(lambda text: b"x" + text.encode())
_VALUE = st.binary(max_size=30).map(lambda raw: bytes(c for c in raw if c >= 33 and c != 127))


@given(st.lists(st.tuples(_TOKEN, _VALUE), max_size=20), st.integers(200, 599).filter(lambda s: s != 204))
@settings(max_examples=150)
def test_any_valid_head_is_told_unchanged(headers: list[tuple[bytes, bytes]], status: int) -> None:
    raw = b"HTTP/1.1 %d R\r\n" % status + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n"
    head = parse(raw)
    assert head.headers == [(name.lower(), value) for name, value in headers]
    assert head.status == status


@given(
    st.binary(max_size=80),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: "]),
)
@settings(max_examples=300)
def test_any_bytes_are_a_head_or_an_upstream_error(junk: bytes, before: bytes) -> None:
    try:
        head = parse(before + junk + b"\r\n\r\n")
    except UpstreamError:
        return
    assert 100 <= head.status <= 599
    assert not any(c in value for _, value in head.headers for c in (0, 10, 13))


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0", b"HTTP/2", b"HTTP/1.1 200 OK\n", b"\r\n", b"HTTP/1.1 200 OK\r\nX: 1\nY"]
)
def test_a_hopeless_beginning_is_refused_before_the_end_of_the_head(raw: bytes) -> None:
    """A server of another protocol would otherwise be waited for until a timeout."""
    with pytest.raises(UpstreamError):
        check_partial_head(bytearray(raw), 1000)


def test_a_promising_beginning_is_waited_for() -> None:
    whole = b"HTTP/1.1 200 OK\r\nX: 1\r"
    for end in range(len(whole) + 1):
        check_partial_head(bytearray(whole[:end]), 1000)


def test_a_beginning_beyond_the_limit_is_refused() -> None:
    with pytest.raises(UpstreamError) as caught:
        check_partial_head(bytearray(OK + b"X: " + b"a" * 100), 60)
    assert "larger than 60" in caught.value.cause


# -- chunked bodies ----------------------------------------------------------------------------


def chunked(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n" + trailers + b"\r\n"


def feed(*pieces: bytes) -> tuple[ChunkedBody, bytes]:
    body = ChunkedBody()
    received = b""
    for piece in pieces:
        received += b"".join(body.feed(piece))
        if body.complete:
            break
    return body, received


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
@settings(max_examples=200)
def test_any_cutting_of_a_chunked_body_gives_the_same_bytes(pieces: list[bytes], data: st.DataObject) -> None:
    raw = chunked(pieces, b"grpc-status: 0\r\n")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=8)))
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    body, received = feed(*parts)
    assert (body.complete, received) == (True, b"".join(pieces))


def test_the_usual_ways_a_body_ends_leave_no_surplus() -> None:
    for parts in (
        [chunked([b"abc"])],
        [b"3\r\nabc\r\n", b"0\r\n\r\n"],
        [b"0\r\n\r\n"],
        [b"1\r\na\r\n0\r\nt: 1\r\n\r\n"],
    ):
        body, _ = feed(*parts)
        assert (body.complete, body.surplus) == (True, False), parts


@pytest.mark.parametrize("more", [b"\r\n", b"\n", b"H", b"HTTP/1.1 200 OK\r\n\r\n", b"\0", b"\r\n\r\n"])
def test_bytes_beyond_the_end_are_a_surplus(more: bytes) -> None:
    body, received = feed(chunked([b"abc"]) + more)
    assert (body.complete, body.surplus, received) == (True, True, b"abc")


def test_an_end_too_short_to_judge_counts_as_surplus() -> None:
    """The last piece alone cannot show that no empty line slipped in before it; then the connection goes."""
    body, _ = feed(b"0\r\n\r", b"\n")
    assert (body.complete, body.surplus) == (True, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"3\nabc\n0\n\n",
        b"x\r\n",
        b"-3\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"\r\n",
        b" 3\r\nabc\r\n",
        b"1_0\r\n",
        b"f" * 17 + b"\r\n",
    ],
)
def test_a_malformed_chunk_is_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        feed(raw)


def test_endless_trailers_are_a_protocol_error() -> None:
    """llhttp would collect them without end; a body with that much nothing in it is an attack."""
    body = ChunkedBody()
    body.feed(b"1\r\na\r\n0\r\nx: ")
    for _ in range(MAX_CHUNK_OVERHEAD // 1000):
        body.feed(b"y" * 1000)
    with pytest.raises(UpstreamError) as caught:
        body.feed(b"y" * 1000)
    assert "too large" in caught.value.cause


def test_hop_by_hop_headers_and_those_named_by_connection_are_dropped() -> None:
    """What is the connection's own affair, or the gateway's to say, is not passed on."""
    head = parse(
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Transfer-Encoding: chunked\r\nServer: origin\r\nX-Envoy-Upstream-Service-Time: 7\r\n"
        b"Date: today\r\n\r\n"
    )

    assert head.headers == [(b"date", b"today")]
    assert head.dated


def test_a_204_has_no_length_and_a_304_keeps_it() -> None:
    """RFC 9110 8.6."""
    assert parse(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").headers == []
    assert parse(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").headers == [
        (b"content-length", b"5")
    ]


@given(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 404 Not Found",
            b"HTTP/1.1 200 Fine",
            b"HTTP/1.0 200 OK",
            b"HTTP/1.1 204 No Content",
            b"HTTP/1.1 304 Not Modified",
        ]
    ),
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    b"Server: x",
                    b"Connection: close",
                    b"Content-Length: 5",
                    b"Transfer-Encoding: chunked",
                    b"Connection: keep-alive",
                    b"Connection: x-b, Keep-Alive",
                    b"Transfer-Encoding: gzip",
                    b"Date: today",
                    b"grpc-status: 7",
                    b"X-B: c",
                    b"Content-Length: x",
                    b"Keep-Alive: 5",
                ]
            ),
            st.builds(
                lambda name, blank, value: name + b":" + blank + value,
                st.sampled_from([b"A", b"x-b", b"a b", b"", b"Connection", b"Content-Length"]),
                st.sampled_from([b"", b" ", b"\t ", b"\x0b"]),
                st.binary(max_size=6),
            ),
            st.binary(max_size=8),
        ),
        max_size=5,
    ),
)
@settings(max_examples=600)
def test_known_lines_are_read_as_the_parser_reads_them(status: bytes, lines: list[bytes]) -> None:
    """The short way accepts nothing that llhttp refuses, and finds the same in what both accept."""
    raw = b"\r\n".join([status, *lines]) + b"\r\n\r\n"
    if raw.find(b"\r\n\r\n") != len(raw) - 4:
        return

    assert outcome(raw, parse) == outcome(raw, by_llhttp)


def by_llhttp(raw: bytes) -> ResponseHead:
    head, fields = judged(raw)
    frame(head, fields, to_head=False, old=raw.startswith(b"HTTP/1.0"))
    return head


def outcome(raw: bytes, read: Callable[[bytes], ResponseHead]) -> object:
    try:
        head = read(raw)
    except UpstreamError:
        return None
    headers = [(name, value.rstrip(b" \t")) for name, value in head.headers]
    kept = head.status, head.reason, headers, head.framing, head.length, head.keep_alive
    return *kept, head.dated, head.grpc
