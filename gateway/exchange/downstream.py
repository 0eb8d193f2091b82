"""The client's side of an exchange: what the spine asks of it, and how an ASGI server provides that.

Lifetime: request.

Our own server's streams (`gateway.server.stepped`) are such a side by themselves; `AsgiDownstream` makes one
of `scope`, `receive` and `send`, for every other server and for a gateway inside somebody's application.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from gateway.http.place import Place
from gateway.http.reply import ClientLeft

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.http.headers import Headers
    from gateway.http.host import Authority
    from gateway.http.section import Section

    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

UNKNOWN_LENGTH = -1


class Aborted(Exception):  # noqa: N818 - tells the server to close, blames nobody
    """The response cannot be completed: the server must close the connection, never end it cleanly."""


class Downstream(Protocol):
    """A client that asked something."""

    place: Place
    """Its connection."""
    method: str
    raw_path: bytes
    query: bytes
    headers: Headers
    authority: Authority | None
    """The Host header taken apart, when the server has done so."""
    section: Section | None
    """Where headers and authority come from, when the server has judged them to be ordinary."""

    @property
    def resume(self) -> Callable[[], None] | None:
        """What a parked exchange is resumed by; None when it runs in a task (`gateway.http.parking`)."""

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Calls `callback` when the client leaves before the response is complete."""

    def whole_body(self) -> bytes:
        """The request body, when all of it has arrived; empty: `receive` has to be awaited for it."""

    async def receive(self) -> tuple[bytes, bool]:
        """The next piece of the request body, and whether more is to come. Raises ClientLeft."""

    def respond(self, status: int, headers: Headers, body: bytes, last: bool) -> Awaitable[None] | None:
        """Starts the response. Returns what to await before more is sent, None when nothing."""

    def relay(
        self, status: int, headers: Headers, length: int, dated: bool, body: bytes, last: bool
    ) -> Awaitable[None] | None:
        """`respond` with headers that need no second look."""

    def send_body(self, body: bytes, last: bool) -> Awaitable[None] | None:
        """Goes on with the response."""

    @property
    def switches(self) -> bool:
        """Whether `switch` can be called: our own server holds the connection."""

    def switch(self, headers: Headers) -> tuple[asyncio.Transport, bytes] | None:
        """Answers 101, and gives the connection away: the transport, for another protocol to take, and the
        bytes that the client sent behind its request; None when it is gone.

        That protocol passes `connection_lost` on to the one before it.
        """

    def abort(self) -> None:
        """Cuts the client off: never a clean end of half a response (security.md R15)."""


class AsgiDownstream:
    """A client behind an ASGI server."""

    __slots__ = (
        "_callbacks",
        "_ended",
        "_receive",
        "_send",
        "_watcher",
        "authority",
        "connection",
        "headers",
        "method",
        "place",
        "query",
        "raw_path",
        "resume",
        "section",
        "switches",
    )

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._callbacks: list[Callable[[], object]] = []
        self._ended = False
        """Nothing more of the request body is to come."""
        self._watcher: asyncio.Task[None] | None = None
        extensions = scope.get("extensions") or {}
        self.connection = extensions.get("gateway")
        """Our own server's stream, below an application that is not."""
        self.switches = self.connection is not None
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
        self.query: bytes = scope["query_string"]
        self.headers: Headers = list(scope["headers"])
        self.authority: Authority | None = None
        self.section: Section | None = None
        self.place = Place(
            scope.get("client"),
            scope.get("server"),
            scheme=scope["scheme"],
            peer=self.connection.place.peer if self.connection is not None else None,
            protocol=f"HTTP/{scope['http_version']}",
            stock=self.connection is None,
        )
        self.resume: Callable[[], None] | None = None

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Our own server calls back. On others only a pending `receive()` tells; with a request body the
        upload does that waiting, until the body is over.
        """
        if self.connection is not None:
            self.connection.on_disconnect(callback)
            return
        self._callbacks.append(callback)
        if self._ended or not self._has_body():
            self._watch()

    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self.headers
        )

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._wait_for_leaving())

    async def _wait_for_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        for callback in self._callbacks:
            callback()

    def close(self) -> None:
        """The exchange is over."""
        self._callbacks.clear()
        if self._watcher is not None:
            self._watcher.cancel()

    def whole_body(self) -> bytes:
        """Nobody can say what a server has already read."""
        return b""

    async def receive(self) -> tuple[bytes, bool]:
        """The next piece of the request body."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        more = message.get("more_body", False)
        if not more:
            self._ended = True
            if self._callbacks:
                self._watch()
        return message.get("body", b""), more

    async def respond(self, status: int, headers: Headers, body: bytes, last: bool) -> None:
        """Starts the response."""
        if self.connection is None:
            headers = for_stock_server(headers, status)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    def relay(
        self,
        status: int,
        headers: Headers,
        length: int,  # noqa: ARG002 - as Downstream
        dated: bool,  # noqa: ARG002
        body: bytes,
        last: bool,
    ) -> Awaitable[None]:
        """The server looks at headers itself."""
        return self.respond(status, headers, body, last)

    def switch(self, headers: Headers) -> tuple[asyncio.Transport, bytes] | None:
        """Our own server's stream does it."""
        assert self.connection is not None
        given: tuple[asyncio.Transport, bytes] | None = self.connection.switch(headers)
        return given

    async def send_body(self, body: bytes, last: bool) -> None:
        """Goes on with the response."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    def abort(self) -> None:
        """An exception is the only way to make a stock server close in the middle of a response."""
        if self.connection is None:
            message = "the upstream's response ended early; the client's connection is closed"
            raise RuntimeError(message)
        self.connection.abort()


def for_stock_server(headers: Headers, status: int) -> Headers:
    """What a stock uvicorn can be given: it repeats `date` and `server`, and fails on a 304 with a length."""
    dropped = {b"date", b"server", b"content-length"} if status == 304 else {b"date", b"server"}
    return [pair for pair in headers if pair[0] not in dropped]
