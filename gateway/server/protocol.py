"""HTTP/1.1 from clients, as uvicorn's protocol class: strict, bounded in size and in time.

Lifetime: process (one connection).

Theory. One request at a time: bytes behind it wait, unparsed, until its response is complete, so answers come
in order and a bad request cannot overtake a good one (security.md S45). A connection is in one phase:

    HEAD     a request head is awaited or has begun
    BODY     its body is awaited, maybe only to be dropped behind a response that did not wait for it
    WHOLE    the request is complete; its response is awaited
    DEAF     the last byte was sent; what still comes in is dropped until the client or our patience is gone
    AWAY     another protocol has the transport: a tunnel

What a rule refuses is counted, remembered, answered without the application, and the connection closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.http.place import Place
from gateway.server import refusal
from gateway.server.body import Chunked, Sized
from gateway.server.cycle import Cycle
from gateway.server.edge import Edge, socket_name
from gateway.server.head import BLANK_LINE, HeadReader, plain_head
from gateway.server.pace import Pace
from gateway.server.refusal import Refusal, Refused
from gateway.server.stepped import Stepped
from gateway.server.sweeper import NEVER
from gateway.server.wire import AWAY, BODY, DEAF, HEAD, WHOLE, Wire
from gateway.tls import identify, tls_extension

if TYPE_CHECKING:
    import asyncio

    from uvicorn import Config
    from uvicorn.server import ServerState

    from gateway.http.peer import Peer
    from gateway.http.section import Section
    from gateway.server.head import Head
    from gateway.server.stream import Stream

_DRAINED: Final = 65536
"""A rest of a request body up to this size is read and dropped to keep the connection, which a larger one, or
one of unknown size, closes."""


class EdgeProtocol(Wire):
    """A client's connection. Made by uvicorn: `uvicorn --http gateway.server:EdgeProtocol`."""

    __slots__ = (
        "_ahead_at",
        "_body",
        "_cycle",
        "_fresh",
        "_head",
        "_pace",
        "_section",
        "_stopping",
        "client",
        "peer",
        "place",
        "scheme",
        "server",
        "server_state",
        "tls",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        super().__init__(Edge.of(config, app_state, _loop))
        self.server_state = server_state
        self.deadline = NEVER
        self.server: tuple[str, int | None] | None = None
        self.client: tuple[str, int] | None = None
        self.scheme = "http"
        self.peer: Peer | None = None
        """The TLS side of the client; None without TLS. Whoever made the handshake may set it."""
        self.tls: dict[str, Any] | None = None
        """What ASGI applications are told of it (`scope["extensions"]["tls"]`)."""
        self.place: Place
        """The connection as requests see it."""
        self._head: HeadReader | None = None
        """A head that has begun."""
        self._section: Section | None = None
        """What the last request had below its request line; the next one may have the same."""
        self._cycle: Stream | None = None
        """The request in progress."""
        self._body: Sized | Chunked | None = None
        """What is still to come of its body."""
        self._pace: Pace | None = None
        """How fast that comes; made for the first body."""
        self._ahead_at = 0
        """Pipelined bytes wait for their turn: those of `_ahead` from this index on."""
        self._fresh = True
        """No response has been completed yet."""
        self._stopping = False
        """No further request: the server is shutting down."""

    def __repr__(self) -> str:
        phase = ("head", "body", "whole", "deaf", "away")[self._phase]
        return f"<EdgeProtocol {self.client} {phase}, deadline {self.deadline:.1f}>"

    # --- asyncio's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvloop's are
        """A client has connected."""
        edge = self.edge
        self.transport = transport
        self.server = socket_name(transport.get_extra_info("sockname"))
        self.client = socket_name(transport.get_extra_info("peername"))  # type: ignore[assignment]
        if transport.get_extra_info("sslcontext"):
            self.scheme = "https"
            tls = transport.get_extra_info("ssl_object")
            if self.peer is None:
                self.peer = identify(tls)
            self.tls = tls_extension(self.peer, tls)
        self.place = Place(self.client, self.server, scheme=self.scheme, peer=self.peer)
        self.server_state.connections.add(self)  # type: ignore[arg-type]
        edge.connections += 1
        edge.sweeper.watch(self)
        self.deadline = edge.sweeper.after(self._limits.request_head)
        if self._limits.connections is not None and edge.connections > self._limits.connections:
            self._refuse(refusal.CONNECTIONS, b"")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone."""
        edge = self.edge
        self.server_state.connections.discard(self)
        edge.connections -= 1
        edge.sweeper.forget(self)
        self._leave()

    def eof_received(self) -> None:
        """The client sends no more. A client that is gone looks the same, so it is taken for gone, as Envoy
        and nginx do; asyncio then closes the transport.
        """
        self._settle()
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        phase = self._phase
        if phase == HEAD:
            if self._ahead:
                self._keep(data, 0)
            else:
                self._read_head(data, 0)
        elif phase == BODY:
            self._read_body(data, 0)
        elif phase == WHOLE:
            self._keep(data, 0)

    def pause_writing(self) -> None:
        """The client does not take what is sent."""
        if self._phase == AWAY:
            return  # Whoever has the transport has to ask, and will be told of the end.
        self.write_paused = True
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.edge.sweeper.after(self._limits.stream_idle)
        if self._phase == HEAD and self._head is None:
            self._phase = WHOLE  # A response left behind its request's time: the next one waits for its turn.

    def resume_writing(self) -> None:
        """It does again."""
        self.write_paused = False
        self._rearm()
        self._wake_writers()
        if self._phase == WHOLE and (self._cycle is None or self._cycle.complete):
            self._next()

    def shutdown(self) -> None:
        """Uvicorn's graceful shutdown: what has begun is finished, then the connection closed."""
        self._stopping = True
        cycle = self._cycle
        if self._phase == AWAY:
            self.deadline = self.edge.sweeper.after(self._limits.drain)
        elif cycle is not None and not cycle.complete:
            cycle.keep_alive = False
        elif self._phase == HEAD and self._head is None:
            if self._fresh:  # accepted a moment ago: its request may be on the way
                self.deadline = min(self.deadline, self.edge.sweeper.after(0.0))
            else:
                self._close()

    # --- the cycle's side

    @property
    def settles(self) -> bool:
        """Whether the next request can be reached if the response ends now: little is left of this one."""
        if self._body is None or self._cycle is None:
            return self._phase == WHOLE
        return self._body.remaining <= _DRAINED and not self._cycle.awaits_continue

    def body_taken(self) -> None:
        """The application has taken the request body there was, and may be given more."""
        if self._phase == BODY:
            if self._read_paused:
                self._resume_reading()
            self._rearm()

    def response_complete(self, cycle: Stream) -> None:
        """The response has been written."""
        self.server_state.total_requests += 1
        if not cycle.keep_alive or not (self._phase == WHOLE or self.settles):
            self._close()
        elif self._phase == WHOLE:
            if self._ahead or self.write_paused or self._stopping or self._read_paused:
                self._next()
            else:  # the same, of a connection where all is quiet
                self._cycle = None
                self._fresh = False
                self._phase = HEAD
                self.deadline = self.edge.sweeper.after(self._limits.downstream_idle)
        else:
            self.body_taken()

    def hand_over(self) -> bytes:
        """HTTP is over on this connection: who takes the transport tells us when it is lost. Gives what the
        client has sent behind its request.
        """
        self.server_state.total_requests += 1
        ahead, self._ahead = self._ahead[self._ahead_at :], b""
        self._phase = AWAY
        if self._read_paused:
            self._resume_reading()
        return ahead

    # --- deadlines

    def expire(self) -> None:
        """The sweeper found the deadline passed."""
        self._settle()
        pace = self._pace if self._phase == BODY else None
        slow = pace is not None and pace.too_slow
        if self._phase == DEAF or (self.write_paused and not slow):
            unsent, self._unsent = self._unsent, self.transport.get_write_buffer_size()
            if self._unsent < unsent:  # slow, but the client reads
                self.deadline = self.edge.sweeper.after(self._limits.stream_idle)
                return
            if self._cycle is not None:
                self._cycle.lose("stream_idle_timeout")
            self.transport.abort()
        elif self._phase == HEAD:
            if self._head is None:
                self._close()
            else:
                self._refuse(refusal.HEAD_TIMEOUT, self._head.raw)
        elif pace is not None and not slow and pace.deadline > self.edge.sweeper.now:
            self.deadline = pace.deadline  # more has come since it was set
        elif self._cycle is None or self._cycle.complete:
            self._close()
        elif self._phase == AWAY:
            self._cycle.cancel()
        else:
            self._refuse(refusal.BODY_TOO_SLOW if slow else refusal.BODY_TIMEOUT, b"")

    def _rearm(self) -> None:
        """Sets the deadline that the phase calls for."""
        cycle, limits, after = self._cycle, self._limits, self.edge.sweeper.after
        if self._phase == BODY:
            assert self._pace is not None
            idle = self._read_paused or (cycle is not None and cycle.awaits_continue)
            deadline = self._pace.held() if idle else self._pace.wanted()
            if not self.write_paused:
                self.deadline = deadline
        elif self.write_paused:
            return
        elif self._phase == HEAD:
            self.deadline = after(limits.downstream_idle if self._head is None else limits.request_head)
        elif self._phase == WHOLE:
            self.deadline = NEVER

    # --- reading

    def _read_head(self, data: bytes, at: int) -> None:
        """Takes bytes of a head, from `data[at]` on; with its last one, starts the request."""
        if self.posted:
            self._settle()
            if self._phase != HEAD:  # The client does not read.
                self._keep(data, at)
                return
        if self._head is None:
            end = data.find(BLANK_LINE, at) + 4
            head = plain_head(data, at, end, self._limits, self._section) if end > 3 else None
            if head is not None:
                self._section = head.section
                self._begin(head, data, end)
                return
            self._head = HeadReader()
            self.deadline = self.edge.sweeper.after(self._limits.request_head)
        reader = self._head
        try:
            end = reader.feed(data, at, self._limits)
            if end < 0:
                return
            reader.examine(self._limits, self.scheme)
        except Refused as refused:
            # Judged by its bytes: the method is not known before the head is complete.
            self._refuse(
                refused.refusal, reader.raw, bodiless=reader.raw.lstrip(b"\r\n").startswith(b"HEAD ")
            )
            return
        self._head = None
        self._begin(reader, data, end)

    def _begin(self, head: Head, data: bytes, end: int) -> None:
        """Starts the request of a complete head; what follows its end, in `data`, is body or the next one."""
        cycle = self._cycle = Cycle(self, head) if self.edge.direct is None else Stepped(self, head)
        if self._stopping:
            cycle.keep_alive = False
        if head.chunked or head.length:
            self._phase = BODY
            self._body = Chunked(self._limits) if head.chunked else Sized(head.length)
            if self._pace is None:
                self._pace = Pace(self.edge.sweeper, self._limits)
            self._pace.begin()
            if end < len(data):
                self._read_body(data, end)
            if self._phase == BODY:
                self._rearm()
        else:
            self._phase = WHOLE
            self.deadline = NEVER
            cycle.more = False
            if end < len(data):
                self._keep(data, end)
        if not cycle.disconnected:
            cycle.begin()

    def _read_body(self, data: bytes, at: int) -> None:
        cycle, body, pace = self._cycle, self._body, self._pace
        assert cycle is not None
        assert body is not None
        assert pace is not None
        pace.got += len(data) - at
        pieces: list[bytes] = []
        try:
            end = body.feed(data, at, pieces)
        except Refused as refused:
            self._refuse(refused.refusal, b"")
            return
        if pieces:
            cycle.add_body(pieces)
        if body.done:
            self._phase = WHOLE
            self._body = None
            self._rearm()
            cycle.end_body()
            if end < len(data):
                self._keep(data, end)
            if cycle.complete:
                self._next()
            return
        pace.moved = self.edge.sweeper.now
        if cycle.unread > self._limits.unread_body_bytes:
            self._pause_reading()
            self._rearm()

    def _keep(self, data: bytes, at: int) -> None:
        """Holds bytes of the next request back until this one is answered."""
        if self._ahead:
            data, at = self._ahead[self._ahead_at :] + data[at:], 0
        self._ahead, self._ahead_at = data, at
        if len(data) - at > self._limits.unread_body_bytes:
            self._pause_reading()

    def _next(self) -> None:
        """The response is complete and so was its request: the turn of the next one."""
        if self.write_paused:
            return  # answers that nobody reads must not pile up; resume_writing comes back here
        self._cycle = None
        self._fresh = False
        if self._stopping:
            self._close()
            return
        self._phase = HEAD
        self._rearm()
        if self._read_paused:
            self._resume_reading()
        if self._ahead:
            self.edge.loop.call_soon(self._read_ahead)

    def _read_ahead(self) -> None:
        """Reads the pipelined request whose turn it is: in a turn of the loop of its own, for others wait."""
        if self._phase == HEAD and self._ahead:
            ahead, self._ahead = self._ahead, b""
            self._read_head(ahead, self._ahead_at)

    # --- ending

    def _refuse(self, why: Refusal, head: bytes, *, bodiless: bool = False) -> None:
        """Counts a breach of a rule, and answers it if no other answer has begun; then closes."""
        edge, cycle = self.edge, self._cycle
        self._forget_head()
        if cycle is not None:
            head = b"%b %b" % (cycle.method.encode(), cycle.raw_path)
        request_id = edge.refusals.record(why, head, self.client, edge.now())
        if cycle is not None:
            answered = cycle.complete
            committed = cycle.committed
            cycle.lose(why.reason)
            if answered:
                self._close()
                return
            if committed:
                self.transport.abort()
                return
        lines = edge.date_line + edge.server_line + edge.extra_lines
        self.transport.write(refusal.render(why, request_id, lines, bodiless=bodiless))
        self._linger()

    def _leave(self) -> None:
        """The client is gone."""
        self._phase = DEAF
        self._forget_head()
        self._ahead = b""
        if self._cycle is not None:
            self._cycle.lose("client")
            self._cycle = None
        self._wake_writers()

    def _forget_head(self) -> None:
        """Gives up a head that has begun."""
        if self._head is not None:
            self._head.parser = None  # It refers back to its reader.
            self._head = None
