"""Step 2: from what the client sent to the canonical request, or to the reply that refuses it.

Lifetime: config (compiled from GatewaySettings once a generation).

What follows from the header section and the connection alone is found out once for all requests of a
connection that have the same section. Every header name is classified once and remembered, so an ordinary
header costs one dictionary look-up. Our own server has judged the head before; behind other servers `_judge`
repeats what it can.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from gateway.exchange import handshake
from gateway.exchange.trust import Trust
from gateway.http.headers import HOP_BY_HOP
from gateway.http.host import split as split_authority
from gateway.http.path import PathRules, canonical
from gateway.http.reply import Reply, bad_request
from gateway.http.request import Request
from gateway.tls import xfcc

if TYPE_CHECKING:
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.http.headers import Headers
    from gateway.http.place import Place

PASS, DROP, HOST, CONNECTION, FRAMING, LENGTH, FORWARDED_FOR, FORWARDED, REQUEST_ID, REFUSE, OFFER = range(11)

_KINDS = {
    **dict.fromkeys(HOP_BY_HOP, DROP),
    **dict.fromkeys((b"proxy", b"expect", b"http2-settings", b"x-original-url", b"x-rewrite-url"), DROP),
    b"x-forwarded-client-cert": DROP,
    b"host": HOST,
    b"connection": CONNECTION,
    b"upgrade": OFFER,
    b"transfer-encoding": FRAMING,
    b"content-length": LENGTH,
    b"x-forwarded-for": FORWARDED_FOR,
    **dict.fromkeys((b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"), FORWARDED),
    **dict.fromkeys((b"x-forwarded-prefix", b"x-real-ip", b"forwarded"), FORWARDED),
    b"x-request-id": REQUEST_ID,
}
_PROTECTED = frozenset(
    {b"host", b"authorization", b"cookie", b"content-length", b"traceparent", b"tracestate"}
)
"""Headers a client may not have dropped by naming them in Connection (C01-C03)."""
_CONNECTION_WORDS = frozenset(
    {b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"proxy-connection", b""}
)
_METHODS_REFUSED = frozenset({"CONNECT", "TRACE"})
_is_method = re.compile(r"[A-Z][A-Z0-9_-]{0,31}").fullmatch
_is_digits = re.compile(rb"[0-9]{1,18}").fullmatch
_has_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_is_request_id = re.compile(rb"[A-Za-z0-9._~:/+=-]{1,128}").fullmatch
MOST_REMEMBERED = 2048
"""Distinct header names whose kind is kept; clients choose names, so there is a limit."""

BAD_HOST = bad_request("invalid_host_header")
BAD_FRAMING = bad_request("invalid_framing")
BAD_CONNECTION = bad_request("connection_header_names_protected_header")
BAD_NAME = bad_request("header_name_with_underscore", close=False)
BAD_VALUE = bad_request("header_value_with_control_character")
BAD_METHOD = bad_request("invalid_method")
NOT_ALLOWED = bad_request("method_not_allowed", status=405)
TOO_MANY_HEADERS = bad_request("request_headers_too_many", status=431)
TOO_LONG_TARGET = bad_request("request_target_too_long", status=414)
TOO_LARGE_HEAD = bad_request("request_headers_too_large", status=431)
REPEATED = bad_request("repeated_authorization_header")

NO_BODY = -1
CHUNKED = -2
TUNNEL = -3
"""No body, but a WebSocket when the backend agrees."""
_EMPTY = frozenset({NO_BODY, 0})


class Admitted:
    """What becomes of a header section on one connection. Requests share it: nobody changes it."""

    __slots__ = (
        "authority",
        "body",
        "by",
        "client_ip",
        "header_map",
        "headers",
        "host",
        "request_id",
        "scheme",
    )

    def __init__(
        self, by: Hygiene, headers: Headers, authority: bytes, host: str, place: Place, body: int = NO_BODY
    ) -> None:
        self.by: Hygiene | None = by
        """Whose rules it was admitted by; None: not to be shared, since the method had a say as well."""
        self.headers = headers
        """What is passed on, and what we add, but for the request id."""
        self.authority = authority
        """The Host header."""
        self.host = host
        """Its host, canonical."""
        self.body = body
        """How long the request body is; `NO_BODY` or `CHUNKED`."""
        self.scheme = place.scheme
        self.client_ip = place.peer_ip
        self.request_id = ""
        """One that is believed; empty: there is none."""
        self.header_map: dict[bytes, bytes] = {}


class Hygiene:
    """Admits requests under one generation's settings."""

    def __init__(self, settings: GatewaySettingsSpec) -> None:
        self._rules = PathRules(settings.path_normalization, settings.escaped_slashes)
        self._trust = Trust(settings)
        limits = settings.limits
        self._target_bytes = limits.request_target_bytes
        self._head_bytes = limits.request_head_bytes
        self._most_headers = limits.request_headers
        self._underscore = {"ALLOW": PASS, "DROP": DROP, "REJECT": REFUSE}[settings.underscore_headers]
        self._kinds = dict(_KINDS)

    def admit(self, exchange: Exchange, downstream: Downstream) -> Reply | None:
        """Gives `exchange` its canonical request, id and body; or returns the reply that refuses it."""
        if downstream.authority is None and (refused := self._judge(downstream)) is not None:
            return refused
        path = canonical(downstream.raw_path, self._rules, downstream.query)
        if isinstance(path, Reply):
            return path
        section, place = downstream.section, downstream.place
        if section is None or section.headers is not downstream.headers:
            admitted = self._examine(downstream, place)
        elif (admitted := section.admitted) is None or admitted.by is not self:
            admitted = self._examine(downstream, place)
            if isinstance(admitted, Admitted):
                section.admitted = admitted
        if isinstance(admitted, Reply):
            return admitted
        exchange.request_id = request_id = admitted.request_id or new_request_id()
        exchange.body = admitted.body
        headers, header_map = admitted.headers.copy(), admitted.header_map.copy()
        encoded = header_map[b"x-request-id"] = request_id.encode()
        headers.append((b"x-request-id", encoded))
        exchange.request = request = Request(
            downstream.method,
            admitted.scheme,
            admitted.authority,
            admitted.host,
            path,
            downstream.query,
            headers,
            place.port,
            place.peer_ip,
            admitted.client_ip,
            header_map,
        )
        request.peer = place.peer
        request.local_ip = place.local_ip
        return None

    def _examine(  # noqa: C901, PLR0912 - one pass over the headers
        self, downstream: Downstream, place: Place
    ) -> Admitted | Reply:
        """What follows from the headers, on this connection."""
        trust = self._trust
        trusted = not trust.nobody and trust.trusts(place.peer_ip)
        host = b""
        headers: Headers = []
        special: _Special | None = None
        kind_of, keep = self._kinds.get, headers.append
        for pair in downstream.headers:
            kind = kind_of(pair[0])
            if kind is None:
                kind = self._classify(pair[0])
            if kind == PASS:
                keep(pair)
            elif kind == HOST:
                host = pair[1]
            elif kind != DROP:
                if special is None:
                    special = _Special(trusted)
                refused = special.read(kind, pair, headers)
                if refused is not None:
                    return refused
        if special is not None:
            if special.names_protected:
                return BAD_CONNECTION
            if special.nominated:
                headers = [pair for pair in headers if pair[0] not in special.nominated]
            if special.offer is not None and (refused := special.take_offer(downstream, headers)):
                return refused
        authority = downstream.authority or split_authority(host)
        if authority is None:
            return BAD_HOST
        admitted = Admitted(self, headers, host, authority[0], place)
        forwarding = place.forwarding
        if special is not None:
            admitted.body = special.body
            admitted.request_id = special.request_id
            if special.offer is not None:
                admitted.by = None
            if trusted:
                admitted.scheme = special.scheme or place.scheme
                admitted.client_ip = trust.client(place.peer_ip, special.forwarded_for)
                forwarding = special.forwarding(place.address, admitted.client_ip, admitted.scheme)
        headers += forwarding
        if place.peer is not None and place.peer.verified:
            headers.append((b"x-forwarded-client-cert", xfcc(place.peer)))
        admitted.header_map = dict(headers)
        return admitted

    def _judge(self, downstream: Downstream) -> Reply | None:
        """The rules that our own server has applied before, for requests that come from another one."""
        if downstream.method in _METHODS_REFUSED:
            return NOT_ALLOWED
        if _is_method(downstream.method) is None:
            return BAD_METHOD  # A policy that names DELETE must not miss `delete`, which some backends take.
        if len(downstream.raw_path) + len(downstream.query) > self._target_bytes:
            return TOO_LONG_TARGET
        headers = downstream.headers
        if len(headers) > self._most_headers:
            return TOO_MANY_HEADERS
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._head_bytes:
            return TOO_LARGE_HEAD
        if _has_control(b"".join([value for _, value in headers])):
            return BAD_VALUE
        names = [name for name, _ in headers]
        if names.count(b"host") > 1:
            return BAD_HOST
        return REPEATED if names.count(b"authorization") > 1 else None

    def _classify(self, name: bytes) -> int:
        kind = PASS
        if b"_" in name:
            kind = self._underscore
        elif name.startswith((b"x-envoy-", b"x-gateway-")):
            kind = DROP
        if len(self._kinds) < MOST_REMEMBERED:
            self._kinds[name] = kind
        return kind


class _Special:
    """What the headers say that are not simply passed on."""

    __slots__ = ("body", "forwarded_for", "nominated", "offer", "request_id", "scheme", "trusted")

    def __init__(self, trusted: bool) -> None:
        self.trusted = trusted
        self.body = NO_BODY
        self.forwarded_for = b""
        self.scheme = ""
        self.request_id = ""
        self.offer: bytes | None = None
        """Protocols that the client would rather speak."""
        self.nominated: frozenset[bytes] = frozenset()
        """Names that Connection makes hop-by-hop."""

    @property
    def names_protected(self) -> bool:
        """Whether a header is nominated that policies or the gateway live by."""
        return any(word in _PROTECTED or word.startswith(b"x-") for word in self.nominated)

    def forwarding(self, address: bytes, client_ip: str, scheme: str) -> tuple[tuple[bytes, bytes], ...]:
        """What upstreams are told of the client, when the peer at `address` is a trusted proxy."""
        before = self.forwarded_for
        return (
            (b"x-forwarded-for", before + b"," + address if before else address),
            (b"x-forwarded-proto", b"https" if scheme == "https" else b"http"),
            (b"x-envoy-external-address", client_ip.encode()),
        )

    def read(self, kind: int, pair: tuple[bytes, bytes], headers: Headers) -> Reply | None:
        """Takes one header, into `headers` if it is passed on; the reply when the request is refused."""
        name, value = pair
        if kind == CONNECTION:
            words = {word.strip().lower() for word in value.split(b",")}
            self.nominated |= words - _CONNECTION_WORDS
        elif kind == LENGTH:
            if self.body != NO_BODY or not _is_digits(value):
                return BAD_FRAMING
            self.body = int(value)
        elif kind == FRAMING:
            if self.body != NO_BODY or value.lower() != b"chunked":
                return BAD_FRAMING
            self.body = CHUNKED
        elif kind == REFUSE:
            return BAD_NAME
        elif kind == OFFER:
            self.offer = value if self.offer is None else self.offer + b"," + value
        elif self.trusted:
            self._believe(kind, name, value, headers)
        return None

    def take_offer(self, downstream: Downstream, headers: Headers) -> Reply | None:
        """Makes the request a handshake when that is what it offers; any other offer is ignored."""
        if self.body in _EMPTY and handshake.offered(downstream, self.offer or b""):
            if (refused := handshake.refusal(headers)) is not None:
                return refused
            self.body = TUNNEL
            headers += handshake.HEADERS
        return None

    def _believe(self, kind: int, name: bytes, value: bytes, headers: Headers) -> None:
        """Takes a forwarding header of a trusted peer; of others they are gone."""
        if kind == FORWARDED_FOR:
            self.forwarded_for = self.forwarded_for + b"," + value if self.forwarded_for else value
        elif kind == REQUEST_ID:
            if _is_request_id(value):
                self.request_id = value.decode("ascii")
        elif name == b"x-forwarded-proto":
            if value in {b"http", b"https"}:
                self.scheme = value.decode("ascii")
        else:
            headers.append((name, value))


_ids: list[str] = []
BATCH = 256
"""Request ids that are made at a time."""


def new_request_id() -> str:
    """A random UUID version 4."""
    if not _ids:
        text = os.urandom(16 * BATCH).hex()
        _ids.extend(
            f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-4{text[at + 13 : at + 16]}"
            f"-{_VARIANT[text[at + 16]]}{text[at + 17 : at + 20]}-{text[at + 20 : at + 32]}"
            for at in range(0, 32 * BATCH, 32)
        )
    return _ids.pop()


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
