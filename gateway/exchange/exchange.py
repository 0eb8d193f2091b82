"""The record of one request: what was asked, what was decided, how it ended.

Lifetime: request. The spine fills it in; telemetry reads it once, when the exchange is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.flags import Flag
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    import asyncio

    from gateway.http.headers import Headers
    from gateway.http.request import Request
    from gateway.routing.route import Destination, Route
    from gateway.upstream import Connection, Endpoint


class TimedOut(UpstreamError):  # noqa: N818 - an event, not an error
    """The route's timeout passed before the response was complete."""

    def __init__(self) -> None:
        super().__init__(Flag.UPSTREAM_TIMEOUT, "response timeout", sent=True)


class ClientGone(Exception):  # noqa: N818 - an event, not an error
    """The client left before its response was complete; nobody upstream is to blame."""


class Exchange:
    """One request from first byte to last, its decisions and its end."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "committed",
        "connection",
        "deadline",
        "destination",
        "details",
        "endpoint",
        "flags",
        "gone",
        "leased",
        "local",
        "peer",
        "protocol",
        "request",
        "request_id",
        "response_headers",
        "route",
        "service_time",
        "set_cookie",
        "started_at",
        "status",
        "stock",
        "task",
        "transport_failure",
        "upload_done",
        "upload_task",
        "waiting_since",
    )

    def __init__(self, request: Request, request_id: str, protocol: str, started_at: float) -> None:
        self.request = request
        self.request_id = request_id
        self.protocol = protocol
        """`HTTP/1.1`."""
        self.started_at = started_at
        """Seconds of the monotonic clock."""
        self.waiting_since = started_at
        """When the complete request had been sent upstream; service time counts from here."""
        self.route: Route | None = None
        self.destination: Destination | None = None
        self.endpoint: Endpoint | None = None
        self.connection: Connection | None = None
        self.status = 0
        """Status sent downstream; 0 while there is none, and for a client that left."""
        self.flags: tuple[Flag, ...] = ()
        self.details = "via_upstream"
        self.transport_failure = ""
        self.response_headers: Headers | None = None
        self.leased = False
        """`connection` is ours: it must be released or aborted, once."""
        self.bytes_received = 0
        self.bytes_sent = 0
        self.service_time = -1.0
        """Seconds until the upstream's response head; negative when no upstream answered."""
        self.local: tuple[str, int] | None = None
        """Our end of the client's connection."""
        self.peer: tuple[str, int] | None = None
        """The client's end."""
        self.stock = False
        """The server is not ours: it adds `date` and `server` itself and cannot take a length on a 304."""
        self.set_cookie: bytes | None = None
        """A cookie made for consistent hashing, to be sent with the response."""
        self.committed = False
        """A byte went downstream: no other answer can follow."""
        self.gone = False
        """The client left."""
        self.upload_done = True
        """The whole request body has been read from the client."""
        self.upload_task: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        """The task to cancel when the client leaves while we wait for a connection; None otherwise."""
        self.deadline: asyncio.TimerHandle | None = None

    @property
    def downstream_local_address(self) -> str:
        """Our end of the client's connection as `ip:port`."""
        return _joined(*self.local) if self.local else ""

    @property
    def downstream_remote_address(self) -> str:
        """The trusted client as `ip:port`; port 0 when it was read from x-forwarded-for."""
        client = self.request.client_ip
        if self.peer is None or not client:
            return client
        return _joined(client, self.peer[1] if client == self.peer[0] else 0)

    def client_gone(self) -> None:
        """The client left: end the upstream side at once (called by the server's side)."""
        if self.gone:
            return
        self.gone = True
        self._end(None)

    def time_out(self) -> None:
        """The route's timeout passed: whoever waits for the upstream is woken with `TimedOut`."""
        self._end(TimedOut())

    def _end(self, error: UpstreamError | None) -> None:
        if self.connection is not None:
            if self.leased:
                self.leased = False
                self.connection.abort(error)
        elif self.task is not None:
            self.task.cancel()


def _joined(host: str, port: int | None) -> str:
    return f"[{host}]:{port or 0}" if ":" in host else f"{host}:{port or 0}"
