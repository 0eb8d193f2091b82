"""Format strings with Envoy's command operators: `%REQ(X-ID)%`, `%DOWNSTREAM_REMOTE_ADDRESS%`, `%%`.

Lifetime: config (parsing); `Facts` is what the operators read of one request. Header operations and the
access log share this grammar; `routing.operators` makes functions of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.http.flags import Flag
    from gateway.http.headers import Headers
    from gateway.http.request import Request


class FormatError(ValueError):
    """A format string that is not one; `position` is the offset of the offending character."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Operator(NamedTuple):
    """One `%NAME(argument):limit%`."""

    name: str
    argument: str = ""
    """Text between the parentheses; empty when there are none."""
    limit: int | None = None
    """Longest value in bytes; the rest is cut off."""

    @property
    def headers(self) -> tuple[str, ...]:
        """Header names of REQ and RESP, lower-case: the wanted one and, after `?`, its substitute."""
        return tuple(self.argument.lower().split("?"))


class Named(Protocol):
    """Something with a name."""

    @property
    def name(self) -> str:
        """What it is called in logs; may be empty."""


class Facts(Protocol):
    """What is known of a request when an operator is evaluated. Unknown text is empty."""

    request: Request
    """The canonical request, as it was routed."""
    request_headers: Headers
    """As they stand now: what the upstream gets or got. Request header operations replace this list."""
    response_headers: Headers
    """As they stand now; empty before there is a response. Response header operations replace this list."""
    request_authority: bytes
    """`:authority` as it stands now (after a host rewrite, what the upstream got)."""

    @property
    def request_target(self) -> bytes:
        """`:path` with query as it stands now (after a path rewrite, what the upstream got)."""

    @property
    def protocol(self) -> str:
        """`HTTP/1.1`, `HTTP/2`."""

    @property
    def start_time(self) -> float:
        """Seconds since the epoch at the first byte of the request."""

    @property
    def duration(self) -> float:
        """Seconds from first byte in to last byte out, or until now."""

    @property
    def route(self) -> Named | None:
        """The route that was chosen."""

    @property
    def status(self) -> int:
        """Response status; 0 when none was sent."""

    @property
    def flags(self) -> Sequence[Flag]:
        """Response flags in the order they were set."""

    @property
    def details(self) -> str:
        """`%RESPONSE_CODE_DETAILS%`."""

    @property
    def termination_details(self) -> str:
        """`%CONNECTION_TERMINATION_DETAILS%`."""

    @property
    def bytes_received(self) -> int:
        """Request body bytes."""

    @property
    def bytes_sent(self) -> int:
        """Response body bytes."""

    @property
    def attempts(self) -> int:
        """Upstream tries, the first included."""

    @property
    def downstream_remote_address(self) -> str:
        """Trusted client as `ip:port`; port 0 when it was read from x-forwarded-for."""

    @property
    def downstream_direct_remote_address(self) -> str:
        """Peer of the connection as `ip:port`."""

    @property
    def downstream_local_address(self) -> str:
        """Our end of the client's connection as `ip:port`."""

    @property
    def upstream_host(self) -> str:
        """Endpoint of the last attempt as `ip:port`."""

    @property
    def upstream_cluster(self) -> str:
        """Cluster name."""

    @property
    def upstream_local_address(self) -> str:
        """Our end of the upstream connection as `ip:port`."""

    @property
    def upstream_transport_failure(self) -> str:
        """Why the upstream connection failed, below HTTP."""

    @property
    def requested_server_name(self) -> str:
        """SNI of the client's connection."""

    @property
    def peer_uri_san(self) -> str:
        """URI SAN of the verified client certificate."""


_ADDRESSES = (
    "DOWNSTREAM_REMOTE",
    "DOWNSTREAM_DIRECT_REMOTE",
    "DOWNSTREAM_LOCAL",
    "UPSTREAM_REMOTE",
    "UPSTREAM_LOCAL",
)
PLAIN_OPERATORS: Final = frozenset(
    {
        "BYTES_RECEIVED",
        "BYTES_SENT",
        "CONNECTION_TERMINATION_DETAILS",
        "DOWNSTREAM_PEER_URI_SAN",
        "DURATION",
        "HOSTNAME",
        "PROTOCOL",
        "REQUESTED_SERVER_NAME",
        "RESPONSE_CODE",
        "RESPONSE_CODE_DETAILS",
        "RESPONSE_FLAGS",
        "RESPONSE_FLAGS_LONG",
        "ROUTE_NAME",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_CLUSTER_RAW",
        "UPSTREAM_HOST",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        *(f"{name}_ADDRESS" for name in _ADDRESSES),
        *(f"{name}_ADDRESS_WITHOUT_PORT" for name in _ADDRESSES),
        *(f"{name}_PORT" for name in _ADDRESSES),
    }
)
"""Operators without parentheses."""
HEADER_OPERATORS: Final = frozenset({"REQ", "RESP"})
"""Operators that take `(NAME)` or `(NAME?SUBSTITUTE)`, and a limit."""
OPERATORS: Final = PLAIN_OPERATORS | HEADER_OPERATORS | {"START_TIME", "ENVIRONMENT"}

_OPERATOR = re.compile(r"%([A-Z0-9_]+)(\([^)]*\))?(?::([0-9]{1,6}))?%")
_HEADER_NAME = re.compile(r":(?:method|path|authority|scheme)|[!#$%&'*+.^_`|~0-9a-z-]+", re.IGNORECASE)
_TIME = re.compile(r"(?:[^%]|%(?:[1-9]?f|[aAbBcdDeFgGhHIjmMnprRsStTuUVwWyYzZ%]))*")


def parse(text: str) -> tuple[str | Operator, ...]:
    """Literal pieces and operators of a format string, in order; FormatError when it is not one.

    `%%` is a percent sign. Empty literals are left out, neighbours are joined.
    """
    pieces: list[str | Operator] = []
    literal, position = "", 0
    while (percent := text.find("%", position)) >= 0:
        literal += text[position:percent]
        if text.startswith("%%", percent):
            literal, position = literal + "%", percent + 2
            continue
        match = _OPERATOR.match(text, percent)
        if match is None:
            raise FormatError("% starts an %OPERATOR%; write %% for a percent sign", percent)
        if literal:
            pieces.append(literal)
        pieces.append(_operator(match))
        literal, position = "", match.end()
    literal += text[position:]
    return (*pieces, literal) if literal else tuple(pieces)


def _operator(match: re.Match[str]) -> Operator:
    name, parentheses, limit = match.groups()
    argument = parentheses[1:-1] if parentheses else ""
    problem = None
    if name not in OPERATORS:
        problem = f"%{name}% is not an operator"
    elif name in PLAIN_OPERATORS:
        problem = f"%{name}% takes no argument" if parentheses or limit else None
    elif name in HEADER_OPERATORS:
        names = argument.split("?")
        if len(names) > 2 or not all(_HEADER_NAME.fullmatch(part) for part in names):
            problem = f"%{name}(...)% takes a header name, or two with ? between them"
    elif name == "START_TIME":
        if limit or not _TIME.fullmatch(argument):
            problem = "%START_TIME(...)% takes a strftime format"
    elif not argument:
        problem = f"%{name}(...)% takes a name"
    if problem is not None:
        raise FormatError(problem, match.start())
    return Operator(name, argument, int(limit) if limit else None)
