r"""What one exchange looks like in the access log: Istio's JSON, Istio's text, or a format of one's own.

Lifetime: config (compiled formats); the caches of quoted values are bounded.

Whatever a client sends stays one value of one line: JSON escapes it; in text, quotes, backslashes and
everything that is not printable are written as `\x22` (as nginx does). Credentials in paths and queries are
not written (`gateway.http.secrets`).
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii
from time import gmtime, strftime
from typing import TYPE_CHECKING, TypeVar

from gateway.exchange.facts import ExchangeFacts
from gateway.http.format import Operator, parse
from gateway.http.secrets import shown_target
from gateway.routing.operators import compile_format, compile_operator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.exchange.exchange import Exchange
    from gateway.http.format import Facts

    Line = Callable[[Exchange, float, float], str]
    """Exchange, end on the monotonic clock, now in seconds since the epoch -> line with its end."""

T = TypeVar("T")

quote: Callable[[str], str] = encode_basestring_ascii
LONGEST_VALUE = 4096
"""Bytes of one logged value; longer ones are cut (disk flooding)."""
LONGEST_CACHED = 1024
MOST_CACHED = 1024
"""Parts of lines that are remembered, each at most `LONGEST_CACHED` characters."""

DEFAULT_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%"'
    " %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS%"
    ' "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION%'
    ' %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%"'
    ' "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW%'
    " %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%"
    " %REQUESTED_SERVER_NAME% %ROUTE_NAME%"
)
"""Istio's default text format."""

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x22, 0x5C, *range(0x7F, 0xA1), 0xAD)}
NUMBERS = frozenset(
    {"BYTES_RECEIVED", "BYTES_SENT", "DURATION", "RESPONSE_CODE", "UPSTREAM_REQUEST_ATTEMPT_COUNT"}
)
"""Operators that are numbers in JSON when they stand alone."""


class JsonLine:
    """Formats an exchange as one line of JSON with Istio's keys; a value that is not there is null."""

    __slots__ = ("_clients", "_outcomes", "_second", "_stamp")

    def __init__(self) -> None:
        self._second = -1
        self._stamp = ""
        # Parts of lines that many requests have in common.
        self._clients: dict[object, str] = {}
        self._outcomes: dict[object, tuple[str, str, str]] = {}

    def __call__(self, exchange: Exchange, ended_at: float, now: float) -> str:
        """The line, newline included; `ended_at` is of the monotonic clock, `now` seconds since the epoch."""
        request = exchange.request
        get = request.header_map.get
        duration = ended_at - exchange.started_at
        began = now - duration
        second = int(began)
        if second != self._second:
            self._second = second
            self._stamp = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        key: object = (
            exchange.place,
            request.client_ip,
            get(b"x-forwarded-for"),
            get(b"user-agent"),
            exchange.parts[1] or request.authority,
            request.method,
        )
        client = self._clients.get(key) or self._client(exchange, key)
        key = (
            exchange.route,
            exchange.destination,
            exchange.endpoint,
            exchange.status,
            exchange.flags,
            exchange.details,
            exchange.transport_failure,
        )
        answer, upstream, route = self._outcomes.get(key) or self._outcome(exchange, key)
        connection = exchange.connection
        local = f'"{connection.local_address}"' if connection and connection.local_address else "null"
        path = shown_target(request.path, request.query)
        service = exchange.service_time
        return (
            f'{{"start_time":"{self._stamp}{int((began - second) * 1000):03d}Z"'
            f',"path":{quote(path[:LONGEST_VALUE].decode("latin-1"))}{answer}'
            f',"bytes_received":{exchange.bytes_received},"bytes_sent":{exchange.bytes_sent}'
            f',"duration":{int(duration * 1000)}'
            f',"upstream_service_time":{int(service * 1000) if service >= 0 else "null"}'
            f',"request_id":{quote(exchange.request_id)}{client}{upstream}{local}{route}'
        )

    def _outcome(self, exchange: Exchange, key: object) -> tuple[str, str, str]:
        """What the requests of a route have in common that end alike: three parts of their lines."""
        details, failure = exchange.details, exchange.transport_failure
        route, destination, endpoint = exchange.route, exchange.destination, exchange.endpoint
        parts = (
            (
                f',"response_code":{exchange.status},"response_flags":"{",".join(exchange.flags) or "-"}"'
                f',"response_code_details":{quote(details) if details else "null"}'
                f',"connection_termination_details":null'
                f',"upstream_transport_failure_reason":{quote(failure) if failure else "null"}'
            ),
            (
                f',"upstream_host":{quote(endpoint.address) if endpoint else "null"}'
                f',"upstream_cluster":{quote(destination.cluster_name) if destination else "null"}'
                f',"upstream_local_address":'
            ),
            f',"route_name":{quote(route.name) if route and route.name else "null"}}}\n',
        )
        return _remember(self._outcomes, key, parts, sum(map(len, parts)))

    def _client(self, exchange: Exchange, key: object) -> str:
        """What the requests of a connection have in common."""
        request, peer = exchange.request, exchange.request.peer
        text = (
            f',"method":{quote(request.method)},"protocol":{quote(exchange.protocol)}'
            f',"x_forwarded_for":{_value(request.header_map.get(b"x-forwarded-for"))}'
            f',"user_agent":{_value(request.header_map.get(b"user-agent"))}'
            f',"authority":{_value(exchange.parts[1] or request.authority)}'
            f',"downstream_local_address":{quote(exchange.downstream_local_address)}'
            f',"downstream_remote_address":{quote(exchange.downstream_remote_address)}'
            f',"requested_server_name":{quote(peer.sni) if peer is not None and peer.sni else "null"}'
        )
        return _remember(self._clients, key, text, len(text))


class _LoggedFacts(ExchangeFacts):
    """An exchange as the log may tell of it: without the credentials that stand in targets."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.request_target = _shown(self.request_target)
        self.request_headers = [
            (name, _shown(value) if name == b"x-envoy-original-path" else value)
            for name, value in self.request_headers
        ]


def _shown(target: bytes) -> bytes:
    path, _, query = target.partition(b"?")
    return shown_target(path, query)


def _remember(known: dict[object, T], key: object, parts: T, size: int) -> T:
    if size <= LONGEST_CACHED:
        if len(known) >= MOST_CACHED:
            known.clear()
        known[key] = parts
    return parts


def _value(value: bytes | None) -> str:
    return "null" if value is None else quote(value[:LONGEST_VALUE].decode("latin-1"))


class TextLine:
    """Formats an exchange as one line of text; a value that is not there is `-`."""

    __slots__ = ("_pieces",)

    def __init__(self, text: str = DEFAULT_TEXT) -> None:
        pieces: list[str | Callable[[Facts], bytes | None]] = []
        for piece in parse(text):
            part = piece if isinstance(piece, str) else compile_operator(piece)
            if part is None or isinstance(part, bytes):
                part = _safe(part)
            pieces.append(part)
        self._pieces = tuple(pieces)

    def __call__(self, exchange: Exchange, ended_at: float, now: float) -> str:  # noqa: ARG002 - as JsonLine
        """The line, newline included."""
        facts = _LoggedFacts(exchange)
        return (
            "".join([piece if isinstance(piece, str) else _safe(piece(facts)) for piece in self._pieces])
            + "\n"
        )


def _safe(value: bytes | None) -> str:
    if value is None:
        return "-"
    return value[:LONGEST_VALUE].decode("latin-1").translate(_ESCAPES)


class JsonFormat:
    """Formats an exchange as one line of JSON with keys of one's own.

    A value that is one operator alone is a number where Envoy makes it one, and null when it is not there.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = tuple((quote(key), _field(text)) for key, text in fields.items())

    def __call__(self, exchange: Exchange, ended_at: float, now: float) -> str:  # noqa: ARG002 - as JsonLine
        """The line, newline included."""
        facts = _LoggedFacts(exchange)
        return f"{{{','.join([f'{key}:{read(facts)}' for key, read in self._fields])}}}\n"


def _field(text: str) -> Callable[[Facts], str]:
    pieces = parse(text)
    if len(pieces) == 1 and isinstance(pieces[0], Operator):
        read = compile_operator(pieces[0])
        if not callable(read):
            fixed = "null" if read is None else quote(read.decode("latin-1"))
            return lambda _: fixed
        if pieces[0].name in NUMBERS:
            return lambda facts: "null" if (value := read(facts)) is None else value.decode("ascii")
        return lambda facts: "null" if (value := read(facts)) is None else _quoted(value)
    whole = compile_format(text, missing=b"-")
    if isinstance(whole, bytes):
        constant = quote(whole.decode("utf-8"))
        return lambda _: constant
    return lambda facts: _quoted(whole(facts))


def _quoted(value: bytes) -> str:
    return quote(value[:LONGEST_VALUE].decode("latin-1"))
