"""One call of an httpx client: its request as the spine reads it, its response as httpx does.

Lifetime: request.

The exchange runs in a task of its own and hands the response over piece by piece: one in hand, the next is
read from the service when the program has taken it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import httpx

from gateway.http.reply import ClientLeft

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from gateway.exchange.exchange import Exchange
    from gateway.http.headers import Headers
    from gateway.http.host import Authority
    from gateway.http.place import Place

_is_token = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_target = re.compile(rb"[!-~\x80-\xff]+").fullmatch
_is_value = re.compile(rb"[^\x00\r\n]*").fullmatch


class Told:
    """How a call went: `response.extensions["gateway"]`. Final when the response is complete."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def by_gateway(self) -> bool:
        """Whether no service answered: the response was made here."""
        return not self._exchange.response_head

    @property
    def flags(self) -> tuple[str, ...]:
        """Envoy's response flags (`UF`, `UO`, `UT`...); empty: nothing was wrong."""
        return tuple(map(str, self._exchange.flags))

    @property
    def details(self) -> str:
        """Envoy's response code details."""
        return self._exchange.details

    @property
    def request_id(self) -> str:
        """What was sent as x-request-id."""
        return self._exchange.request_id

    @property
    def route(self) -> str:
        """Name of the route; `default` where there is no VirtualService, empty when there was no route."""
        return self._exchange.route.name if self._exchange.route is not None else ""

    @property
    def cluster(self) -> str:
        """`outbound|9080|v1|reviews.default.svc.cluster.local`; empty when none was chosen."""
        destination = self._exchange.destination
        return destination.cluster_name if destination is not None else ""

    @property
    def endpoint(self) -> str:
        """Who was asked last, `10.0.0.1:9080`; empty: nobody."""
        endpoint = self._exchange.endpoint
        return endpoint.address if endpoint is not None else ""

    @property
    def attempts(self) -> int:
        """How many tries there were."""
        return len(self._exchange.attempts)

    def __repr__(self) -> str:
        flags = ",".join(self.flags) or "-"
        return f"<Told {flags} {self.details} {self.cluster or '-'} attempts {self.attempts}>"


class Call:
    """A client for the spine, a response for httpx."""

    __slots__ = (
        "_body", "_callbacks", "_chunk", "_failure", "_head", "_left", "_news", "_over", "_room", "_source",
        "authority", "exchange", "headers", "method", "moved", "place", "query", "raw_path", "resume",
        "switches",
    )  # fmt: skip

    def __init__(self, request: httpx.Request, place: Place) -> None:
        """httpx.LocalProtocolError when the request cannot be written down."""
        self.method = request.method
        target: bytes = request.extensions.get("target") or request.url.raw_path
        self.raw_path, _, self.query = target.partition(b"?")
        self.headers: Headers = [(name.lower(), value) for name, value in request.headers.raw]
        if not (_is_token(self.method.encode()) and _is_target(target)):
            raise httpx.LocalProtocolError("illegal method or target", request=request)
        for name, value in self.headers:
            if not (_is_token(name) and _is_value(value)):
                raise httpx.LocalProtocolError(f"illegal header {name!r}", request=request)
        self.place = place
        self.authority: Authority | None = None
        self.resume: Callable[[], None] | None = None
        self.switches = False
        self.exchange: Exchange | None = None
        self.moved = False
        """A piece of the request body was taken since somebody looked."""
        self._source = request.stream
        self._body: AsyncIterator[bytes] | None = None
        loop = asyncio.get_running_loop()
        self._head: asyncio.Future[httpx.Response | None] = loop.create_future()
        self._callbacks: list[Callable[[], object]] = []
        self._chunk = b""
        self._over = self._left = False
        self._failure: Exception | None = None
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # -- the spine's side ----------------------------------------------------------------------

    async def run(self, serve: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """The exchange from its beginning to its end."""
        try:
            await serve(self)
        except Exception as error:  # noqa: BLE001 - raised where the response is awaited
            self._fail(error)
        finally:
            self._over = True
            if not self._head.done():
                self._head.set_result(None)
            self._wake()

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """As `Downstream`."""
        self._callbacks.append(callback)
        if self._left:
            callback()

    def whole_body(self) -> bytes:
        """What the program sends, when it has it in one piece."""
        return b"".join(self._source) if isinstance(self._source, httpx.ByteStream) else b""

    async def receive(self) -> tuple[bytes, bool]:
        """The next piece of what the program sends."""
        if self._body is None:
            assert isinstance(self._source, httpx.AsyncByteStream)
            self._body = aiter(self._source)
        try:
            piece = await anext(self._body)
        except StopAsyncIteration:
            return b"", False
        except Exception as error:
            self._fail(error)
            raise ClientLeft from error
        finally:
            self.moved = True
        return piece, True

    def respond(self, status: int, headers: Headers, body: bytes, last: bool) -> Awaitable[None] | None:
        """Hands the head over, and the first piece."""
        if not self._head.done():
            extensions: dict[str, Any] = {"http_version": b"HTTP/1.1"}
            if self.exchange is not None:
                extensions["gateway"] = Told(self.exchange)
            self._head.set_result(
                httpx.Response(status, headers=headers, stream=Body(self), extensions=extensions)
            )
        return self.send_body(body, last)

    def relay(
        self,
        status: int,
        headers: Headers,
        length: int,  # noqa: ARG002 - as Downstream
        dated: bool,  # noqa: ARG002
        body: bytes,
        last: bool,
    ) -> Awaitable[None] | None:
        """As `respond`."""
        return self.respond(status, headers, body, last)

    def send_body(self, body: bytes, last: bool) -> Awaitable[None] | None:
        """Hands a piece over."""
        self._chunk = body
        self._over = self._over or last
        self._wake()
        if last or self._left or not body:
            return None
        self._room = asyncio.get_running_loop().create_future()
        return self._room

    def switch(self, headers: Headers) -> None:
        """There is no connection to give away, so nobody is asked to."""

    def abort(self) -> None:
        """The service's response ended early."""
        why = f": {self.exchange.details}" if self.exchange is not None else ""
        self._fail(httpx.RemoteProtocolError(f"the response was cut off{why}"))
        self._wake()

    # -- httpx's side --------------------------------------------------------------------------

    async def response(self, patience: float | None) -> httpx.Response:
        """The response, when its head is there; ReadTimeout after `patience` seconds without anything."""
        while not self._head.done():
            self.moved = False
            await asyncio.wait({self._head}, timeout=patience)
            if not (self._head.done() or self.moved):
                raise httpx.ReadTimeout(f"nothing was answered in {patience} s")
        response = self._head.result()
        if response is None:
            raise self._failure or httpx.RemoteProtocolError("the exchange ended without an answer")
        if isinstance(response.stream, Body):
            response.stream.patience = patience
        return response

    async def piece(self, patience: float | None) -> bytes:
        """The next piece of the response body, b"" at its end."""
        while not self._chunk:
            if self._failure is not None:
                raise self._failure
            if self._over:
                return b""
            news = self._news = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(patience):
                    await news
            except TimeoutError:
                raise httpx.ReadTimeout(f"nothing came in {patience} s") from None
        chunk, self._chunk = self._chunk, b""
        self._make_room()
        return chunk

    def leave(self) -> None:
        """The program does not want the rest: the service's side ends at once."""
        if self._left:
            return
        self._left = True
        self._chunk = b""
        if not self._over:
            for callback in self._callbacks:
                callback()
        self._make_room()

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Body(httpx.AsyncByteStream):
    """The response body."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.patience: float | None = None
        """Seconds that a piece may take (httpx `timeout.read`); None: for ever."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._call.piece(self.patience):
            yield piece

    async def aclose(self) -> None:
        """Ends the call, if it goes on."""
        self._call.leave()
