"""Request heads: the short way for ordinary ones, and the long way for all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.server.head import BLANK_LINE, Head, HeadReader, plain_head
from gateway.server.limits import Limits
from gateway.server.refusal import Refused

LIMITS = Limits(request_head_bytes=600, request_headers=6, request_target_bytes=40, request_body_bytes=99)
LINES = st.one_of(
    st.sampled_from(
        [
            b"Host: a",
            b"Host: a:99999",
            b"Host: b",
            b"Connection: close",
            b"Connection: Keep-Alive",
            b"Connection: x",
            b"Content-Length: 5",
            b"Content-Length: 100",
            b"Content-Length: +5",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Upgrade: h2c",
            b"Authorization: a",
            b"Accept: */*",
            b" folded",
            b"x : y",
        ]
    ),
    st.builds(lambda name, value: name + b": " + value, st.sampled_from([b"x", b"Y"]), st.binary(max_size=6)),
)
STARTS = st.one_of(
    st.builds(
        lambda *parts: b" ".join(parts),
        st.sampled_from([b"GET", b"POST", b"HEAD", b"TRACE", b"get", b"PROPFIND", b""]),
        st.sampled_from([b"/", b"/a?b", b"*", b"/a#b", b"http://a/", b"/\xe9", b"/" + b"x" * 50, b"/a|b"]),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 "]),
    ),
    st.binary(max_size=8),
)


def seen(head: Head) -> object:
    return (
        head.method,
        head.target,
        head.headers,
        head.authority,
        head.keep_alive,
        head.length,
        head.chunked,
        head.expects_continue,
    )


@given(STARTS, st.lists(LINES, max_size=7))
@settings(max_examples=600)
def test_the_short_way_finds_what_the_long_way_finds(start: bytes, lines: list[bytes]) -> None:
    raw = b"\r\n".join([start, *lines]) + BLANK_LINE
    end = raw.find(BLANK_LINE) + len(BLANK_LINE)

    short = plain_head(raw, 0, end, LIMITS)

    if short is not None:
        reader = HeadReader()
        try:
            assert reader.feed(raw, 0, LIMITS) == end
            reader.examine(LIMITS, "http")
        except Refused as refused:
            raise AssertionError(refused.refusal) from refused
        assert seen(short) == seen(reader)


def test_an_ordinary_head_takes_the_short_way() -> None:
    raw = b"POST /a?b=%20c HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"

    head = plain_head(raw, 0, len(raw) - 5, LIMITS)

    assert head is not None
    assert (head.method, head.target, head.length, head.keep_alive) == ("POST", b"/a?b=%20c", 5, False)
    assert head.authority == ("a", 80)
