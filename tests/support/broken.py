"""What hostile and broken backends send (security.md R), and what a client must get."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Evil: 1\r\n\r\nEVIL!"
CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"
BOMB = zlib.compress(bytes(10 << 20), 9)


@dataclass(frozen=True)
class Play:
    """What the backend does, and what the client must get."""

    id: str
    sent: bytes
    status: int
    """0: the response is cut off after its head."""
    body: bytes = b""
    method: str = "GET"
    closes: bool = False
    """The backend closes behind its bytes."""
    has: tuple[tuple[str, str], ...] = ()
    """Headers the client gets."""
    lacks: tuple[str, ...] = ("transfer-encoding",)
    """Headers it does not get."""


def head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


PLAYS = [
    Play("R01 length and encoding", head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", 502),
    Play("R01 encoding and length", head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"5\r\nhello\r\n0\r\n\r\n", 502),
    Play("R02 two lengths", head(b"Content-Length: 5", b"Content-Length: 6") + b"hello!", 502),
    Play("R02 two equal lengths", head(b"Content-Length: 5", b"Content-Length: 5") + b"hello", 502),
    Play("R02 a list of lengths", head(b"Content-Length: 5, 5") + b"hello", 502),
    Play("R02 a signed length", head(b"Content-Length: +5") + b"hello", 502),
    Play("R03 304 with a length", head(b"Content-Length: 100", status=b"304 Not Modified"), 304, has=(("content-length", "100"),)),
    Play("R04 204 with a body", head(b"Content-Length: 5", status=b"204 No Content") + b"hello", 204, lacks=("content-length",)),
    Play("R04 204 and a second response", head(status=b"204 No Content") + EVIL, 204, lacks=("x-evil",)),
    Play("R05 a second response", head(b"Content-Length: 5") + b"hello" + EVIL, 200, b"hello", lacks=("x-evil",)),
    Play("R05 a second response behind chunks", head(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n" + EVIL, 200, b"hello", lacks=("x-evil",)),
    Play("R05 one byte too many", head(b"Content-Length: 5") + b"hello!", 200, b"hello"),
    Play("R05 a line end too many", head(b"Content-Length: 5") + b"hello\r\n", 200, b"hello"),
    Play("R06 HEAD with a body", head(b"Content-Length: 5") + b"EVIL!", 200, method="HEAD", has=(("content-length", "5"),)),
    Play("R06 HEAD and a second response", head(b"Content-Length: 5") + EVIL, 200, method="HEAD", lacks=("x-evil",)),
    Play("R06 304 with a body", head(status=b"304 Not Modified") + EVIL, 304, lacks=("x-evil",)),
    Play("R07 folded header", head(b"X-A: b\r\n c", b"Content-Length: 2") + b"ok", 502),
    Play("R08 bare CR", head(b"X-A: b\rX-Evil: 1", b"Content-Length: 2") + b"ok", 502),
    Play("R08 NUL", head(b"X-A: b\x00c", b"Content-Length: 2") + b"ok", 502),
    Play("R09 bare LF", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 502, closes=True),
    Play("R09 bare LF in one header", b"HTTP/1.1 200 OK\r\nX-A: b\nX-Evil: 1\r\nContent-Length: 2\r\n\r\nok", 502),
    Play("R10 obs-text", head(b"X-Name: caf\xe9", b"Content-Length: 2") + b"ok", 200, b"ok", has=(("x-name", "caf\xe9"),)),
    Play("R11 header of 200 KiB", head(b"X-Big: " + b"a" * 204800, b"Content-Length: 2") + b"ok", 502),
    Play("R12 300 headers", head(*[b"X-A: b"] * 300, b"Content-Length: 2") + b"ok", 502),
    Play("R13 early hints", head(b"Link: </a>; rel=preload", status=b"103 Early Hints") + head(b"Content-Length: 2") + b"ok", 200, b"ok"),
    Play("R14 100 without end", head(status=b"100 Continue") * 2000 + head(b"Content-Length: 2") + b"ok", 502),
    Play("R15 a body cut off", head(b"Content-Length: 50") + b"part", 502, closes=True),
    Play("R15 a long body cut off", head(b"Content-Length: 50000") + b"part", 0, closes=True),
    Play("R15 chunks cut off", head(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n", 0, closes=True),
    Play("R16 a body up to the end", head() + b"hello", 200, b"hello", closes=True, has=(("transfer-encoding", "chunked"),), lacks=()),
    Play("R17 status 999", head(b"Content-Length: 2", status=b"999 Odd") + b"ok", 502),
    Play("R17 status 099", head(b"Content-Length: 2", status=b"099 Odd") + b"ok", 502),
    Play("R17 status of two digits", head(b"Content-Length: 2", status=b"20 OK") + b"ok", 502),
    Play("R17 control characters in the reason", head(b"Content-Length: 2", status=b"200 O\x1b[2JK") + b"ok", 502),
    Play("R18 trailers", head(b"Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\nX-Evil: 1\r\nSet-Cookie: a=b\r\n\r\n", 200, b"ok", lacks=("x-evil", "set-cookie")),
    Play("R19 unsolicited 101", head(b"Upgrade: foo", b"Connection: Upgrade", status=b"101 Switching Protocols") + b"EVIL!", 502),
    Play("R20 named hop-by-hop", head(b"Connection: X-Secret, close", b"X-Secret: 1", b"Keep-Alive: timeout=1", b"Content-Length: 2") + b"ok", 200, b"ok", lacks=("x-secret", "keep-alive", "upgrade")),
    Play("R21 compressed zeros", head(b"Content-Encoding: deflate", b"Content-Length: %d" % len(BOMB)) + BOMB, 200, BOMB, has=(("content-encoding", "deflate"),)),
    Play("R22 redirect to the metadata service", head(b"Location: http://169.254.169.254/", b"Content-Length: 0", status=b"302 Found"), 302, has=(("location", "http://169.254.169.254/"),)),
    Play("I26 Connection names Content-Length", head(b"Connection: content-length", b"Content-Length: 5") + b"hello", 502),
    Play("I26 Connection names Date", head(b"Connection: date", b"Date: x", b"Content-Length: 2") + b"ok", 200, b"ok"),
    Play("I52 chunked twice", head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n", 502),
    Play("I52 identity and a length", head(b"Transfer-Encoding: identity", b"Content-Length: 2") + b"ok", 502),
    Play("I52 an empty length", head(b"Content-Length:") + b"ok", 502),
    Play("I52 a length of 23 digits", head(b"Content-Length: " + b"9" * 23) + b"ok", 502),
    Play("I52 an encoding that Connection names", head(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
    Play("I53 a blank behind the chunk size", head(b"Transfer-Encoding: chunked") + b"2 \r\nok\r\n0\r\n\r\n", 0),
    Play("I53 bare LF behind the chunk size", head(b"Transfer-Encoding: chunked") + b"2\nok\r\n0\r\n\r\n", 0),
    Play("I53 an extension of 70 KB", head(b"Transfer-Encoding: chunked") + b"2;" + b"x" * 70000 + b"\r\nok\r\n0\r\n\r\n", 0),
    Play("I54 DEL in a value", head(b"X-A: a\x7fb", b"Content-Length: 2") + b"ok", 502),
    Play("I54 a line without a colon", head(b"X-A", b"Content-Length: 2") + b"ok", 502),
    Play("I54 a name that is no ASCII", head(b"\xefX-A: b", b"Content-Length: 2") + b"ok", 502),
    Play("I54 an empty line before the status", b"\r\n" + head(b"Content-Length: 2") + b"ok", 502),
    Play("I54 a status with a sign", head(b"Content-Length: 2", status=b"+200 OK") + b"ok", 502),
    Play("I54 HTTP/2.0 in the status line", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 502),
    Play("I55 early hints with a length", head(b"Content-Length: 5", status=b"103 Early Hints") + b"EVIL!" + head(b"Content-Length: 2") + b"ok", 502),
    Play("I55 304 with chunks", head(b"Transfer-Encoding: chunked", status=b"304 Not Modified") + b"5\r\nEVIL!\r\n0\r\n\r\n", 304),
    Play("I55 204 with chunks", head(b"Transfer-Encoding: chunked", status=b"204 No Content") + b"5\r\nEVIL!\r\n0\r\n\r\n", 204),
    Play("I55 an upgrade that was accepted unasked", head(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: x", status=b"101 Switching Protocols") + EVIL, 502),
    Play("I56 headers of the connection to us", head(b"Proxy-Authenticate: Basic", b"Trailer: X-A", b"Upgrade: h2c", b"TE: gzip", b"Content-Length: 2") + b"ok", 200, b"ok", lacks=("proxy-authenticate", "trailer", "upgrade", "te")),
    Play("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", 502),
    Play("HTTP/2 preface", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", 502, closes=True),
    Play("HTTP/1.0 with chunks", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + EVIL, 200, b"ok", lacks=("x-evil",)),
    Play("gzip before chunked", head(b"Transfer-Encoding: gzip, chunked") + b"2\r\nok\r\n0\r\n\r\n", 502),
    Play("a chunk size that overflows", head(b"Transfer-Encoding: chunked") + b"10000000000000002\r\nok\r\n0\r\n\r\n", 0),
    Play("a negative chunk size", head(b"Transfer-Encoding: chunked") + b"-2\r\nok\r\n0\r\n\r\n", 0),
    Play("blank in a header name", head(b"X A: b", b"Content-Length: 2") + b"ok", 502),
    Play("blank before the colon", head(b"Content-Length : 2") + b"ok", 502),
    Play("our own headers", head(b"Server: evil", b"X-Envoy-Upstream-Service-Time: 9", b"Content-Length: 2") + b"ok", 200, b"ok", has=(("server", "asgi-gateway"),)),
    Play("no bytes at all", b"", 503, closes=True),
]  # fmt: skip
