"""The record of one request: what was asked, what was decided, how it ended.

Lifetime: request. The spine fills it in; telemetry reads it once, when the exchange is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.http.flags import Flag
from gateway.http.reply import ClientLeft
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.exchange.deadlines import Queue
    from gateway.exchange.retry import Retries
    from gateway.exchange.trial import Trial
    from gateway.exchange.tunnel import Handshake
    from gateway.exchange.upload import Upload
    from gateway.http.headers import Headers
    from gateway.http.place import Place
    from gateway.http.request import Request
    from gateway.routing.route import Destination, Route
    from gateway.routing.snapshot import Snapshot
    from gateway.upstream import Connection, Endpoint

    Parts = tuple[bytes, bytes, Headers]
    """Target, authority and headers of a request head."""

ClientGone = ClientLeft
"""The client left before its response was complete; nobody upstream is to blame."""


class TimedOut(UpstreamError):  # noqa: N818 - an event, not an error
    """The route's timeout passed before the response was complete."""

    def __init__(self) -> None:
        super().__init__(Flag.UPSTREAM_TIMEOUT, "response timeout", sent=True)


class UploadStuck(UpstreamError):  # noqa: N818 - an event, not an error
    """The request body outgrew its buffer while there was no connection that could take it."""

    def __init__(self) -> None:
        super().__init__(Flag.LOCAL_RESET, "request buffer full", sent=True)


class Attempt(NamedTuple):
    """One try at an endpoint. Times are seconds of the monotonic clock."""

    endpoint: Endpoint
    started_at: float
    connected_at: float | None
    """None: there was never a connection."""
    headers_at: float | None
    """When the response head had come; None: it never did."""
    ended_at: float
    status: int
    """0: no response."""
    flag: Flag | None
    details: str
    """Why it failed; empty when it did not."""
    reused: bool
    """It went over a connection that had served before."""
    local_address: str
    stale: bool = False
    """The backend had closed that connection while it was idle: the request was sent again at once."""


class Exchange:
    """One request from first byte to last, its decisions and its end.

    What most requests leave as it is, is an attribute of the class: making one costs what it differs by.
    """

    request: Request
    request_id = ""
    ended_at = 0.0
    """Seconds of the monotonic clock; 0 while it goes on."""
    body = -1
    """Bytes of the request body; `hygiene.NO_BODY` or `CHUNKED`."""
    route: Route | None = None
    destination: Destination | None = None
    draw = 0
    """The request's one random number: it chose the destination, and chooses mirrors."""
    endpoint: Endpoint | None = None
    """Of the last attempt."""
    connection: Connection | None = None
    """Of the last attempt."""
    reused = False
    """The last attempt went over a connection that had served before; who has it next may change that."""
    parts: Parts = (b"", b"", [])
    """What is sent upstream, framing apart; no target: nothing is sent yet."""
    retries: Retries | None = None
    """Made by the first failure."""
    tried: tuple[Endpoint, ...] = ()
    """Endpoints that the next attempt avoids."""
    complete = False
    """The whole response has gone downstream."""
    earlier: tuple[Attempt, ...] = ()
    """The attempts before the last one."""
    attempt_at = 0.0
    connected_at = 0.0
    waiting_since = 0.0
    """When the complete request had been sent upstream; service time counts from here."""
    service_time = -1.0
    """Seconds until the upstream's response head; negative when no upstream answered."""
    upstream_status = 0
    """Status of the last attempt's response; 0 while there is none."""
    failure: UpstreamError | None = None
    """How the last attempt failed."""
    status = 0
    """Status sent downstream; 0 while there is none, and for a client that left."""
    flags: tuple[Flag, ...] = ()
    details = "via_upstream"
    transport_failure = ""
    response_headers: Headers | None = None
    leased = False
    """`connection` is ours: it must be released or aborted, once."""
    request_head = 0
    """Bytes of the head sent upstream; 0: none was sent."""
    response_head = 0
    """Bytes of the head that came from upstream; 0: none did."""
    bytes_received = 0
    bytes_sent = 0
    set_cookie: bytes | None = None
    """A cookie made for consistent hashing, to be sent with the response."""
    committed = False
    """A byte went downstream: no other answer can follow."""
    gone = False
    """The client left."""
    carried = b""
    """The request body, when all of it had arrived with the head: it leaves with every attempt's head."""
    upload_done = True
    """The whole request body has been read from the client."""
    upload: Upload | Handshake | None = None
    """The request body on its way; None without one."""
    uploaded: Callable[[], None] | None = None
    """To be called when the whole of it was read from the client."""
    waits = False
    """Something has to be waited for before it is decided whether it is forwarded."""
    watched = False
    """The client's side calls `client_gone`."""
    ended: UpstreamError | None = None
    """What ends the exchange though no upstream has failed: the timeout, a body that became too long."""
    trial: Trial | None = None
    """The time limit of the current attempt."""
    task: asyncio.Task[None] | None = None
    """The task to cancel when the client leaves while we wait for a connection; None otherwise."""
    deadline: Queue | None = None
    """Where the route's timeout is running."""
    mirrors = 0
    """Copies sent to mirrors."""
    retries_denied = ""
    """Why a retry that the policy asks for was not made."""
    delayed = 0.0
    """Seconds of an injected delay."""

    def __init__(self, snapshot: Snapshot, started_at: float, place: Place) -> None:
        self.snapshot = snapshot
        """The generation that it runs on."""
        self.started_at = started_at
        """Seconds of the monotonic clock."""
        self.place = place
        """The client's connection."""

    @property
    def protocol(self) -> str:
        """`HTTP/1.1`."""
        return self.place.protocol

    @property
    def peer(self) -> tuple[str, int] | None:
        """The client's end of its connection."""
        return self.place.client

    @property
    def local(self) -> tuple[str, int | None] | None:
        """Our end of it."""
        return self.place.server

    @property
    def downstream_local_address(self) -> str:
        """Our end of the client's connection as `ip:port`."""
        local = self.place.server
        return _joined(*local) if local else ""

    @property
    def downstream_remote_address(self) -> str:
        """The trusted client as `ip:port`; port 0 when it was read from x-forwarded-for."""
        client, peer = self.request.client_ip, self.place.client
        if peer is None or not client:
            return client
        return _joined(client, peer[1] if client == peer[0] else 0)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try, in order."""
        return (*self.earlier, self.attempt(self.ended_at)) if self.endpoint is not None else self.earlier

    def attempt(self, now: float) -> Attempt:
        """The last try as a record of its own; it ended at `now`."""
        assert self.endpoint is not None
        connection, failure = self.connection, self.failure
        return Attempt(
            self.endpoint,
            self.attempt_at,
            self.connected_at or None,
            self.waiting_since + self.service_time if self.upstream_status else None,
            now,
            self.upstream_status,
            failure.flag if failure is not None else None,
            failure.details() if failure is not None else "",
            self.reused,
            connection.local_address if connection is not None else "",
        )

    def stopped(self) -> Exception | None:
        """What ends the exchange, whatever its upstream does; None: nothing yet."""
        return ClientGone() if self.gone else self.ended

    def client_gone(self) -> None:
        """The client left: end the upstream side at once (called by the server's side)."""
        if self.gone:
            return
        self.gone = True
        self._end(None)

    def time_out(self) -> None:
        """The route's timeout passed: whoever waits for the upstream is woken with `TimedOut`."""
        if self.leased and self.connection is not None and self.connection.complete:
            return  # The whole answer came in time; its client is slow to take it.
        self.ended = TimedOut()
        self._end(self.ended)

    def upload_complete(self) -> None:
        """The whole request body was read from the client."""
        self.upload_done = True
        if self.uploaded is not None:
            self.uploaded()

    def upload_stuck(self) -> None:
        """The body outgrew its buffer while there was no connection that could take it."""
        self.ended = UploadStuck()
        self._end(self.ended)

    def _end(self, error: UpstreamError | None) -> None:
        if self.leased and self.connection is not None:
            self.leased = False
            self.connection.abort(error)
        elif self.task is not None:
            self.task.cancel()


def _joined(host: str, port: int | None) -> str:
    return f"[{host}]:{port or 0}" if ":" in host else f"{host}:{port or 0}"
