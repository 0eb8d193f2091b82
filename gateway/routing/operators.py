"""Functions that evaluate a format string for one request.

Lifetime: config. Compiled once; what cannot change (HOSTNAME, ENVIRONMENT) is read while compiling.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from gateway.http.flags import Flag
from gateway.http.format import Facts, Operator, parse

if TYPE_CHECKING:
    from gateway.http.headers import Headers

Reader = Callable[[Facts], bytes | None]
"""Reads one operator's value; None when it is missing."""
Format = Callable[[Facts], bytes]
"""Renders a whole format string."""

_TEXTS = {
    "CONNECTION_TERMINATION_DETAILS": "termination_details",
    "DOWNSTREAM_PEER_URI_SAN": "peer_uri_san",
    "PROTOCOL": "protocol",
    "REQUESTED_SERVER_NAME": "requested_server_name",
    "RESPONSE_CODE_DETAILS": "details",
    "UPSTREAM_CLUSTER": "upstream_cluster",
    "UPSTREAM_CLUSTER_RAW": "upstream_cluster",
    "UPSTREAM_HOST": "upstream_host",
    "UPSTREAM_TRANSPORT_FAILURE_REASON": "upstream_transport_failure",
}
_NUMBERS = {
    "BYTES_RECEIVED": "bytes_received",
    "BYTES_SENT": "bytes_sent",
    "RESPONSE_CODE": "status",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": "attempts",
}
_ADDRESSES = {
    "DOWNSTREAM_REMOTE": "downstream_remote_address",
    "DOWNSTREAM_DIRECT_REMOTE": "downstream_direct_remote_address",
    "DOWNSTREAM_LOCAL": "downstream_local_address",
    "UPSTREAM_REMOTE": "upstream_host",
    "UPSTREAM_LOCAL": "upstream_local_address",
}
LONG_FLAGS = {
    Flag.NO_HEALTHY_UPSTREAM: b"NoHealthyUpstream",
    Flag.UPSTREAM_TIMEOUT: b"UpstreamRequestTimeout",
    Flag.LOCAL_RESET: b"LocalReset",
    Flag.UPSTREAM_REMOTE_RESET: b"UpstreamRemoteReset",
    Flag.UPSTREAM_CONNECT_FAILURE: b"UpstreamConnectionFailure",
    Flag.UPSTREAM_TERMINATION: b"UpstreamConnectionTermination",
    Flag.UPSTREAM_OVERFLOW: b"UpstreamOverflow",
    Flag.NO_ROUTE: b"NoRouteFound",
    Flag.DELAY_INJECTED: b"DelayInjected",
    Flag.FAULT_INJECTED: b"FaultInjected",
    Flag.RATE_LIMITED: b"RateLimited",
    Flag.RATE_LIMIT_STORE: b"RateLimitServiceError",
    Flag.EXT_AUTHZ_DENIED: b"UnauthorizedExternalService",
    Flag.CLIENT_GONE: b"DownstreamConnectionTermination",
    Flag.RETRIES_EXHAUSTED: b"UpstreamRetryLimitExceeded",
    Flag.STREAM_IDLE_TIMEOUT: b"StreamIdleTimeout",
    Flag.DOWNSTREAM_PROTOCOL_ERROR: b"DownstreamProtocolError",
    Flag.UPSTREAM_PROTOCOL_ERROR: b"UpstreamProtocolError",
    Flag.NO_CLUSTER: b"NoClusterFound",
    Flag.DURATION_TIMEOUT: b"DurationTimeout",
    Flag.OVERLOAD: b"OverloadManagerTerminated",
}
"""`%RESPONSE_FLAGS_LONG%` names."""


def compile_format(text: str, *, missing: bytes = b"") -> bytes | Format:
    """A function that renders `text`, or the bytes themselves when nothing in it varies.

    `missing` stands for values that are not there: nothing in headers, `-` in logs. FormatError (which
    configuration has excluded) when `text` is not a format.
    """
    pieces: list[bytes | Reader] = []
    for piece in parse(text):
        part = piece.encode() if isinstance(piece, str) else compile_operator(piece)
        if part is None:
            part = missing
        if isinstance(part, bytes) and pieces and isinstance(pieces[-1], bytes):
            pieces[-1] += part
        else:
            pieces.append(part)
    if not pieces:
        return b""
    if len(pieces) > 1:
        return _join(pieces, missing)
    only = pieces[0]
    return only if isinstance(only, bytes) else lambda facts: missing if (v := only(facts)) is None else v


def _join(pieces: list[bytes | Reader], missing: bytes) -> Format:
    readers = [(lambda _, fixed=piece: fixed) if isinstance(piece, bytes) else piece for piece in pieces]

    def render(facts: Facts) -> bytes:
        return b"".join([missing if (value := read(facts)) is None else value for read in readers])

    return render


def compile_operator(operator: Operator) -> Reader | bytes | None:
    """A function that reads the operator's value, or the value when it is fixed for the process's life."""
    reader = _reader(operator)
    limit = operator.limit
    if limit is None or reader is None:
        return reader
    if isinstance(reader, bytes):
        return reader[:limit]
    return lambda facts: None if (value := reader(facts)) is None else value[:limit]


def _reader(operator: Operator) -> Reader | bytes | None:  # noqa: PLR0911 - one line an operator
    name = operator.name
    match name:
        case "REQ":
            return _first_of([_request_header(header) for header in operator.headers])
        case "RESP":
            return _first_of([_header("response_headers", header) for header in operator.headers])
        case "START_TIME":
            return _start_time(operator.argument)
        case "DURATION":
            return lambda facts: b"%d" % int(facts.duration * 1000)
        case "RESPONSE_FLAGS":
            return lambda facts: ",".join(facts.flags).encode() or b"-"
        case "RESPONSE_FLAGS_LONG":
            return lambda facts: b",".join([LONG_FLAGS[flag] for flag in facts.flags]) or b"-"
        case "ROUTE_NAME":
            return lambda facts: None if facts.route is None else facts.route.name.encode() or None
        case "HOSTNAME":
            return socket.gethostname().encode()
        case "ENVIRONMENT":
            return os.environb.get(os.fsencode(operator.argument))
    if name in _TEXTS:
        return _text(_TEXTS[name])
    if name in _NUMBERS:
        number = attrgetter(_NUMBERS[name])
        return lambda facts: b"%d" % number(facts)
    return _address(name)


def _text(attribute: str) -> Reader:
    read = attrgetter(attribute)
    return lambda facts: read(facts).encode() or None


def _address(name: str) -> Reader:
    side, _, form = name.partition("_ADDRESS")
    if not form and side.endswith("_PORT"):
        read = attrgetter(_ADDRESSES[side.removesuffix("_PORT")])
        return lambda facts: read(facts).rpartition(":")[2].encode() or None
    read = attrgetter(_ADDRESSES[side])
    if form:
        return lambda facts: read(facts).rpartition(":")[0].strip("[]").encode() or None
    return lambda facts: read(facts).encode() or None


def _first_of(readers: list[Reader]) -> Reader:
    wanted, substitute = readers[0], readers[-1]
    if wanted is substitute:
        return wanted
    return lambda facts: substitute(facts) if (value := wanted(facts)) is None else value


def _request_header(name: str) -> Reader:
    match name:
        case ":method":
            return lambda facts: facts.request.method.encode()
        case ":scheme":
            return lambda facts: facts.request.scheme.encode()
        case ":authority" | "host":
            return lambda facts: facts.request_authority
        case ":path":
            return lambda facts: facts.request_target
    return _header("request_headers", name)


def _header(attribute: str, name: str) -> Reader:
    headers: Callable[[Facts], Headers] = attrgetter(attribute)
    key = name.encode()

    def read(facts: Facts) -> bytes | None:
        for header, value in headers(facts):
            if header == key:
                return value
        return None

    return read


_FRACTION = re.compile(r"%([1-9]?)f")


def _start_time(form: str) -> Reader:
    """`%START_TIME%` as `2020-01-02T03:04:05.678Z`, or in a strftime format where `%3f` is milliseconds."""
    if not form:

        def stamp(facts: Facts) -> bytes:
            seconds, milliseconds = divmod(round(facts.start_time * 10**6) // 1000, 1000)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            return b"%s.%03dZ" % (text.encode(), milliseconds)

        return stamp

    def render(facts: Facts) -> bytes:
        seconds, nanoseconds = divmod(round(facts.start_time * 10**6) * 1000, 10**9)
        digits = f"{nanoseconds:09d}"
        # `%%3f` is a percent sign and `3f`: split there first.
        parts = [part.replace("%s", str(seconds)) for part in form.split("%%")]
        plain = [_FRACTION.sub(lambda match: digits[: int(match[1] or 9)], part) for part in parts]
        return time.strftime("%%".join(plain), time.gmtime(seconds)).encode()

    return render
