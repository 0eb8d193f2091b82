"""Hypothesis strategies for what attackers send: requests, and what becomes of them by small changes."""

from __future__ import annotations

import hypothesis.strategies as st

HOST = b"Host: gw.test\r\n"
LINES = [
    b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"HEAD /h HTTP/1.1\r\n", b"PUT //x HTTP/1.1\r\n",
    b"DELETE /admin/../x HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET http://gw.test/ HTTP/1.1\r\n",
    b"GET /%61dmin HTTP/1.1\r\n", b"GET /public/..%2fadmin HTTP/1.1\r\n", b"GET /..;/admin HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n", b"GET /\r\n", b"get / HTTP/1.1\r\n", b"GET  / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n", b"TRACE / HTTP/1.1\r\n", b"GET /#x HTTP/1.1\r\n", b"GET /\\..\\admin HTTP/1.1\r\n",
]  # fmt: skip
HEADERS = [
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 41\r\n", b"Content-Length: +5\r\n",
    b"Content-Length: 5, 5\r\n", b"Content-Length : 5\r\n", b"content-length:5\r\n", b"Content-Length: 0x5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: CHUNKED\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked\x0b\r\n", b"Transfer-Encoding:\tchunked\r\n", b"Transfer_Encoding: chunked\r\n",
    b"Transfer-Encoding: x\r\n", b"Transfer-Encoding : chunked\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive, x-user\r\n", b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n",
    b"Upgrade: websocket\r\n", b"Upgrade: foo\r\n", b"TE: trailers\r\n", b"Trailer: x\r\n", b"X-User: root\r\n",
    b"X-Forwarded-Client-Cert: By=x\r\n", b"X-Forwarded-For: 127.0.0.1\r\n", b"x_user: root\r\n", b"X-A: \xff\xfe\r\n",
    b"X-A: b\x00c\r\n", b"X-A: b\rX-B: c\r\n", b"X-A: b\n", b"X-A: b\r\n c\r\n", b"Host: evil.test\r\n", b"Host:\r\n",
    b": x\r\n", b"X A: b\r\n", b"Authorization: a\r\n", b"Cookie: a=b\r\n", b"X-Long: " + b"v" * 300 + b"\r\n",
]  # fmt: skip
MARK = b"GET /__marker HTTP/1.1\r\nHost: gw.test\r\n\r\n"
BODIES = [
    b"hello", MARK, b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"0\r\n" + MARK,
    b"5\r\nhello\r\n0\r\nX-User: root\r\n\r\n", b"5\nhello\n0\n\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"00000005\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"fffffffffffffffff\r\n", b"-1\r\n\r\n", b"5;\nx\r\nhello\r\n0\r\n\r\n",
]  # fmt: skip
BYTES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b"\x00",
    b"\x0b",
    b"\x85",
    b"\xff",
    b"0",
    b",",
]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, mostly well-formed in each part, seldom as a whole."""
    line = draw(st.sampled_from(LINES[:4]) | st.sampled_from(LINES))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=4))
    hosts = draw(st.sampled_from([[HOST], [HOST], [HOST], [], [HOST, HOST]]))
    lines = draw(st.permutations([*headers, *hosts]))
    body = draw(st.sampled_from([b"", b"", *BODIES]))
    return line + b"".join(lines) + b"\r\n" + body


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What one connection sends: requests behind each other, some bytes changed; or noise."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=120))
    data = bytearray(b"".join(draw(st.lists(requests(), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.sampled_from(BYTES) | st.binary(max_size=3))
    return bytes(data)
