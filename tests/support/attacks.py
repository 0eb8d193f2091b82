"""Raw bytes of known attacks (security.md S, H, P, U), and what a server must make of them.

`/__marker` inside a body is a smuggled request: nobody may ever see it as a request of its own, unless it
honestly is one (U02).
"""

from __future__ import annotations

from dataclasses import dataclass

H = b"Host: gw.test\r\n"
MARKER = b"GET /__marker HTTP/1.1\r\nHost: gw.test\r\n\r\n"
END = b"GET /end HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /ok HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(MARKER)


def post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST /ok HTTP/1.1\r\n" + H + headers + b"\r\n" + body


def get(headers: bytes = b"", target: bytes = b"/ok", host: bytes = H) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + host + headers + b"\r\n"


@dataclass(frozen=True)
class Case:
    id: str
    sent: bytes
    statuses: tuple[int, ...]
    """Of the responses; one of 400 and above is the last one, and closes the connection."""
    reason: str = ""
    """Under which the refusal is counted."""
    seen: tuple[bytes, ...] | None = None
    """Raw paths that reach the application whole; by default the path of every 200."""


def refused(case_id: str, sent: bytes, status: int, reason: str) -> Case:
    return Case(case_id, sent, (status,), reason, ())


def accepted(case_id: str, sent: bytes, *paths: bytes) -> Case:
    paths = paths or (b"/ok",)
    return Case(case_id, sent, (200,) * len(paths), "", paths)


SMUGGLING = [
    refused("S01 CL.TE", post(LENGTH + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + MARKER), 400, "malformed_request"),
    refused("S02 TE.CL", post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"29\r\n" + MARKER + b"\r\n0\r\n\r\n"), 400, "malformed_request"),
    refused("S04 two lengths", post(LENGTH + b"Content-Length: 0\r\n", MARKER), 400, "malformed_request"),
    refused("S05 two equal lengths", post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"hi"), 400, "malformed_request"),
    refused("S06 list of lengths", post(b"Content-Length: 2, 2\r\n", b"hi"), 400, "malformed_request"),
    refused("S10 negative length", post(b"Content-Length: -2\r\n", b"hi"), 400, "malformed_request"),
    refused("S11 signed length", post(b"Content-Length: +2\r\n", b"hi"), 400, "malformed_request"),
    refused("S12 blank in length", post(b"Content-Length: 2 2\r\n", b"hi"), 400, "malformed_request"),
    refused("S13 length of 2^64", post(b"Content-Length: 18446744073709551616\r\n", b"hi"), 400, "malformed_request"),
    refused("S13 length of 10^18", post(b"Content-Length: 1000000000000000000\r\n", b"hi"), 400, "bad_content_length"),
    refused("S16 gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501, "transfer_encoding"),
    refused("S16 chunked twice in a list", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S16 gzip alone", post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S17 ,chunked with CL", post(b"Transfer-Encoding: ,chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S17 ,chunked", post(b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"), 501, "transfer_encoding"),
    refused("S19 chunked, then identity", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S19 identity, then chunked", post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400, "several_transfer_encodings"),
    refused("S20 VT before chunked", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S20 chunked in quotes", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S23 tab behind the name", post(b"Content-Length\t: 41\r\n", MARKER), 400, "malformed_request"),
    refused("S23 blank behind the name", post(b"Content-Length : 41\r\n", MARKER), 400, "malformed_request"),
    refused("S24 bare LF", b"GET /ok HTTP/1.1\n" + H + b"\r\n", 400, "malformed_request"),
    refused("S25 obs-fold", get(b"X-A: b\r\n c\r\n"), 400, "malformed_request"),
    refused("S25 folded encoding", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("S27 underscore in size", CHUNKED + b"0_2e\r\n" + MARKER + b"\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S27 0x size", CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S29 blanks before size", CHUNKED + b"   5\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S29 blank behind size", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S30 negative size", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S30 size of 17 digits", CHUNKED + b"00000000000000005\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S31 empty size", CHUNKED + b"\r\n" + MARKER, 400, "bad_chunk"),
    refused("S32 bare LF in extension", CHUNKED + b"2;\nxx\r\n4c\r\n0\r\n\r\n" + MARKER, 400, "bad_chunk"),
    refused("S33 bare CR in extension", CHUNKED + b"2\r\r;a\r\nhi\r\n0\r\n\r\n", 400, "bad_chunk"),
    accepted("S34 extension", CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    accepted("S34 quoted extension", CHUNKED + b'5;a="b;\\"c";d\r\nhello\r\n0\r\n\r\n'),
    refused("S35 extension of 128 KiB", CHUNKED + b"5;" + b"A" * 131072 + b"\r\nhello\r\n0\r\n\r\n", 400, "chunk_extension_too_long"),
    refused("S36 no line end behind the data", CHUNKED + b"5\r\nhelloX0\r\n\r\n", 400, "bad_chunk"),
    refused("S37 bare LF behind the size", CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("S38 garbage behind the last chunk", CHUNKED + b"0\r\nXX" + MARKER, 400, "bad_chunk"),
    accepted("S40 trailers", CHUNKED + b"2\r\nhi\r\n0\r\nAuthorization: Bearer x\r\nX-Forwarded-Client-Cert: URI=spiffe://td/admin\r\n\r\n"),
    accepted("S41 framing in trailers", CHUNKED + b"0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    refused("S41 trailers of 9 KiB", CHUNKED + b"0\r\n" + (b"x: " + b"y" * 1000 + b"\r\n") * 9 + b"\r\n", 431, "trailers_too_large"),
    refused("S42 HTTP/1.0 chunked", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + MARKER, 426, "http_1_0"),
    accepted("S43 GET with a body", get(LENGTH) + MARKER),
    Case("S45 garbage behind a good request", get() + b"Invalid\r\n\r\n", (200, 400), "malformed_request", (b"/ok",)),
    Case("S45 a bad request between good ones", get() + get(host=b"") + MARKER, (200, 400), "no_host", (b"/ok",)),
    refused("S46 PRI preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version"),
    refused("S47 bare CR between headers", get(b"X-A: b\rX-Smug: c\r\n"), 400, "malformed_request"),
    refused("S48 CR CR LF", b"GET /ok HTTP/1.1\r\n" + H + b"\r" + b"Z" + MARKER, 400, "malformed_request"),
    accepted("S49 an empty line before the request", b"\r\n" + get()),
    refused("S49 two empty lines before it", b"\r\n\r\n" + get(), 400, "malformed_request"),
    refused("S49 bare LF before it", b"\n" + get(), 400, "bad_request_line"),
    accepted("S50 Expect, body at once", post(b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"hi")),
    refused("S51 obfuscated Expect", post(b"Expect: y 100-continue\r\nContent-Length: 2\r\n", b"hi"), 417, "expectation"),
    refused("S52 unknown Expect", post(b"Expect: 200-ok\r\nContent-Length: 2\r\n", b"hi"), 417, "expectation"),
    refused("S52 two Expects", post(b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 2\r\n", b"hi"), 417, "expectation"),
    accepted("pipelined", get(target=b"/a") + post(b"Content-Length: 2\r\n", b"hi") + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + get(target=b"/b"), b"/a", b"/ok", b"/ok", b"/b"),
]  # fmt: skip

SYNTAX = [
    refused("H02 NUL in Host", get(host=b"Host: gw.test\x00.evil\r\n"), 400, "malformed_request"),
    refused("H04 no colon", get(b"X-NoColon\r\n"), 400, "malformed_request"),
    accepted("H06 obs-text", get(b"X-Role: adm\xefn\r\n")),
    refused("H07 blank before the first header", b"GET /ok HTTP/1.1\r\n X-First: 1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("H08 parenthesis in name", get(b"X(A): 1\r\n"), 400, "malformed_request"),
    accepted("H09 underscore: the application's setting decides", get(b"X_Forwarded_For: 6.6.6.6\r\n")),
    refused("H10 no Host", get(host=b""), 400, "no_host"),
    refused("H11 two Hosts", get(b"Host: evil.test\r\n"), 400, "several_hosts"),
    refused("H11 two equal Hosts", get(H), 400, "several_hosts"),
    refused("H12 empty Host", get(host=b"Host: \r\n"), 400, "bad_host"),
    refused("H13 path in Host", get(host=b"Host: gw.test/admin?\r\n"), 400, "bad_host"),
    refused("H14 userinfo in Host", get(host=b"Host: a@gw.test\r\n"), 400, "bad_host"),
    refused("H14 list in Host", get(host=b"Host: gw.test,evil.test\r\n"), 400, "bad_host"),
    refused("H14 port 65536", get(host=b"Host: gw.test:65536\r\n"), 400, "bad_host"),
    refused("H14 IPv6 zone", get(host=b"Host: [fe80::1%25eth0]\r\n"), 400, "bad_host"),
    accepted("H14 IPv6", get(host=b"Host: [::1]:8080\r\n")),
    accepted("H15 mixed case and port", get(host=b"Host: GW.Test:80\r\n")),
    refused("H17 method of separators", b'G=":<>(e),[T];?" /ok HTTP/1.1\r\n' + H + b"\r\n", 400, "malformed_request"),
    refused("H18 lower-case method", b"get /ok HTTP/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("H19 unknown method", b"FROB /ok HTTP/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("H20 HTTP/3.1", b"GET /ok HTTP/3.1\r\n" + H + b"\r\n", 505, "http_version"),
    refused("H20 HTTP/2.0", b"GET /ok HTTP/2.0\r\n" + H + b"\r\n", 505, "http_version"),
    refused("H20 HTTP/1.2", b"GET /ok HTTP/1.2\r\n" + H + b"\r\n", 505, "http_version"),
    refused("H20 HTTP/1.0", b"GET /ok HTTP/1.0\r\n" + H + b"\r\n", 426, "http_1_0"),
    refused("H20 RTSP/1.0", b"GET /ok RTSP/1.0\r\n" + H + b"\r\n", 400, "bad_request_line"),
    refused("H20 http/1.1", b"GET /ok http/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("H21 HTTP/0.9", b"GET /ok\r\n", 505, "http_version"),
    refused("H21 HTTP/0.9 in full", b"GET /ok HTTP/0.9\r\n\r\n", 505, "http_version"),
    refused("H22 header of 200 KiB", get(b"X-Big: " + b"A" * 204800 + b"\r\n"), 431, "request_head_too_large"),
    refused("H23 5000 headers", get(b"a: b\r\n" * 5000), 431, "too_many_headers"),
    refused("H23 101 headers", get(b"a: b\r\n" * 100), 431, "too_many_headers"),
    accepted("H23 100 headers", get(b"a: b\r\n" * 99)),
    refused("H24 target of 64 KiB", get(target=b"/" + b"a" * 65536), 414, "request_target_too_long"),
    refused("H24 target of 16 KiB and 1", get(target=b"/" + b"a" * 16384), 414, "request_target_too_long"),
    accepted("H24 target of 16 KiB", get(target=b"/" + b"a" * 16383), b"/" + b"a" * 16383),
    refused("H25 two Authorizations", get(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400, "several_authorizations"),
]  # fmt: skip

PATHS = [
    refused("P13 fragment", get(target=b"/admin#x"), 400, "bad_target"),
    refused("P16 blank in target", get(target=b"/ok a"), 400, "malformed_request"),
    refused("P16 tab in target", get(target=b"/ok\ta"), 400, "malformed_request"),
    refused("P16 two blanks before the target", get(target=b" /ok"), 400, "bad_request_line"),
    refused("P16 two blanks behind the target", get(target=b"/ok "), 400, "bad_request_line"),
    refused("P17 non-ASCII in target", get(target=b"/caf\xc3\xa9"), 400, "malformed_request"),
    accepted("P20 asterisk in path", get(target=b"/admin/*x"), b"/admin/*x"),
    accepted("P21 escaped ?", get(target=b"/ok%3fadmin=1"), b"/ok%3fadmin=1"),
    refused("P22 absolute-form, another authority", get(target=b"http://evil.test/admin"), 400, "authority_mismatch"),
    refused("P22 absolute-form, another port", get(target=b"http://gw.test:81/admin"), 400, "authority_mismatch"),
    refused("P22 absolute-form, userinfo", get(target=b"http://gw.test@evil.test/"), 400, "bad_target"),
    accepted("P22 absolute-form, same authority", get(target=b"http://GW.test:80/ok?x=1")),
    accepted("P22 absolute-form, no path", get(target=b"http://gw.test"), b"/"),
    accepted("P22 absolute-form, query only", get(target=b"http://gw.test?x"), b"/"),
    refused("P23 https on a plain listener", get(target=b"https://gw.test/ok"), 400, "scheme_mismatch"),
    refused("P23 ftp", get(target=b"ftp://gw.test/ok"), 400, "bad_target"),
    refused("P24 authority-form", get(target=b"evil.test:443"), 400, "malformed_request"),
    accepted("P28 @ in path", get(target=b"/@evil.test"), b"/@evil.test"),
    refused("P28 @evil", get(target=b"@evil.test/"), 400, "malformed_request"),
    accepted("asterisk-form of OPTIONS", get(target=b"*").replace(b"GET", b"OPTIONS"), b"*"),
    refused("asterisk-form of GET", get(target=b"*"), 400, "bad_target"),
    refused("asterisk and more", get(target=b"*x").replace(b"GET", b"OPTIONS"), 400, "bad_target"),
]  # fmt: skip

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"

UPGRADES = [
    accepted("U01 h2c", get(H2C)),
    accepted("U02 h2c, then a request that is checked like any other", get(H2C) + MARKER, b"/ok", b"/__marker"),
    accepted("U02 h2c with a body", post(H2C + LENGTH, MARKER)),
    refused("U03 unknown protocol", get(b"Connection: Upgrade\r\nUpgrade: foo\r\n") + MARKER, 403, "upgrade"),
    refused("U03 unknown beside known", get(b"Connection: Upgrade\r\nUpgrade: h2c, foo\r\n") + MARKER, 403, "upgrade"),
    refused("U03 unknown in another line", get(b"Connection: Upgrade\r\nUpgrade: foo\r\nUpgrade: h2c\r\n"), 403, "upgrade"),
    refused("U03 unknown with a body", post(b"Connection: Upgrade\r\nUpgrade: foo\r\n" + LENGTH, MARKER), 403, "upgrade"),
    accepted("U04 Upgrade that Connection does not name", get(b"Upgrade: foo\r\n")),
    refused("U06 CONNECT", b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n", 405, "method"),
    refused("U07 CONNECT with early data", b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n" + MARKER, 405, "method"),
    refused("U08 TRACE", b"TRACE /ok HTTP/1.1\r\n" + H + b"Cookie: s=1\r\n\r\n", 405, "method"),
    refused("U08 TRACK", b"TRACK /ok HTTP/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    accepted("U10 two Connection headers", get(b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")),
    refused("TLS on a plain listener", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_request"),
]  # fmt: skip

FURTHER = [
    refused("I44 chunked in another line, cut by a blank", post(b"Transfer-Encoding:\r\n\tchunked\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("I44 chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("I44 xchunked", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("I44 empty encoding", post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("I44 encoding with a byte of 0xFF", post(b"Transfer-Encoding: \xffchunked\r\n", b"0\r\n\r\n"), 400, "malformed_request"),
    refused("I45 empty length", post(b"Content-Length:\r\n", b"hi"), 400, "malformed_request"),
    refused("I45 hexadecimal length", post(b"Content-Length: 0x2\r\n", b"hi"), 400, "malformed_request"),
    refused("I45 length with an exponent", post(b"Content-Length: 2e0\r\n", b"hi"), 400, "malformed_request"),
    refused("I45 length with a point", post(b"Content-Length: 2.0\r\n", b"hi"), 400, "malformed_request"),
    refused("I45 length in other digits", post("Content-Length: \u0662\r\n".encode(), b"hi"), 400, "malformed_request"),
    refused("I46 chunk of 16 digits", CHUNKED + b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 chunk size with a sign", CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 chunk size with a point", CHUNKED + b"5.0\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 tab behind the size", CHUNKED + b"5\t\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 NUL in an extension", CHUNKED + b"5;a=\x00\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 a quote that does not end", CHUNKED + b'5;a="b\r\nhello\r\n0\r\n\r\n', 400, "bad_chunk"),
    refused("I46 one byte more than the size", CHUNKED + b"4\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 LF CR behind the data", CHUNKED + b"5\r\nhello\n\r0\r\n\r\n", 400, "bad_chunk"),
    refused("I46 a trailer without a colon", CHUNKED + b"0\r\nXX\r\n\r\n", 400, "bad_chunk"),
    refused("I46 a folded trailer", CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", 400, "bad_chunk"),
    refused("I46 bare LF behind a trailer", CHUNKED + b"0\r\nX: a\n\r\n", 400, "bad_chunk"),
    refused("I47 control byte in a value", get(b"X-A: a\x01b\r\n"), 400, "malformed_request"),
    refused("I47 DEL in a value", get(b"X-A: a\x7fb\r\n"), 400, "malformed_request"),
    refused("I47 VT in a value", get(b"X-A: a\x0bb\r\n"), 400, "malformed_request"),
    refused("I47 no name", get(b": b\r\n"), 400, "malformed_request"),
    refused("I47 blank in a name", get(b"X A: b\r\n"), 400, "malformed_request"),
    refused("I47 a name of 0x80", get(b"\x80: b\r\n"), 400, "malformed_request"),
    accepted("I47 an empty value", get(b"X-A:\r\nX-B: \t \r\n")),
    refused("I48 Host with an escape", get(host=b"Host: gw%2etest\r\n"), 400, "bad_host"),
    refused("I48 Host with a colon and no port", get(host=b"Host: gw.test:\r\n"), 400, "bad_host"),
    refused("I48 Host on port 0", get(host=b"Host: gw.test:0\r\n"), 400, "bad_host"),
    refused("I48 Host with a scheme", get(host=b"Host: http://gw.test\r\n"), 400, "bad_host"),
    refused("I48 Host with a blank", get(host=b"Host: gw.test evil.test\r\n"), 400, "bad_host"),
    refused("I48 Host of 300 bytes", get(host=b"Host: " + b"a" * 300 + b"\r\n"), 400, "bad_host"),
    refused("I48 Host with a backslash", get(host=b"Host: gw.test\\evil\r\n"), 400, "bad_host"),
    accepted("I67 Host with the root's dot", get(host=b"Host: gw.test.\r\n")),
    accepted("I67 the root's dot and a port", get(host=b"Host: GW.test.:80\r\n")),
    refused("I67 Host with two dots at its end", get(host=b"Host: gw.test..\r\n"), 400, "bad_host"),
    refused("I67 Host with an empty label", get(host=b"Host: gw..test\r\n"), 400, "bad_host"),
    refused("I67 Host with a dot before it", get(host=b"Host: .gw.test\r\n"), 400, "bad_host"),
    refused("I67 Host of a dot", get(host=b"Host: .\r\n"), 400, "bad_host"),
    refused("I48 half an IPv6 address", get(host=b"Host: [::1\r\n"), 400, "bad_host"),
    refused("I49 absolute-form without an authority", get(target=b"http:///ok"), 400, "bad_target"),
    refused("I49 absolute-form with a backslash", get(target=b"http://gw.test\\@evil.test/ok"), 400, "malformed_request"),
    refused("I49 absolute-form, a colon and no port", get(target=b"http://gw.test:/ok"), 400, "bad_target"),
    accepted("I49 scheme in capitals", get(target=b"HTTP://gw.test/ok")),
    refused("I49 a path without a slash", get(target=b"ok"), 400, "malformed_request"),
    refused("I49 a target that is a query", get(target=b"?x"), 400, "malformed_request"),
    refused("I50 a method with NUL", b"GET\x00 /ok HTTP/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("I50 a method of 40 letters", b"A" * 40 + b" /ok HTTP/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("I50 a version of three numbers", b"GET /ok HTTP/1.1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("I50 blank behind the version", b"GET /ok HTTP/1.1 \r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("I50 tabs in the request line", b"GET\t/ok\tHTTP/1.1\r\n" + H + b"\r\n", 400, "malformed_request"),
    refused("I51 WebSocket beside an unknown protocol", get(b"Connection: Upgrade\r\nUpgrade: websocket, foo\r\n") + MARKER, 403, "upgrade"),
    refused("I51 TLS by upgrade", get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n") + MARKER, 403, "upgrade"),
    accepted("I51 trailers that announce a length", post(b"Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n", b"2\r\nhi\r\n0\r\nContent-Length: 99\r\n\r\n")),
]  # fmt: skip
"""Beyond the listed ones: encodings, lengths, chunks, names, Hosts, targets, request lines, upgrades."""

CASES = SMUGGLING + SYNTAX + PATHS + UPGRADES + FURTHER
