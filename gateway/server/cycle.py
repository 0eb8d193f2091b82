"""One request and its response, as the application sees them: scope, receive, send.

Lifetime: request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from gateway.server import response

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.server.head import Head
    from gateway.server.protocol import EdgeProtocol

logger = logging.getLogger("gateway.server")

_JOIN_BELOW: Final = 16384
"""Bodies up to this many bytes are copied behind the head, so both leave in one write (one TLS record);
larger ones follow it uncopied."""
_WAITING, _HELD, _STREAMING, _COMPLETE = range(4)
_UNKNOWN: Final = -1
_CHUNKED: Final = -2


class Cycle:
    """A request on its way through the application.

    `scope["extensions"]["gateway"]` is this object: what the application may use of it is `on_disconnect`,
    `disconnected`, `reason`, `abort` and `transport`.
    """

    __slots__ = (
        "_block",
        "_bodiless",
        "_chunks",
        "_ended",
        "_gone_callbacks",
        "_has",
        "_left",
        "_owes_continue",
        "_state",
        "_waiters",
        "disconnected",
        "keep_alive",
        "more",
        "protocol",
        "reason",
        "scope",
        "task",
        "transport",
        "unread",
    )

    def __init__(self, protocol: EdgeProtocol, head: Head) -> None:
        edge = protocol.edge
        self.protocol = protocol
        self.transport = protocol.transport
        """The client's; `get_extra_info("ssl_object")` tells of its certificate."""
        self.disconnected = False
        """The client is gone, or was cut off: nothing that is sent arrives."""
        self.reason = ""
        """Why: `client`, `shutdown`, `aborted`, or the reason of a refusal (`request_body_timeout`...)."""
        self.task: asyncio.Task[None] | None = None
        self.keep_alive = head.keep_alive
        self.more = True
        """More of the request body is to come."""
        self.unread = 0
        """Bytes of body that the application has not taken yet."""
        self._chunks: list[bytes] = []
        self._ended = False
        """The application has been told that the body is complete."""
        self._waiters: list[asyncio.Future[None]] = []
        self._gone_callbacks: list[Callable[[], object]] = []
        self._owes_continue = head.expects_continue
        self._state = _WAITING
        self._bodiless = head.method == "HEAD"
        self._block = b""
        self._has = 0
        self._left = _UNKNOWN
        """Response bytes still owed to Content-Length; or that the framing is not chosen yet, or chunked."""
        raw_path, _, query = head.target.partition(b"?")
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": edge.asgi,
            "http_version": "1.1",
            "server": protocol.server,
            "client": protocol.client,
            "scheme": protocol.scheme,
            "method": head.method,
            "root_path": edge.root_path,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": head.headers,
            "state": edge.app_state.copy(),
            "extensions": {"gateway": self},
        }
        if edge.root_path:
            self.scope["path"] = edge.root_path + path
            self.scope["raw_path"] = edge.root_path.encode("ascii") + raw_path

    def __repr__(self) -> str:
        return "<Cycle {method} {path!r} from {client}>".format(**self.scope)

    # --- the application's side

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Calls `callback` when the client is lost before its response is complete; at once if it already is.

        No `receive()` needs to be pending. Not called when all goes well.
        """
        if self.disconnected:
            callback()
        elif self._state != _COMPLETE:
            self._gone_callbacks.append(callback)

    def abort(self) -> None:
        """Cuts the client off, so that it cannot take what it has for the whole response."""
        if self._state != _COMPLETE:
            self.lose("aborted")
            self.transport.abort()

    async def receive(self) -> dict[str, Any]:
        """ASGI `receive`: the request body as it comes; `http.disconnect` when client or response end."""
        if self._owes_continue:
            self._continue()
        while True:
            if self.disconnected or self._state == _COMPLETE:
                return {"type": "http.disconnect"}
            if self._chunks:
                chunks, self._chunks, self.unread = self._chunks, [], 0
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                self._ended = not self.more
                self.protocol.body_taken()
                return {"type": "http.request", "body": body, "more_body": self.more}
            if not (self.more or self._ended):
                self._ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            waiter = self.protocol.edge.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if (
                    waiter in self._waiters
                ):  # cancelled: applications ask like this whether the client is there
                    self._waiters.remove(waiter)

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI `send`. Returns when the client's side has taken enough to be given more; silently after a
        disconnect. Raises RuntimeError for messages out of order and responses that contradict themselves.
        """
        if self.disconnected:
            return
        kind = message["type"]
        if self._state == _WAITING:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected 'http.response.start', but got '{kind}'.")
            self._start(message["status"], message.get("headers", ()))
            return
        if kind != "http.response.body" or self._state == _COMPLETE:
            raise RuntimeError(f"Unexpected '{kind}': the response has started, or is complete.")
        more = message.get("more_body", False)
        self._send_body(message.get("body", b""), more)
        if more and self.protocol.write_paused:
            await self.protocol.drain()

    async def run(self) -> None:
        """Calls the application, and answers or cuts off when it does not."""
        edge = self.protocol.edge
        edge.active += 1
        try:
            await edge.app(self.scope, self.receive, self.send)
            if not (self._state == _COMPLETE or self.disconnected):
                logger.error("The application returned without completing its response to %r.", self)
        except Exception:
            # An application that notices a lost client by an exception has done nothing wrong.
            level = logging.DEBUG if self.disconnected else logging.ERROR
            logger.log(level, "Exception in the application, at %r", self, exc_info=True)
        except asyncio.CancelledError:
            self._fail(503, b"Service Unavailable")  # the server stops, and has no more patience
            raise
        finally:
            self._fail(500, b"Internal Server Error")
            edge.active -= 1
            self.protocol.server_state.tasks.discard(self.task)
            self.task = None
            # Else scope and cycle would keep each other alive until a garbage collection.
            self.scope["extensions"].pop("gateway", None)

    # --- the connection's side

    def add_body(self, pieces: list[bytes]) -> None:
        """A part of the request body has arrived."""
        if self._state != _COMPLETE:
            self._chunks += pieces
            self.unread += sum(map(len, pieces))
            self._wake()

    def end_body(self) -> None:
        """The request body is complete."""
        self.more = False
        self._wake()

    def lose(self, reason: str) -> None:
        """The client is gone, or is about to be: tells whoever waits for it. `reason` as in `.reason`."""
        if self.disconnected or self._state == _COMPLETE:
            return
        self.disconnected = True
        self.reason = reason
        self._wake()
        callbacks, self._gone_callbacks = self._gone_callbacks, []
        for callback in callbacks:
            callback()

    def flush(self) -> None:
        """The turn of the loop is over: a head still waiting for its body leaves alone (SSE)."""
        if self._state == _HELD and not self.disconnected:
            self.transport.write(self._open(0, more=True))

    @property
    def complete(self) -> bool:
        """The whole response has been sent."""
        return self._state == _COMPLETE

    @property
    def committed(self) -> bool:
        """A byte of the response has been sent."""
        return self._state >= _STREAMING

    @property
    def awaits_continue(self) -> bool:
        """The client may be waiting for `100 Continue`, and send its body only then, or never."""
        return self._owes_continue

    # --- inside

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _continue(self) -> None:
        self._owes_continue = False
        if self._state == _WAITING and not self.disconnected:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.protocol.body_taken()

    def _start(self, status: int, headers: Any) -> None:
        block, length, has = response.render(status, headers)
        self._block, self._has = block, has
        if status in response.NO_BODY:
            self._bodiless = True
        if length is not None:
            self._left = length
        if has & response.WANTS_CLOSE:
            self.keep_alive = False
        self._state = _HELD
        self.protocol.edge.hold(self)

    def _open(self, size: int, *, more: bool) -> bytes:
        """The complete response head; `size`: of the first body piece, the only one unless `more`."""
        protocol = self.protocol
        edge = protocol.edge
        framing = b""
        if self._left == _UNKNOWN and not self._bodiless:
            if more:
                self._left = _CHUNKED
                framing = b"transfer-encoding: chunked\r\n"
            else:
                framing = b"content-length: %d\r\n" % size
        if edge.draining or not (more or protocol.settles):
            self.keep_alive = False
        has = self._has
        self._state = _STREAMING
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
        head = self._open(len(body), more=more) if self._state == _HELD else b""
        if self._left == _CHUNKED:
            self._write_chunk(head, body, more)
        elif len(body) <= _JOIN_BELOW:
            if head or body:
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
        self._state = _COMPLETE
        self._gone_callbacks.clear()
        self._chunks.clear()
        self.unread = 0
        self._wake()
        self.protocol.response_complete(self)

    def _fail(self, status: int, text: bytes) -> None:
        """Answers for an application that has not, if nothing was sent yet; else cuts the client off."""
        if self._state == _COMPLETE or self.disconnected:
            return
        if self._state >= _STREAMING:
            self.abort()
            return
        self.keep_alive = False
        self._left = _UNKNOWN
        self._bodiless = self.scope["method"] == "HEAD"
        self._start(status, [(b"content-type", b"text/plain; charset=utf-8")])
        self._send_body(text, more=False)
