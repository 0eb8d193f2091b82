"""Step 2: from an ASGI scope to the canonical request, or to the reply that refuses it.

Lifetime: config (compiled from GatewaySettings once a generation).

Every header name is classified once and remembered, so an ordinary header costs one dictionary look-up.
The checks a strict server has made already are repeated here where they are cheap: the same application
also runs on servers that do not make them.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from gateway.exchange.trust import Trust
from gateway.http.headers import HOP_BY_HOP
from gateway.http.host import split as split_authority
from gateway.http.path import PathRules, canonical
from gateway.http.reply import Reply, bad_request
from gateway.http.request import Request

if TYPE_CHECKING:
    from gateway.config.settings import GatewaySettingsSpec
    from gateway.http.headers import Headers

PASS, DROP, HOST, CONNECTION, FRAMING, LENGTH, FORWARDED_FOR, FORWARDED, REQUEST_ID, SINGLE, REFUSE = range(
    11
)

_KINDS = {
    **dict.fromkeys(HOP_BY_HOP, DROP),
    **dict.fromkeys((b"proxy", b"expect", b"http2-settings", b"x-original-url", b"x-rewrite-url"), DROP),
    b"x-forwarded-client-cert": DROP,
    b"host": HOST,
    b"connection": CONNECTION,
    b"transfer-encoding": FRAMING,
    b"content-length": LENGTH,
    b"x-forwarded-for": FORWARDED_FOR,
    **dict.fromkeys((b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"), FORWARDED),
    **dict.fromkeys((b"x-forwarded-prefix", b"x-real-ip", b"forwarded"), FORWARDED),
    b"x-request-id": REQUEST_ID,
    b"authorization": SINGLE,
}
_PROTECTED = frozenset(
    {b"host", b"authorization", b"cookie", b"content-length", b"traceparent", b"tracestate"}
)
"""Headers a client may not have dropped by naming them in Connection (C01-C03)."""
_CONNECTION_WORDS = frozenset(
    {b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"proxy-connection", b""}
)
_METHODS_REFUSED = frozenset({"CONNECT", "TRACE"})
_is_digits = re.compile(rb"[0-9]{1,18}").fullmatch
_is_request_id = re.compile(rb"[A-Za-z0-9._~:/+=-]{1,128}").fullmatch
MOST_REMEMBERED = 2048
"""Distinct header names whose kind is kept; clients choose names, so there is a limit."""

BAD_HOST = bad_request("invalid_host_header")
BAD_FRAMING = bad_request("invalid_framing")
BAD_CONNECTION = bad_request("connection_header_names_protected_header")
BAD_NAME = bad_request("header_name_with_underscore", close=False)
NOT_ALLOWED = bad_request("method_not_allowed", status=405)
TOO_MANY_HEADERS = bad_request("request_headers_too_many", status=431)
TOO_LONG_TARGET = bad_request("request_target_too_long", status=414)
TOO_LARGE_HEAD = bad_request("request_headers_too_large", status=431)
REPEATED = bad_request("repeated_authorization_header")

NO_BODY = -1
CHUNKED = -2


class Admitted:
    """A request that passed hygiene, and what the spine needs beside it."""

    __slots__ = ("body", "request", "request_id")

    def __init__(self, request: Request, request_id: str, body: int) -> None:
        self.request = request
        self.request_id = request_id
        self.body = body
        """Bytes of the request body; NO_BODY or CHUNKED."""


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

    def admit(self, scope: dict[str, Any]) -> Admitted | Reply:
        """The canonical request of `scope`, or the reply that refuses it."""
        if scope["method"] in _METHODS_REFUSED:
            return NOT_ALLOWED
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
        query: bytes = scope["query_string"]
        if len(raw_path) + len(query) > self._target_bytes:
            return TOO_LONG_TARGET
        path = canonical(raw_path, self._rules, query)
        if isinstance(path, Reply):
            return path
        pairs = scope["headers"]
        if len(pairs) > self._most_headers:
            return TOO_MANY_HEADERS
        client = scope.get("client")
        peer: str = client[0] if client else ""
        trust = self._trust
        trusted = not trust.nobody and trust.trusts(peer)
        sorted_out = _Headers(trusted)
        refused = sorted_out.read(pairs, self._kinds, self._classify)
        if refused is not None:
            return refused
        if sorted_out.size > self._head_bytes:
            return TOO_LARGE_HEAD
        host = split_authority(sorted_out.authority)
        if host is None:
            return BAD_HOST
        server = scope.get("server")
        request_id = sorted_out.request_id or new_request_id()
        scheme = sorted_out.scheme or scope["scheme"]
        headers = sorted_out.headers
        client_ip, address = peer, peer.encode()
        forwarded_for = address
        if trusted:
            client_ip = trust.client(peer, sorted_out.forwarded_for)
            address = client_ip.encode()
            if sorted_out.forwarded_for:
                forwarded_for = sorted_out.forwarded_for + b"," + forwarded_for
        headers += (
            (b"x-forwarded-for", forwarded_for),
            (b"x-forwarded-proto", b"https" if scheme == "https" else b"http"),
            (b"x-envoy-external-address", address),
            (b"x-request-id", request_id.encode()),
        )
        request = Request(
            scope["method"],
            scheme,
            sorted_out.authority,
            host[0],
            path,
            query,
            headers,
            (server[1] or 0) if server else 0,
            peer,
            client_ip,
        )
        return Admitted(request, request_id, sorted_out.body)

    def _classify(self, name: bytes) -> int:
        kind = PASS
        if b"_" in name:
            kind = self._underscore
        elif name.startswith((b"x-envoy-", b"x-gateway-")):
            kind = DROP
        if len(self._kinds) < MOST_REMEMBERED:
            self._kinds[name] = kind
        return kind


class _Headers:
    """One pass over a request's headers."""

    __slots__ = (
        "authority",
        "body",
        "forwarded_for",
        "headers",
        "nominated",
        "request_id",
        "scheme",
        "singles",
        "size",
        "trusted",
    )

    def __init__(self, trusted: bool) -> None:
        self.trusted = trusted
        self.headers: Headers = []
        self.authority = b""
        self.body = NO_BODY
        self.forwarded_for = b""
        self.scheme = ""
        self.request_id = ""
        self.nominated: list[bytes] | None = None
        self.singles = 0
        self.size = 0

    def read(self, pairs: Headers, kinds: dict[bytes, int], classify: Any) -> Reply | None:
        """Sorts every header; the reply when the request is refused."""
        headers = self.headers
        size = 0
        for pair in pairs:
            name, value = pair
            size += len(name) + len(value) + 4
            kind = kinds.get(name)
            if kind is None:
                kind = classify(name)
            if kind == PASS:
                headers.append(pair)
            elif kind != DROP:
                refused = self._special(kind, pair)
                if refused is not None:
                    return refused
        self.size = size
        if self.nominated is not None:
            return self._drop_nominated()
        return None

    def _special(self, kind: int, pair: tuple[bytes, bytes]) -> Reply | None:
        name, value = pair
        if kind == HOST:
            if self.authority:
                return BAD_HOST
            self.authority = value
        elif kind == CONNECTION:
            words = [word.strip().lower() for word in value.split(b",")]
            self.nominated = [
                *(self.nominated or ()),
                *(word for word in words if word not in _CONNECTION_WORDS),
            ]
        elif kind == LENGTH:
            if self.body != NO_BODY or not _is_digits(value):
                return BAD_FRAMING
            self.body = int(value)
        elif kind == FRAMING:
            if self.body != NO_BODY or value.lower() != b"chunked":
                return BAD_FRAMING
            self.body = CHUNKED
        elif kind == SINGLE:
            self.singles += 1
            if self.singles > 1:
                return REPEATED
            self.headers.append(pair)
        elif kind == REFUSE:
            return BAD_NAME
        elif self.trusted:
            self._believe(kind, name, value)
        return None

    def _believe(self, kind: int, name: bytes, value: bytes) -> None:
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
            self.headers.append((name, value))

    def _drop_nominated(self) -> Reply | None:
        nominated = frozenset(self.nominated or ())
        if not nominated:
            return None
        if any(word in _PROTECTED or word.startswith(b"x-") for word in nominated):
            return BAD_CONNECTION
        self.headers = [pair for pair in self.headers if pair[0] not in nominated]
        return None


_pool = b""
_pool_at = 0


def new_request_id() -> str:
    """A random UUID version 4; random bytes are drawn for 256 of them at a time."""
    global _pool, _pool_at  # noqa: PLW0603 - a pool of random bytes is the process's
    if _pool_at >= len(_pool):
        _pool, _pool_at = os.urandom(4096), 0
    text = _pool[_pool_at : _pool_at + 16].hex()
    _pool_at += 16
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"
