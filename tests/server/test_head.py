"""Request heads: the short way for ordinary ones, and the long way for all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.section import LONGEST_KEPT
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


@given(STARTS, st.lists(LINES, max_size=5), STARTS, st.lists(LINES, max_size=5), st.booleans())
@settings(max_examples=400)
def test_what_is_known_of_the_last_head_changes_nothing(
    start: bytes, lines: list[bytes], next_start: bytes, next_lines: list[bytes], same: bool
) -> None:
    """The next head of a connection is read as if it were the first, equal or not."""
    first = b"\r\n".join([start, *lines]) + BLANK_LINE
    second = b"\r\n".join([next_start, *(lines if same else next_lines)]) + BLANK_LINE
    end, next_end = (raw.find(BLANK_LINE) + len(BLANK_LINE) for raw in (first, second))
    before = plain_head(first, 0, end, LIMITS)

    after = plain_head(second, 0, next_end, LIMITS, before.section if before is not None else None)

    alone = plain_head(second, 0, next_end, LIMITS)
    assert (after is None) == (alone is None)
    assert after is None or alone is None or seen(after) == seen(alone)


def test_the_same_headers_are_taken_apart_once() -> None:
    """Two requests of a connection share what stands below their request lines."""
    one, other = (
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
        b"PUT /b?c HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
    )

    first = plain_head(one, 0, len(one), LIMITS)
    assert first is not None
    second = plain_head(other, 0, len(other), LIMITS, first.section)

    assert second is not None
    assert second.section is first.section is not None


def test_long_headers_are_forgotten() -> None:
    """An idle connection holds no more than little of what its client sent."""
    raw = b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + LONGEST_KEPT * b"x" + BLANK_LINE

    head = plain_head(raw, 0, len(raw), Limits())

    assert head is not None
    assert head.section is None


def test_an_ordinary_head_takes_the_short_way() -> None:
    raw = b"POST /a?b=%20c HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"

    head = plain_head(raw, 0, len(raw) - 5, LIMITS)

    assert head is not None
    assert (head.method, head.target, head.length, head.keep_alive) == ("POST", b"/a?b=%20c", 5, False)
    assert head.authority == ("a", 80)
