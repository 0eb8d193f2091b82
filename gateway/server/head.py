"""A request head: llhttp does the grammar, `examine` the rules that llhttp leaves out.

A whole head of ordinary lines, as nearly all are, does not get that far: `plain_head` knows it.

Lifetime: request.

Theory. A head is fed to a parser of its own and ends where its first blank line ends; both have to agree.
The parser never sees a body, so it cannot disagree with us about where one ends (`Upgrade` makes httptools
skip bodies, trailers come out as headers: security.md F1, U03), and a pipelined request is not looked at
before its turn. What llhttp lets pass and we do not: two blanks in the request line, RTSP and ICE
versions, `*` for any method, a fragment, absolute-form of another authority, no or several Hosts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from gateway.http.host import split
from gateway.http.lines import Lines
from gateway.http.section import LONGEST_KEPT, Section
from gateway.server import refusal
from gateway.server.refusal import Refused

if TYPE_CHECKING:
    from gateway.http.headers import Headers
    from gateway.http.host import Authority
    from gateway.server.limits import Limits

BLANK_LINE: Final = b"\r\n\r\n"
_SINGLE = {b"host", b"authorization", b"transfer-encoding", b"content-length", b"expect"}
"""Headers whose repetition is refused: readers would disagree on which line counts."""
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
_PLAIN_UPGRADES = frozenset({b"h2c", b"h2", b"http/2.0", b"http/2", b"websocket"})
"""Offers that a server may ignore; with another one a client may already be speaking it (CVE-2026-2833)."""
_ABSOLUTE_FORM = re.compile(rb"(?i)(https?)://([^/?]*)(.*)", re.DOTALL)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Head:
    """The request line and headers of one request, found in order.

    What most heads leave as it is, is an attribute of the class.
    """

    keep_alive = True
    length = 0
    """Content-Length; 0 when there is none."""
    chunked = False
    expects_continue = False
    authority: Authority | None = None
    """The Host header, taken apart."""
    section: Section | None = None
    """What stands below the request line, when there is nothing unusual about it."""

    def __init__(self, method: str, target: bytes, headers: Headers) -> None:
        self.method = method
        self.target = target
        """As sent; absolute-form is reduced to origin-form."""
        self.headers = headers


_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}
_TARGET = bytes(byte for byte in range(0x21, 0x7F) if byte not in b'"#<>\\^`{|}')
_RARE = frozenset({b"transfer-encoding", b"content-length", b"connection", b"upgrade", b"expect"})
_PERSISTENCE = frozenset({b"close", b"keep-alive"})
_lines = Lines()


def plain_head(data: bytes, at: int, end: int, limits: Limits, before: Section | None = None) -> Head | None:
    """The head that is exactly `data[at:end]`, when there is nothing unusual about it; else None: what
    becomes of that one is for `HeadReader` to find out. Never accepts what that refuses (a property test).

    `before`: what the last request of the connection had below its request line.
    """
    if end - at > limits.request_head_bytes:
        return None
    start = data.find(b"\r\n", at)
    line = data[at:start].split(b" ")
    if len(line) != 3 or line[2] != b"HTTP/1.1":
        return None
    target = line[1]
    method = _METHODS.get(line[0])
    if method is None or target[:1] != b"/" or target.translate(None, _TARGET):
        return None
    if len(target) > limits.request_target_bytes:
        return None
    raw = data[start:end]
    section = before if before is not None and before.raw == raw else _section(raw, limits)
    if section is None:
        return None
    head = Head(method, target, section.headers)
    head.authority = section.authority
    if section.length:
        head.length = section.length
    if not section.keep_alive:
        head.keep_alive = False
    if len(raw) <= LONGEST_KEPT:
        head.section = section
    return head


def _section(raw: bytes, limits: Limits) -> Section | None:
    """None: it has to be looked at more closely."""
    headers = _lines.fields(raw[2:-4].split(b"\r\n"))
    if headers is None or len(headers) > limits.request_headers:
        return None
    values = dict(headers)
    host = values.get(b"host")
    if host is None or len(values) != len(headers):
        return None
    authority = split(host)
    if authority is None:
        return None
    if _RARE.isdisjoint(values):
        return Section(raw, headers, authority)
    if b"transfer-encoding" in values or b"upgrade" in values or b"expect" in values:
        return None
    length = values.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 18:
        return None
    if limits.request_body_bytes is not None and int(length) > limits.request_body_bytes:
        return None
    connection = values.get(b"connection", b"keep-alive").lower()
    if connection not in _PERSISTENCE:
        return None
    return Section(raw, headers, authority, int(length), keep_alive=connection != b"close")


class HeadReader(Head):
    """Reads any head, as it arrives."""

    def __init__(self) -> None:
        super().__init__("", b"", [])
        self.raw: bytes = b""
        """All bytes so far; the whole head, blank line included, once it is complete."""
        self.upgrade = False
        """The client asks for another protocol, in both Upgrade and Connection."""
        self.complete = False
        self.parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def on_url(self, piece: bytes) -> None:
        """From llhttp: a piece of the request target."""
        self.target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """From llhttp: one header line."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """From llhttp: the blank line."""
        parser = self.parser
        assert parser is not None
        self.complete = True
        self.method = parser.get_method().decode()
        self.keep_alive = parser.should_keep_alive()
        self.upgrade = parser.should_upgrade()

    def feed(self, data: bytes, at: int, limits: Limits) -> int:
        """Takes bytes of the head, from `data[at]` on. Returns where in `data` it ends, or -1 when more are
        to come. Raises Refused.
        """
        raw = self.raw
        end = _end(data, at, raw)
        room = limits.request_head_bytes - len(raw)
        if (len(data) if end < 0 else end) - at > room:
            # Parsed up to the limit and no further, so that the verdict does not depend on how bytes arrive.
            piece = data[at : at + room]
            self.raw += piece
            self._parse(piece)
            long_target = len(self.target) > limits.request_target_bytes
            raise Refused(refusal.TARGET_TOO_LONG if long_target else refusal.HEAD_TOO_LARGE)
        piece = data[at:] if end < 0 else data[at:end]
        self.raw = raw + piece if raw else piece
        self._parse(piece)
        if self.complete != (end >= 0):
            http2 = self.raw.startswith(b"PRI * HTTP/2.0\r\n")  # RFC 9113 3.4
            raise Refused(refusal.VERSION if http2 else refusal.MALFORMED)
        return end

    def _parse(self, piece: bytes) -> None:
        parser = self.parser
        assert parser is not None
        try:
            parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # raised after the head of an upgrade; what follows is not fed
        except httptools.HttpParserError as error:
            version = str(error) == "Invalid HTTP version" or parser.get_http_version() == "0.9"
            raise Refused(refusal.VERSION if version else refusal.MALFORMED) from None
        if not self.complete and self.target:
            # `GET /` and no more: HTTP/0.9 has no headers, so they are not waited for.
            named = parser.get_http_version()
            if named == "0.9" or (named == "0.0" and self.raw.endswith(b"\r\n")):
                raise Refused(refusal.VERSION)

    def examine(self, limits: Limits, scheme: str) -> None:
        """Applies every rule to a complete head, and finds how its body is framed. Raises Refused."""
        raw, headers, target = self.raw, self.headers, self.target
        if not raw.startswith(self.method.encode() + b" " + target + b" HTTP/1.1\r\n"):
            self._check_line()
        self.parser = None  # it refers back to us
        if b" \r\n" in raw or b"\t\r\n" in raw:
            # Blanks around a value are not part of it (RFC 9112 5.1); llhttp leaves those behind it.
            headers = self.headers = [(name, value.rstrip(b" \t")) for name, value in headers]
        if len(headers) > limits.request_headers:
            raise Refused(refusal.TOO_MANY_HEADERS)
        if len(target) > limits.request_target_bytes:
            raise Refused(refusal.TARGET_TOO_LONG)
        if self.method in _REFUSED_METHODS:
            raise Refused(refusal.METHOD)
        values = dict(headers)
        if len(values) != len(headers):
            _check_repeated(headers)
        host = values.get(b"host")
        if host is None:
            raise Refused(refusal.NO_HOST)
        self.authority = split(host)
        if self.authority is None:
            raise Refused(refusal.BAD_HOST)
        if target[:1] != b"/" or b"#" in target:
            self._check_target(scheme)
        if b"transfer-encoding" in values or b"content-length" in values or b"expect" in values:
            self._frame(values, limits)
        if self.upgrade:
            _check_upgrade(headers)

    def _frame(self, values: dict[bytes, bytes], limits: Limits) -> None:
        length = values.get(b"content-length")
        encoding = values.get(b"transfer-encoding")
        if encoding is not None:
            if length is not None:
                raise Refused(refusal.LENGTH_AND_ENCODING)
            if encoding.lower() != b"chunked":
                raise Refused(refusal.ENCODING)
            self.chunked = True
        elif length is not None:
            if not length.isdigit() or len(length) > 18:  # llhttp saw to it, but bodies are framed by this
                raise Refused(refusal.BAD_LENGTH)
            self.length = int(length)
            if limits.request_body_bytes is not None and self.length > limits.request_body_bytes:
                raise Refused(refusal.BODY_TOO_LARGE)
        expect = values.get(b"expect")
        if expect is not None:
            if expect.lower() != b"100-continue":
                raise Refused(refusal.EXPECTATION)
            self.expects_continue = self.chunked or self.length > 0

    def _check_line(self) -> None:
        """Finds out why the request line is not `METHOD TARGET HTTP/1.1`."""
        assert self.parser is not None
        if self.parser.get_http_version() == "0.9":
            raise Refused(refusal.VERSION)
        raw = self.raw.removeprefix(b"\r\n")  # one empty line may come before it (RFC 9112 2.2)
        line = raw[: raw.find(b"\r\n")]
        start = b"%b %b HTTP/" % (self.method.encode(), self.target)
        if not line.startswith(start):
            raise Refused(refusal.REQUEST_LINE)
        version = line[len(start) :]
        if version == b"1.0":
            raise Refused(refusal.HTTP_1_0)
        if version != b"1.1":
            raise Refused(refusal.VERSION)

    def _check_target(self, scheme: str) -> None:
        """Judges a target that is not plain origin-form; absolute-form becomes origin-form."""
        target = self.target
        if b"#" in target:
            raise Refused(refusal.TARGET)  # a fragment is not sent; some backends cut it off, some do not
        if target == b"*" and self.method == "OPTIONS":
            return
        match = _ABSOLUTE_FORM.fullmatch(target)
        if match is None:
            raise Refused(refusal.TARGET)
        named = match[1].decode().lower()
        if named != scheme:
            raise Refused(refusal.SCHEME_MISMATCH)
        authority, ours = split(match[2]), self.authority
        if authority is None:
            raise Refused(refusal.TARGET)
        assert ours is not None
        default = _DEFAULT_PORTS[scheme]
        if authority.host != ours.host or (authority.port or default) != (ours.port or default):
            raise Refused(refusal.AUTHORITY_MISMATCH)
        rest = match[3]
        if not rest and self.method == "OPTIONS":
            self.target = b"*"  # RFC 9112 3.2.4
        else:
            self.target = rest if rest.startswith(b"/") else b"/" + rest


def _end(data: bytes, at: int, before: bytes) -> int:
    """Where in `data` the first blank line ends that does so behind `at`, after the bytes `before`; or -1."""
    if before:
        end = (before[-3:] + data[at : at + 3]).find(BLANK_LINE)
        if end >= 0:
            return at + end + 4 - min(len(before), 3)
    end = data.find(BLANK_LINE, at)
    return end if end < 0 else end + 4


def _check_repeated(headers: Headers) -> None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _SINGLE and name in seen:
            if name == b"host":
                raise Refused(refusal.SEVERAL_HOSTS)
            if name == b"authorization":
                raise Refused(refusal.SEVERAL_AUTHORIZATIONS)
            if name == b"expect":
                raise Refused(refusal.EXPECTATION)
            raise Refused(refusal.SEVERAL_ENCODINGS)
        seen.add(name)


def _check_upgrade(headers: Headers) -> None:
    offers = b",".join([value for name, value in headers if name == b"upgrade"]).lower().split(b",")
    if not _PLAIN_UPGRADES.issuperset([offer.strip() for offer in offers]):
        raise Refused(refusal.UPGRADE)
