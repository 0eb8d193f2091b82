"""One request and its response, as an ASGI application sees them: scope, receive, send.

Lifetime: request.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gateway.server.stream import COMPLETE, HELD, WAITING, Stream

if TYPE_CHECKING:
    from gateway.server.head import Head
    from gateway.server.protocol import EdgeProtocol

logger = logging.getLogger("gateway.server")


class Cycle(Stream):
    """A request on its way through an ASGI application.

    `scope["extensions"]["gateway"]` is this object: what the application may use of it is `on_disconnect`,
    `disconnected`, `reason`, `abort` and `transport`.
    """

    __slots__ = ("_ended", "scope")

    def __init__(self, protocol: EdgeProtocol, head: Head) -> None:
        super().__init__(protocol, head)
        edge = protocol.edge
        self._ended = False
        """The application has been told that the body is complete."""
        path = self.raw_path.decode("ascii")
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
            "raw_path": self.raw_path,
            "query_string": self.query,
            "headers": list(head.headers),
            "state": edge.app_state.copy(),
            "extensions": {"gateway": self},
        }
        if protocol.tls is not None:
            self.scope["extensions"]["tls"] = protocol.tls
        if edge.root_path:
            self.scope["path"] = edge.root_path + path
            self.scope["raw_path"] = edge.root_path.encode("ascii") + self.raw_path

    def begin(self) -> None:
        """Starts the application, in a task of its own."""
        task = self.task = self.protocol.edge.loop.create_task(self.run())
        self.protocol.server_state.tasks.add(task)

    async def call_receive(self) -> dict[str, Any]:
        """ASGI `receive`: the request body as it comes; `http.disconnect` when client or response end."""
        if self._owes_continue:
            self._continue_expected()
        while True:
            if self.disconnected or self._state == COMPLETE:
                return {"type": "http.disconnect"}
            if self._chunks:
                body = self.take_body()
                self._ended = not self.more
                return {"type": "http.request", "body": body, "more_body": self.more}
            if not (self.more or self._ended):
                self._ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self.wait()

    async def call_send(self, message: dict[str, Any]) -> None:
        """ASGI `send`. Returns when the client's side has taken enough to be given more; silently after a
        disconnect. Raises RuntimeError for messages out of order and responses that contradict themselves.
        """
        if self.disconnected:
            return
        kind = message["type"]
        if self._state == WAITING:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected 'http.response.start', but got '{kind}'.")
            self._start(message["status"], message.get("headers", ()))
            self.protocol.edge.hold(self)
            return
        if kind != "http.response.body" or self._state == COMPLETE:
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
            await edge.app(self.scope, self.call_receive, self.call_send)
            if not (self._state == COMPLETE or self.disconnected):
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

    def flush(self) -> None:
        """The turn of the loop is over: a head still waiting for its body leaves alone (SSE)."""
        if self._state == HELD and not self.disconnected:
            self.transport.write(self._open(0, more=True))
