"""Properties of the protocol class over arbitrary bytes and arbitrary deliveries."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import example, given, settings
from memory import transcript

from gateway.server.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL = Limits(
    request_head_bytes=400, request_headers=6, request_target_bytes=40, chunk_extension_bytes=20,
    trailer_bytes=60, unread_body_bytes=64, request_body_bytes=200,
)  # fmt: skip
"""Limits that short inputs reach."""

TOKEN = st.text("abcXYZ019-_.!~", min_size=1, max_size=6).map(str.encode)
VALUE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), min_size=1, max_size=12
).map(lambda text: text.encode("latin-1"))
EXTENSION = st.sampled_from([b"", b"", b";a", b";a=b", b';a="b;c"', b";a;b=c"])


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` in chunks of any size, with extensions and trailers."""
    out, rest = b"", body
    while rest:
        size = draw(st.integers(1, len(rest)))
        spelling = draw(st.sampled_from([b"%x", b"%X", b"0%x"]))
        out += spelling % size + draw(EXTENSION) + b"\r\n" + rest[:size] + b"\r\n"
        rest = rest[size:]
    trailers = draw(
        st.lists(st.sampled_from([b"X-User: admin\r\n", b"Content-Length: 3\r\n", b"a:\r\n"]), max_size=2)
    )
    return out + b"0" + draw(EXTENSION) + b"\r\n" + b"".join(trailers) + b"\r\n"


@st.composite
def valid(draw: st.DrawFn) -> tuple[bytes, tuple[Any, ...]]:
    """A valid request, and what the application must see of it."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]))
    path = b"/" + draw(st.text("abc/.%20-_~", max_size=10)).encode()
    query = draw(st.sampled_from([b"", b"a=b", b"x=/?&y"]))
    extra = draw(st.lists(st.tuples(TOKEN.map(lambda name: b"x-" + name), VALUE), max_size=2))
    body = draw(st.binary(max_size=80))
    headers = [(b"Host", b"gw.test"), *extra]
    if draw(st.booleans()):
        headers.append((b"Transfer-Encoding", b"chunked"))
        framed = draw(chunked(body))
    elif body or draw(st.booleans()):
        headers.append((b"Content-Length", b"%d" % len(body)))
        framed = body
    else:
        framed = b""
    blanks = draw(st.sampled_from([b"", b" ", b" \t "]))
    framing = {b"Transfer-Encoding", b"Content-Length"}  # llhttp takes no tabs around these
    lines = b"".join(
        name + b":" + (value if name in framing else blanks + value + blanks) + b"\r\n"
        for name, value in headers
    )
    target = path + b"?" + query if query else path
    seen = (method, path, query, [(name.lower(), value) for name, value in headers], body)
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n" + framed, seen


FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"GET /\r\n",
        b"OPTIONS * HTTP/1.1\r\n", b"GET http://gw.test/ HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n",
        b"GET / RTSP/1.1\r\n", b"GET  / HTTP/1.1\r\n", b"Host: gw.test\r\n", b"Host: gw.test\r\n", b"Host: b@c\r\n",
        b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 300\r\n", b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n",
        b"Upgrade: foo\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n", b"X: y \t\r\n", b" folded\r\n", b"Authorization: a\r\n",
        b"\r\n", b"\r\n", b"\r\n", b"hello", b"5\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n",
        b"\r", b"\n", b"\x00", b"\xff", b"a", b":", b" ", b"x" * 70, b"G",
    ]
)  # fmt: skip
JUNK = st.lists(FRAGMENTS, max_size=12).map(b"".join) | st.binary(max_size=60)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid requests with a few bytes changed, or something that never was one."""
    if draw(st.booleans()):
        return draw(JUNK)
    data = bytearray(b"".join(request for request, _ in draw(st.lists(valid(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=2) | st.sampled_from([b"\r", b"\n", b"\r\n", b":"])
        )
    return bytes(data)


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10**6), max_size=6)


@settings(max_examples=150)
@given(st.lists(valid(), min_size=1, max_size=4), CUTS)
def test_valid_requests_arrive_exactly_however_they_are_cut(requests: list[Any], cuts: list[int]) -> None:
    """Pipelined, in any pieces: the application sees each whole, in order, trailers left out."""
    data = b"".join(request for request, _ in requests)
    seen, sent, ended, counts = asyncio.run(transcript(split(data, cuts)))
    assert [expected for _, expected in requests] == seen
    assert sent.count(b"HTTP/1.1 200 OK\r\n") == len(requests)
    assert (ended, counts) == ("", {})


@settings(max_examples=250)
@given(mutated(), CUTS, st.sampled_from([Limits(), SMALL]))
@example(b"GET /" + b"a" * 50 + b" HTTP/1.1\r\nHost: g\r\n" + b"x: y\r\n" * 80, [], SMALL)
@example(
    b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a" * 59 + b"\r" * 9,
    [],
    SMALL,
)
@example(
    b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"a" * 32 + b"\r\n", [], SMALL
)
@example(b" HEAD / HTTP/1.1\r\n", [], Limits())
def test_delivery_makes_no_difference(data: bytes, cuts: list[int], limits: Limits) -> None:
    """Byte by byte, in pieces or at once: the same requests reach the application, the same bytes come back,
    the connection ends the same way, and nothing is ever raised.
    """
    whole = asyncio.run(transcript([data], limits))
    assert asyncio.run(transcript([data[i : i + 1] for i in range(len(data))], limits)) == whole
    assert asyncio.run(transcript(split(data, cuts), limits)) == whole


@settings(max_examples=200)
@given(mutated())
def test_what_is_not_served_is_refused_and_closed(data: bytes) -> None:
    """After the last 200 there is at most one refusal, it closes, and nothing is read or sent behind it."""
    _, sent, ended, counts = asyncio.run(transcript([data], SMALL))
    refusals = sum(counts.values())
    assert refusals <= 1
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", sent)]
    final = [status for status in statuses if status >= 200]
    assert all(status == 200 for status in final[:-1])
    if refusals:
        assert ended in {"eof", "abort"}
        assert final == [] or final[-1] >= 400 or ended == "abort"
    assert 500 not in final
