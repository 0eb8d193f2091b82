"""One request and its response on a client's connection.

Lifetime: request. `Stepped` is one that an application of our own kind answers, `Cycle` one for ASGI's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from gateway.http.reply import ENDS_WITH_HEAD, ClientLeft
from gateway.server import response

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from gateway.http.headers import Headers
    from gateway.server.head import Head
    from gateway.server.protocol import EdgeProtocol

logger = logging.getLogger("gateway.server")

_JOIN_BELOW: Final = 16384
"""Bodies up to this many bytes are copied behind the head, so both leave in one write (one TLS record);
larger ones follow it uncopied."""
WAITING, HELD, STREAMING, COMPLETE = range(4)
UNKNOWN: Final = -1
_CHUNKED: Final = -2


class Stream:
    """A request on its way: what the client sent, and how it is answered.

    It is the `Downstream` of `gateway.exchange`; one that ASGI applications find as
    `scope["extensions"]["gateway"]`.
    """

    switches = True
    """`switch` can be called."""

    __slots__ = (
        "_block",
        "_bodiless",
        "_chunks",
        "_gone_callbacks",
        "_has",
        "_left",
        "_owes_continue",
        "_state",
        "_waiters",
        "authority",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "more",
        "place",
        "protocol",
        "query",
        "raw_path",
        "reason",
        "section",
        "task",
        "transport",
        "unread",
    )

    def __init__(self, protocol: EdgeProtocol, head: Head) -> None:
        self.protocol = protocol
        self.place = protocol.place
        """The client's connection."""
        self.transport = protocol.transport
        """The client's; `get_extra_info("ssl_object")` tells of its certificate."""
        self.method = head.method
        self.headers: Headers = head.headers
        self.authority = head.authority
        self.section = head.section
        self.raw_path, _, self.query = head.target.partition(b"?")
        self.disconnected = False
        """The client is gone, or was cut off: nothing that is sent arrives."""
        self.reason = ""
        """Why: `client`, `shutdown`, `aborted`, or the reason of a refusal (`request_body_timeout`...)."""
        self.task: asyncio.Task[None] | None = None
        """What runs the application; None while it is stepped by hand."""
        self.keep_alive = head.keep_alive
        self.more = True
        """More of the request body is to come."""
        self.unread = 0
        """Bytes of body that the application has not taken yet."""
        # Nothing is made that most requests leave empty.
        self._chunks: list[bytes] | None = None
        self._waiters: tuple[asyncio.Future[None], ...] = ()
        self._gone_callbacks: tuple[Callable[[], object], ...] = ()
        self._owes_continue = head.expects_continue
        self._state = WAITING
        self._bodiless = head.method == "HEAD"
        self._block = b""
        self._has = 0
        self._left = UNKNOWN
        """Response bytes still owed to Content-Length; or that the framing is not chosen yet, or chunked."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.raw_path!r} from {self.protocol.client}>"

    def cancel(self, msg: str | None = None) -> None:
        """Ends the application."""
        if self.task is not None:
            self.task.cancel(msg)

    # --- the request body

    async def receive(self) -> tuple[bytes, bool]:
        """The next piece of the request body, and whether more is to come. Raises ClientLeft."""
        if self._owes_continue:
            self._continue_expected()
        while True:
            if self.disconnected:
                raise ClientLeft
            if self._chunks:
                return self.take_body(), self.more
            if not self.more:
                return b"", False
            await self.wait()

    def whole_body(self) -> bytes:
        """The body, when all of it has arrived, with nobody asking for 100 Continue; else empty."""
        return b"" if self.more or self._owes_continue or not self._chunks else self.take_body()

    def take_body(self) -> bytes:
        """The body that has arrived and was not taken yet."""
        chunks, self._chunks, self.unread = self._chunks or [], None, 0
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.protocol.body_taken()
        return body

    async def wait(self) -> None:
        """Returns when something has changed: body arrived, or the client is gone."""
        waiter = self.protocol.edge.loop.create_future()
        self._waiters += (waiter,)
        try:
            await waiter
        finally:
            if waiter in self._waiters:  # cancelled: applications ask like this whether the client is there
                self._waiters = tuple(other for other in self._waiters if other is not waiter)

    # --- the response

    def respond(self, status: int, headers: Headers, body: bytes, last: bool) -> Awaitable[None] | None:
        """Starts the response with the first piece of its body. As `send` otherwise.

        Raises RuntimeError for headers that cannot be sent or contradict themselves.
        """
        if self.disconnected:
            return None
        self._start(status, headers)
        return self.send_body(body, last)

    def relay(
        self, status: int, headers: Headers, length: int, dated: bool, body: bytes, last: bool
    ) -> Awaitable[None] | None:
        """`respond` with headers that are known to be well-formed and to have no part in the framing.

        `length`: what their Content-Length says, UNKNOWN without; `dated`: they have a Date. They have our
        Server already.
        """
        if self.disconnected:
            return None
        if last and length == len(body) <= _JOIN_BELOW and self.keep_alive and not self._bodiless:
            protocol = self.protocol
            edge = protocol.edge
            if not (self.more or edge.draining or edge.extra_lines):
                last_line = b"" if dated else edge.date_line
                self._state = STREAMING
                protocol.post(response.whole(status, headers, last_line, body))
                self._complete()
                return None
        self._block = response.joined(status, headers)
        self._has = response.HAS_SERVER | (response.HAS_DATE if dated else 0)
        self._left = length
        if status in ENDS_WITH_HEAD:
            self._bodiless = True
        self._state = HELD
        return self.send_body(body, last)

    def send_body(self, body: bytes, last: bool) -> Awaitable[None] | None:
        """Sends a piece of the body. Returns what to await before the next one; None: nothing."""
        if self.disconnected:
            return None
        self._send_body(body, more=not last)
        if self.protocol.write_paused and not last:
            return self.protocol.drain()
        return None

    def switch(self, headers: Headers) -> tuple[asyncio.Transport, bytes] | None:
        """Answers 101 and gives the connection away, as `Downstream` has it. From here on nobody calls
        `on_disconnect`'s callbacks: who has the transport is the first to know.
        """
        if self.disconnected:
            return None
        edge = self.protocol.edge
        head = response.switching(headers, edge.date_line, edge.server_line, edge.extra_lines)
        self._gone_callbacks = ()
        self._state = STREAMING
        ahead = self.protocol.hand_over()
        self.transport.write(head)
        return self.transport, ahead

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Calls `callback` when the client is lost before its response is complete; at once if it already is.

        No `receive()` needs to be pending. Not called when all goes well.
        """
        if self.disconnected:
            callback()
        elif self._state != COMPLETE:
            self._gone_callbacks += (callback,)

    def abort(self) -> None:
        """Cuts the client off, so that it cannot take what it has for the whole response."""
        if self._state != COMPLETE:
            self.lose("aborted")
            self.transport.abort()

    # --- the connection's side

    def add_body(self, pieces: list[bytes]) -> None:
        """A part of the request body has arrived."""
        if self._state != COMPLETE:
            if self._chunks:
                self._chunks += pieces
            else:
                self._chunks = pieces
            self.unread += sum(map(len, pieces))
            self._wake()

    def end_body(self) -> None:
        """The request body is complete."""
        self.more = False
        self._wake()

    def lose(self, reason: str) -> None:
        """The client is gone, or is about to be: tells whoever waits for it. `reason` as in `.reason`."""
        if self.disconnected or self._state == COMPLETE:
            return
        self.disconnected = True
        self.reason = reason
        self._wake()
        callbacks, self._gone_callbacks = self._gone_callbacks, ()
        for callback in callbacks:
            callback()

    @property
    def complete(self) -> bool:
        """The whole response has been sent."""
        return self._state == COMPLETE

    @property
    def committed(self) -> bool:
        """A byte of the response has been sent."""
        return self._state >= STREAMING

    @property
    def awaits_continue(self) -> bool:
        """The client may be waiting for `100 Continue`, and send its body only then, or never."""
        return self._owes_continue

    # --- inside

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _continue_expected(self) -> None:
        self._owes_continue = False
        if self._state == WAITING and not self.disconnected:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.protocol.body_taken()

    def _start(self, status: int, headers: Any) -> None:
        block, length, has = response.render(status, headers)
        self._block, self._has = block, has
        if status in ENDS_WITH_HEAD:
            self._bodiless = True
        if length is not None:
            self._left = length
        if has & response.WANTS_CLOSE:
            self.keep_alive = False
        self._state = HELD

    def _open(self, size: int, *, more: bool) -> bytes:
        """The complete response head; `size`: of the first body piece, the only one unless `more`."""
        protocol = self.protocol
        edge = protocol.edge
        framing = b""
        if self._left == UNKNOWN and not self._bodiless:
            if more:
                self._left = _CHUNKED
                framing = b"transfer-encoding: chunked\r\n"
            else:
                framing = b"content-length: %d\r\n" % size
        if edge.draining or not (more or protocol.settles):
            self.keep_alive = False
        has = self._has
        self._state = STREAMING
        return b"".join(
            (
                self._block,
                b"\r\n",
                framing,
                b"" if has & response.HAS_DATE else edge.date_line,
                b"" if has & response.HAS_SERVER else edge.server_line,
                edge.extra_lines,
                b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
            )
        )

    def _send_body(self, body: bytes, more: bool) -> None:
        if self._bodiless:
            body = b""
        elif self._left >= 0:
            left = self._left - len(body)
            if left < 0:
                raise RuntimeError("Response content longer than Content-Length.")
            if left and not more:
                raise RuntimeError("Response content shorter than Content-Length.")
            self._left = left
        head = self._open(len(body), more=more) if self._state == HELD else b""
        if self._left == _CHUNKED:
            self._write_chunk(head, body, more)
        elif len(body) <= _JOIN_BELOW:
            if head and not more:  # the whole response
                self.protocol.post(head + body)
            elif head or body:
                self.transport.write(head + body)
        else:
            if head:
                self.transport.write(head)
            self.transport.write(body)
        if not more:
            self._complete()

    def _write_chunk(self, head: bytes, body: bytes, more: bool) -> None:
        end = b"" if more else b"0\r\n\r\n"
        if not body:
            if head or end:
                self.transport.write(head + end)
        elif len(body) <= _JOIN_BELOW:
            self.transport.write(b"%b%x\r\n%b\r\n%b" % (head, len(body), body, end))
        else:
            self.transport.writelines((b"%b%x\r\n" % (head, len(body)), body, b"\r\n" + end))

    def _complete(self) -> None:
        self._state = COMPLETE
        self._gone_callbacks = ()
        if self._chunks:
            self._chunks, self.unread = None, 0
        if self._waiters:
            self._wake()
        self.protocol.response_complete(self)

    def _fail(self, status: int, text: bytes) -> None:
        """Answers for an application that has not, if nothing was sent yet; else cuts the client off."""
        if self._state == COMPLETE or self.disconnected:
            return
        if self._state >= STREAMING:
            self.abort()
            return
        self.keep_alive = False
        self._left = UNKNOWN
        self._bodiless = self.method == "HEAD"
        self._start(status, [(b"content-type", b"text/plain; charset=utf-8")])
        self._send_body(text, more=False)
