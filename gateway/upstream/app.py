"""The wrapped application as an upstream: an endpoint in this process; a connection is one call of it.

Lifetime: process (`AppPool`) and request (`AppConnection`, `Visit`).

To the spine it is a connection like every other, so header operations, faults, mirrors, limits and timeouts
are the same code. There is no wire between: the request head is taken apart once, body pieces go through the
application's `receive` and `send`, one in hand each way.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from gateway.upstream.connection import Connection
from gateway.upstream.errors import local_reset, protocol_error, terminated
from gateway.upstream.pool import Pool
from gateway.upstream.receiving import ENOUGH
from gateway.upstream.response import ResponseHead, frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.http.headers import Headers
    from gateway.upstream.cluster_config import ClusterConfig
    from gateway.upstream.connection import Body
    from gateway.upstream.endpoint import Endpoint
    from gateway.upstream.errors import UpstreamError

    Message = dict[str, Any]
    Application = Callable[
        [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
        Awaitable[None],
    ]
    """ASGI 3."""

logger = logging.getLogger("gateway")

_IDLE, _HEAD, _BODY, _DONE, _CLOSED = range(5)
"""As in `gateway.upstream.connection`."""
_NOTES: Final = frozenset({"http.response.trailers", "http.response.debug", "http.response.early_hint"})
"""What an application may say between head and end that HTTP/1.1 cannot carry; it is dropped."""


class Visit:
    """One request that came in through the server around us, for the calls that it becomes."""

    __slots__ = ("calls", "failure", "known", "scope")

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        """As the server made it."""
        self.calls: list[asyncio.Task[None]] = []
        """Calls of the application made for this request: its exceptions are the server's to see."""
        self.failure: Exception | None = None
        """What a call failed with, while the request waited for its answer."""
        self.known: Any = None
        """What the gateway knows of the request; None: it took no route to the application."""

    async def settle(self) -> None:
        """Waits until the application has returned, which can be long after its response; raises what it
        raised.
        """
        for call in self.calls:
            await call

    def cancel(self) -> None:
        """Ends what goes on: the server has no more patience."""
        for call in self.calls:
            call.cancel()
            call.add_done_callback(_forget)


VISIT: ContextVar[Visit | None] = ContextVar("gateway.visit", default=None)
"""The request that is being served."""


class AppPool(Pool):
    """Calls of the application, counted as connections: its limits are those of every other cluster."""

    __slots__ = ("app",)

    def __init__(self, name: str, clock: Callable[[], float], app: Application) -> None:
        super().__init__(name, clock)
        self.app = app

    def lease(self, endpoint: Endpoint, config: ClusterConfig) -> Connection | None:
        """A call, without waiting; None when `maxConnections` are under way, or others wait."""
        if self._waiting or not self._may_open(endpoint):
            return None
        if self.connections >= self.max_requests:
            self._admit()
        self._reserve(endpoint)
        endpoint.active += 1
        endpoint.requests += 1
        return self._made(endpoint, config)

    async def _open(self, endpoint: Endpoint, config: ClusterConfig) -> Connection:
        return self._made(endpoint, config)

    def _made(self, endpoint: Endpoint, config: ClusterConfig) -> AppConnection:
        connection = AppConnection(endpoint, config, self.app)
        self.join(connection)
        return connection


class AppConnection(Connection):
    """One call. `close` and `abort` are what a lost client is: `receive` tells, the call itself goes on."""

    __slots__ = ("_answer", "_app", "_body_ended", "_chunk", "_moved", "_told", "known", "visit")

    def __init__(self, endpoint: Endpoint, config: ClusterConfig, app: Application) -> None:
        super().__init__(endpoint, config)
        self.known: Any = None
        """What the gateway knows of the request, for `scope["state"]["gateway"]`; None: a mirror's copy."""
        self.visit: Visit | None = None
        self._app = app
        self._answer: ResponseHead | None = None
        """The head, until the first piece of the body comes."""
        self._chunk: bytes | None = None
        """The piece of the request body in hand."""
        self._body_ended = self._told = False
        self._moved = asyncio.Event()

    # -- the request ---------------------------------------------------------------------------

    def start(self, head: bytes, *, method: str, body: Body) -> None:
        """Calls the application, in a task of its own."""
        if self._state != _IDLE:
            raise terminated(sent=False)
        self._state = _HEAD
        self._to_head = method == "HEAD"
        self._body_ended = not body
        self.request_sent = True
        self._loop = asyncio.get_running_loop()
        self.opened_at = self.endpoint.pool.clock()
        visit = VISIT.get() or Visit({})
        task = self._loop.create_task(self._run(_scope(visit.scope, head, method, self.known)))
        if self.known is not None:
            self.visit = visit
            visit.known = self.known
            visit.calls.append(task)
        else:
            _copies.add(task)
            task.add_done_callback(_copy_ended)

    async def write(self, chunk: bytes) -> None:
        """Hands a piece over, when the one before it was taken."""
        if not chunk:
            return
        while self._chunk is not None and self._state < _DONE:
            await self._movement()
        if self._state == _CLOSED:
            raise self._error or terminated(sent=True)
        if self._state < _DONE:  # Who has answered reads no more.
            self._chunk = chunk
            self._passed += 1
            self._stir()

    def finish(self) -> None:
        """The request body is over."""
        self._body_ended = True
        self._stir()

    def take(self) -> bytes:
        """What there is of the response body now."""
        pieces = self._pieces
        self._buffered = 0
        self._stir()
        joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return joined

    # -- the end -------------------------------------------------------------------------------

    def release(self) -> None:
        """Ends the use of the connection; a call has no second one."""
        self.endpoint.active -= 1
        self.close()

    def _shut(self, error: UpstreamError | None) -> None:
        if self._state == _CLOSED:
            return
        self._state = _CLOSED
        self._error = error
        self._chunk = None
        if self.counted:
            self.counted = False
            self.endpoint.pool.leave(self)
        self._stir()
        self._wake()

    # -- the application's side ----------------------------------------------------------------

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:
            if self.visit is not None and self._state < _DONE:
                self.visit.failure = error
            raise
        finally:
            self._returned()

    def _returned(self) -> None:
        """The application is done; if its response is not, it fails here as it would anywhere."""
        if self._state == _HEAD:
            self._answer = _head(500, [(b"content-type", b"text/plain")], to_head=self._to_head)
            self._give(b"Internal Server Error", more=False)
        elif self._state == _BODY:
            self._shut(protocol_error("the application ended inside its response"))

    async def _receive(self) -> Message:
        """ASGI `receive`."""
        while self._state < _DONE:
            if self._chunk is not None:
                chunk, self._chunk = self._chunk, None
                self._told = self._body_ended
                self._stir()
                return {"type": "http.request", "body": chunk, "more_body": not self._body_ended}
            if self._body_ended and not self._told:
                self._told = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._movement()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """ASGI `send`. Returns when there is room for more; silently when nobody waits any more."""
        kind = message["type"]
        if self._state == _CLOSED:
            return
        if kind == "http.response.start":
            if self._answer is not None or self._state != _HEAD:
                raise RuntimeError("Unexpected 'http.response.start': the response has started.")
            self._answer = _head(message["status"], message.get("headers", ()), to_head=self._to_head)
        elif kind == "http.response.body":
            if self._answer is None and self._state != _BODY:
                raise RuntimeError(
                    "Unexpected 'http.response.body': the response has not started, or is over."
                )
            self._give(message.get("body", b""), more=message.get("more_body", False))
            while self._buffered >= ENOUGH and self._state == _BODY:
                await self._movement()
        elif kind not in _NOTES:
            raise RuntimeError(f"Unexpected '{kind}': the scope does not offer it.")

    def _give(self, piece: bytes, *, more: bool) -> None:
        """A piece of the response; the head goes with the first one."""
        if self._state == _HEAD:
            self._state = _BODY
            self._head, self._answer = self._answer, None
            self.response_started = True
        if piece and not self._to_head:
            self._pieces.append(bytes(piece))
            self._buffered += len(piece)
            self._passed += 1
        if not more:
            self._state = _DONE
            self._stir()
        self._wake()

    async def _movement(self) -> None:
        """Returns when anything has changed."""
        self._moved.clear()
        await self._moved.wait()

    def _stir(self) -> None:
        self._moved.set()

    def close(self) -> None:
        """Ends the call as far as the gateway is concerned."""
        done = self._state in {_IDLE, _DONE}
        self._shut(None if done else local_reset(sent=True))


_copies: set[asyncio.Task[None]] = set()
"""Calls that nobody waits for."""


def _forget(task: asyncio.Task[None]) -> None:
    """Something else is raised already, or nobody is there to raise it to."""
    if not task.cancelled():
        task.exception()


def _copy_ended(task: asyncio.Task[None]) -> None:
    _copies.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the application failed at a mirrored request", exc_info=error)


def _head(status: int, headers: Any, *, to_head: bool) -> ResponseHead:
    head = ResponseHead(status, b"")
    fields = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    head.size = sum(len(name) + len(value) + 4 for name, value in fields)
    frame(head, fields, to_head=to_head, old=False)
    return head


def _scope(around: dict[str, Any], head: bytes, method: str, known: Any) -> dict[str, Any]:
    """The scope of a call: the request as it would be sent over a wire, in the server's scope."""
    line, *lines = head[:-4].split(b"\r\n")
    target = line.split(b" ")[1]
    path, _, query = target.partition(b"?")
    headers: Headers = []
    for field in lines:
        name, _, value = field.partition(b": ")
        headers.append((name, value))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "client": None,
        "server": None,
        **around,
        "method": method,
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "extensions": _information(around.get("extensions") or {}),
    }
    if known is not None:
        scope["state"] = {**around.get("state", {}), "gateway": known}
        scope["scheme"] = known.scheme
        scope["client"] = known.client or scope["client"]
    return scope


def _information(extensions: dict[str, Any]) -> dict[str, Any]:
    """What only tells something: what a server offers to do with messages cannot be passed through, and our
    own server's stream is the gateway's.
    """
    return {
        name: value
        for name, value in extensions.items()
        if name != "gateway" and not name.startswith(("http.", "websocket."))
    }
