"""CEL over finished exchanges: filters of the access log, tags of metrics.

Lifetime: config (compiled expressions). Only the attributes that stand in an expression are read.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gateway.config.expressions import SAMPLE, attributes
from gateway.http.flags import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.exchange.exchange import Exchange

    Read = Callable[[Exchange], Any]

FLAG_BITS = {
    Flag.NO_HEALTHY_UPSTREAM: 0x2,
    Flag.UPSTREAM_TIMEOUT: 0x4,
    Flag.LOCAL_RESET: 0x8,
    Flag.UPSTREAM_REMOTE_RESET: 0x10,
    Flag.UPSTREAM_CONNECT_FAILURE: 0x20,
    Flag.UPSTREAM_TERMINATION: 0x40,
    Flag.UPSTREAM_OVERFLOW: 0x80,
    Flag.NO_ROUTE: 0x100,
    Flag.DELAY_INJECTED: 0x200,
    Flag.FAULT_INJECTED: 0x400,
    Flag.RATE_LIMITED: 0x800,
    Flag.RATE_LIMIT_STORE: 0x2000,
    Flag.EXT_AUTHZ_DENIED: 0x1000,
    Flag.CLIENT_GONE: 0x4000,
    Flag.RETRIES_EXHAUSTED: 0x8000,
    Flag.STREAM_IDLE_TIMEOUT: 0x10000,
    Flag.DOWNSTREAM_PROTOCOL_ERROR: 0x40000,
    Flag.DURATION_TIMEOUT: 0x400000,
    Flag.UPSTREAM_PROTOCOL_ERROR: 0x800000,
    Flag.NO_CLUSTER: 0x1000000,
    Flag.OVERLOAD: 0x2000000,
}
"""`response.flags`: Envoy's bits (envoy/stream_info/stream_info.h)."""


def _header(name: bytes) -> Read:
    return lambda exchange: _text(exchange.request.header(name))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _target(exchange: Exchange) -> str:
    request = exchange.request
    path = request.path + b"?" + request.query if request.query else request.path
    return path.decode("latin-1")


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _head_size(pairs: Iterable[tuple[bytes, bytes]] | None) -> int:
    return sum(len(name) + len(value) for name, value in pairs or ())


def _duration(exchange: Exchange) -> timedelta:
    return timedelta(seconds=time.monotonic() - exchange.started_at)


def _grpc_status(exchange: Exchange) -> int | None:
    values = dict(exchange.response_headers or ())
    status = values.get(b"grpc-status", b"")
    return int(status) if status.isdigit() else None


def _port(address: str) -> int | None:
    port = address.rpartition(":")[2]
    return int(port) if port.isdigit() else None


def _peer(name: str) -> Read:
    def read(exchange: Exchange) -> Any:
        peer = exchange.request.peer
        value = None if peer is None or not peer.verified else getattr(peer, name)
        return value[0] if isinstance(value, tuple) and value else value or None

    return read


def _tls(name: str) -> Read:
    return lambda exchange: getattr(exchange.request.peer, name, None) or None


READERS: dict[tuple[str, str], Read] = {
    ("request", "path"): _target,
    ("request", "url_path"): lambda exchange: exchange.request.path.decode("latin-1"),
    ("request", "host"): lambda exchange: exchange.request.authority.decode("latin-1"),
    ("request", "scheme"): lambda exchange: exchange.request.scheme,
    ("request", "method"): lambda exchange: exchange.request.method,
    ("request", "headers"): lambda exchange: _headers(exchange.request.headers),
    ("request", "referer"): _header(b"referer"),
    ("request", "useragent"): _header(b"user-agent"),
    ("request", "time"): lambda exchange: datetime.now(UTC) - _duration(exchange),
    ("request", "id"): lambda exchange: exchange.request_id,
    ("request", "protocol"): lambda exchange: exchange.protocol,
    ("request", "query"): lambda exchange: exchange.request.query.decode("latin-1"),
    ("request", "duration"): _duration,
    ("request", "size"): lambda exchange: exchange.bytes_received,
    ("request", "total_size"): lambda exchange: (
        exchange.bytes_received + _head_size(exchange.request.headers)
    ),
    ("response", "code"): lambda exchange: exchange.status or None,
    ("response", "code_details"): lambda exchange: exchange.details or None,
    ("response", "flags"): lambda exchange: sum(FLAG_BITS[flag] for flag in set(exchange.flags)),
    ("response", "grpc_status"): _grpc_status,
    ("response", "headers"): lambda exchange: _headers(exchange.response_headers or ()),
    ("response", "size"): lambda exchange: exchange.bytes_sent,
    ("response", "total_size"): lambda exchange: exchange.bytes_sent + _head_size(exchange.response_headers),
    ("response", "backend_latency"): lambda exchange: (
        None if exchange.service_time < 0 else timedelta(seconds=exchange.service_time)
    ),
    ("source", "address"): lambda exchange: exchange.downstream_remote_address,
    ("source", "port"): lambda exchange: _port(exchange.downstream_remote_address),
    ("destination", "address"): lambda exchange: exchange.downstream_local_address,
    ("destination", "port"): lambda exchange: _port(exchange.downstream_local_address),
    ("connection", "mtls"): lambda exchange: bool(getattr(exchange.request.peer, "verified", False)),
    ("connection", "requested_server_name"): _tls("sni"),
    ("connection", "tls_version"): _tls("version"),
    ("connection", "subject_peer_certificate"): _peer("subject"),
    ("connection", "dns_san_peer_certificate"): _peer("dns_names"),
    ("connection", "uri_san_peer_certificate"): _peer("uris"),
    ("connection", "sha256_peer_certificate_digest"): _peer("digest"),
    ("upstream", "address"): lambda exchange: getattr(exchange.endpoint, "address", None),
    ("upstream", "port"): lambda exchange: _port(getattr(exchange.endpoint, "address", "")),
    ("upstream", "local_address"): lambda exchange: getattr(exchange.connection, "local_address", None),
    ("upstream", "transport_failure_reason"): lambda exchange: exchange.transport_failure or None,
    ("upstream", "request_attempt_count"): lambda exchange: (
        len(exchange.earlier) + (exchange.endpoint is not None)
    ),
    ("xds", "cluster_name"): lambda exchange: getattr(exchange.destination, "cluster_name", None),
    ("xds", "route_name"): lambda exchange: getattr(exchange.route, "name", None),
}
"""One reader for each attribute of `gateway.config.expressions.SAMPLE`; None: the attribute is absent."""


class Expression:
    """A compiled CEL expression."""

    __slots__ = ("_program", "_reads", "_roots", "text")

    def __init__(self, text: str) -> None:
        import cel  # noqa: PLC0415 - an extra, and 0.1 s

        self.text = text
        self._program = cel.compile(text)
        wanted = attributes(text)
        self._roots = tuple(sorted({root for root, _ in wanted}))
        whole = {root for root, field in wanted if not field}
        self._reads = tuple(
            (root, field, read)
            for (root, field), read in READERS.items()
            if root in whole or (root, field) in wanted
        )

    def __repr__(self) -> str:
        return f"<Expression {self.text}>"

    @property
    def constant(self) -> bool:
        """Whether no attribute stands in it."""
        return not self._roots

    def __call__(self, exchange: Exchange) -> Any:
        """Its value for an exchange; None when it fails, as for an attribute that is absent."""
        context: dict[str, dict[str, Any]] = {root: {} for root in self._roots}
        for root, field, read in self._reads:
            value = read(exchange)
            if value is not None:
                context[root][field] = value
        try:
            return self._program.execute(context)
        except Exception:  # noqa: BLE001 - many kinds, one meaning
            return None


assert {(root, field) for root, fields in SAMPLE.items() for field in fields} == set(READERS)
