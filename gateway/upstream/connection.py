"""One HTTP/1.1 connection to an endpoint: one request at a time, both directions at once.

Lifetime: process. Between requests it lies idle in its endpoint's pool, but only when it is provably
clean; whatever is in doubt is closed, for a byte left over would be the next user's answer (security.md F2).
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Any, Final

from gateway.http.parking import parked
from gateway.http.turn import Turn
from gateway.upstream.errors import (
    BrokenOff,
    Stalled,
    UpstreamError,
    local_reset,
    protocol_error,
    terminated,
)
from gateway.upstream.receiving import (
    ASKING,
    BODY,
    CLOSED,
    DONE,
    HEAD,
    IDLE,
    POSTED,
    Receiving,
)
from gateway.upstream.response import Framing

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.tls import Origination
    from gateway.upstream.cluster_config import ClusterConfig
    from gateway.upstream.endpoint import Endpoint
    from gateway.upstream.response import ResponseHead

Body = int
"""How a request's body is framed: `NO_BODY`, `CHUNKED` or `sized(n)`."""
NO_BODY: Final[Body] = 0
CHUNKED: Final[Body] = -1


def sized(length: int) -> Body:
    """A body of exactly `length` bytes (Content-Length)."""
    return length


class Connection(Receiving):
    """Use: `start`, then `response` and `read` until b"" in one task, `write` and `finish` in the same or
    another, and last exactly one `release` or `abort`; after it the connection may be someone else's.
    """

    __slots__ = (
        "_loop", "_poll", "_requests", "_seen", "_still_since", "_turn", "_writer", "_writes_paused",
        "counted", "endpoint", "idle_at", "local_address", "opened_at", "request_sent", "reused", "socket",
        "tls",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, config: ClusterConfig) -> None:
        super().__init__(config)
        self.endpoint = endpoint
        self.reused = False
        """Whether an earlier request used it: a close without a byte may then be a stale connection."""
        self.counted = False
        """Whether it occupies a slot of its pool."""
        self.opened_at = self.idle_at = 0.0
        self.local_address = ""
        """Our side, as `%UPSTREAM_LOCAL_ADDRESS%` prints it."""
        self.socket: Any = None
        self.tls: Origination | None = None
        """What it was secured with; None: plain text."""
        self.request_sent = False
        """Whether a byte of the current request was written."""
        self._requests = 0
        self._loop: asyncio.AbstractEventLoop
        self._turn: Turn
        self._poll: Any = None
        self._writer: asyncio.Future[None] | None = None
        self._writes_paused = False
        self._seen: tuple[int, int, int] | None = None
        self._still_since = 0.0

    def __repr__(self) -> str:
        state = ("idle", "awaiting head", "receiving", "complete", "closed", "asking", "switched", "posted")[
            self._state
        ]
        return (
            f"<Connection {self.local_address} -> {self.endpoint.address} {state}, requests {self._requests}>"
        )

    # -- the request ---------------------------------------------------------------------------

    def start(self, head: bytes, *, method: str, body: Body) -> None:
        """Sends the complete request head, blank line included; raises UpstreamError on a dead connection."""
        if self._state != IDLE:
            raise terminated(sent=False)
        self._head = None
        self._interim = 0
        self._to_head = method == "HEAD"
        self._unsent = body
        self._requests += 1
        self.response_started = False
        self._state = POSTED
        if body == NO_BODY:
            self._turn.write(self._depart, head)
        else:
            self._depart(head)

    def _depart(self, head: bytes) -> None:
        if self._state != POSTED:
            return  # Somebody gave it up in the meantime.
        # So long after `enlist` something may have come that nobody asked for. On a new connection it may be
        # a session ticket of TLS.
        if self.reused and self._poll.poll(0):
            self._shut(terminated(sent=False))
            return
        self._state = HEAD
        self.request_sent = True
        self._transport.write(head)

    async def write(self, chunk: bytes) -> None:
        """Sends a piece of the request body, waiting while the socket is full.

        UpstreamError when the connection died. A response that is already complete can still be read then.
        """
        if not chunk:
            return  # As a chunk it would end the body.
        if self._state == HEAD and self._poll.poll(0):
            # An early answer (413) may be followed by a reset, and a write that fails on it would make the
            # loop drop what is unread. Two turns: the first may be over before the socket was looked at.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if self._state == CLOSED:
            raise self._error or terminated(sent=True)
        self._passed += 1
        if self._unsent == CHUNKED:
            self._transport.writelines((b"%x\r\n" % len(chunk), chunk, b"\r\n"))
        elif len(chunk) > self._unsent:
            raise local_reset(sent=True)
        else:
            self._unsent -= len(chunk)
            self._transport.write(chunk)
        if self._writes_paused:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
            if self._state == CLOSED:
                raise self._error or terminated(sent=True)

    def finish(self) -> None:
        """Ends the request body. A sized body that is short leaves the connection unfit for reuse."""
        if self._unsent == CHUNKED:
            self._unsent = 0
            if self._state != CLOSED:
                self._transport.write(b"0\r\n\r\n")

    def ask_to_switch(self) -> None:
        """The head just sent asks for WebSocket: 101 may answer it, and is the end of HTTP here."""
        self._turn.flush()
        if self._state == HEAD:
            self._state = ASKING

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """After 101: the transport, for another protocol to take, and the bytes that came behind the head.

        That protocol passes `connection_lost` on to us. `release` closes, whatever became of it.
        """
        return self._transport, self.take()

    # -- the response --------------------------------------------------------------------------

    async def response(self) -> ResponseHead:
        """The final response's head; 1xx are swallowed. UpstreamError when there is none."""
        while (head := self.arrived()) is None:
            await self.change()
        return head

    async def read(self, resume: Callable[[], None] | None = None) -> bytes:
        """The next piece of the body, b"" at its end; UpstreamError when it was cut off.

        `resume`: as the attribute, set whenever there is something to wait for.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._state >= DONE:
                return b""
            if resume is None:
                await self.change()
            else:
                self.resume = resume
                await parked()
        return self.take()

    async def change(self) -> None:
        """Returns when something has come of the response, or the connection is closed."""
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    # -- the end -------------------------------------------------------------------------------

    def release(self) -> None:
        """Ends the use of the connection: back to the pool when it is provably clean, else closed."""
        self.endpoint.active -= 1
        head = self._head
        if (
            self._state == DONE
            and head is not None
            and head.keep_alive
            and not self._unsent
            and not self._transport.get_write_buffer_size()
            and not (self._config.wears and self._worn())
        ):
            self._head = None
            self._state = IDLE
            self.request_sent = False
            if self._pieces or self._paused:
                self._forget_body()
            self.park()
        elif self._state == IDLE:
            self.park()  # Never used.
        else:
            self.close()

    def _forget_body(self) -> None:
        self._pieces.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def abort(self, error: UpstreamError | None = None) -> None:
        """Ends the use by closing the connection; who waits on it gets `error` (default: local reset)."""
        self.endpoint.active -= 1
        self._shut(error or local_reset(sent=self.request_sent))

    def park(self) -> None:
        """Gives a clean connection to who waits for one, or lays it into the pool."""
        endpoint = self.endpoint
        if self._state != IDLE:
            return  # It died while it was handed over.
        if endpoint.retired or self.tls is not endpoint.pool.tls:
            self.close()
        elif not endpoint.waiters or not endpoint.pool.hand_over(self):
            self.idle_at = endpoint.pool.clock()
            endpoint.idle[self] = None

    def enlist(self, config: ClusterConfig) -> bool:
        """Readies an idle connection for a request; closes it and says False when it is not clean any more.

        The poll sees what arrived since the loop last looked: an answer nobody asked for, or the end.
        """
        if self._state != IDLE or self._poll.poll(0):
            self.close()
            return False
        self._config = config
        self.reused = True
        return True

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent on it any more."""
        return self._state == CLOSED

    def close(self) -> None:
        """Closes the connection, whatever it is doing."""
        self._shut(None if self.complete or self._state == IDLE else local_reset(sent=self.request_sent))

    def look(self, now: float) -> None:
        """Ends a wait for the response in which nothing has moved for `stream_idle`, in either direction.

        Called every now and then, so that requests have no timer: it compares what it sees with the last
        time. A response that the client is slow to take is not awaited.
        """
        seen = self._requests, self._state, self._passed
        if not self._awaited or seen != self._seen:
            self._seen, self._still_since = seen, now
        elif now - self._still_since >= self._config.stream_idle:
            self._shut(Stalled())

    def _worn(self) -> bool:
        """Whether the connection has served enough requests, or long enough."""
        config = self._config
        limit, duration = config.max_requests_per_connection, config.max_connection_duration
        return (0 < limit <= self._requests) or (
            duration is not None and self.endpoint.pool.clock() - self.opened_at >= duration
        )

    def _shut(self, error: UpstreamError | None) -> None:
        """Closes the transport, leaves the pool and wakes both sides; the first reason stays."""
        if self._state == CLOSED:
            return
        if self._state == IDLE:
            self.endpoint.idle.pop(self, None)
        self._state = CLOSED
        if error is not None:  # These hold the frames that it went through, and they hold us.
            error.__traceback__ = error.__context__ = error.__cause__ = None
        self._error = error
        self._chunked = self._partial = None
        if self._unsent or error is not None:
            self._transport.abort()  # Not close(): that would first wait for unsent bytes to drain.
        else:
            self._transport.close()
        if self.counted:
            self.counted = False
            self.endpoint.pool.leave(self)
        self._wake()

    def _wake(self) -> None:
        """Lets the reader go on; a parked one does so here and now, so this comes last."""
        if self._writer is not None and self._state == CLOSED and not self._writer.done():
            self._writer.set_result(None)
        if self.resume is not None:
            resume, self.resume = self.resume, None
            resume()
        elif self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # -- events of the transport ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once by the loop."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._turn = Turn.of(self._loop)
        self.socket = transport.get_extra_info("socket")
        self._poll = select.poll()
        self._poll.register(self.socket.fileno(), select.POLLIN)
        name = transport.get_extra_info("sockname")
        if isinstance(name, tuple):
            self.local_address = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
        self.opened_at = self.endpoint.pool.clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone; a reset does not end a close-delimited body, a FIN does."""
        if self._state == BODY and self._head is not None and self._head.framing is Framing.CLOSE:
            self._shut(None if exc is None else protocol_error("connection reset in the body"))
        else:
            self._shut(self._cut())

    def eof_received(self) -> bool:
        """The upstream will send no more; returning False closes our side too."""
        self.connection_lost(None)
        return False

    def _cut(self) -> UpstreamError | None:
        """What a close by the upstream means now; like Envoy, inside a message it is a protocol error."""
        if self._state in {IDLE, DONE}:
            return None
        if self._held is not None:
            return BrokenOff()
        if self.response_started:
            return protocol_error("connection closed inside the response")
        return terminated(sent=self.request_sent)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._writes_paused = True

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self._writes_paused = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)
