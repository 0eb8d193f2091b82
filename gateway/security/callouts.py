"""Requests of our own to a service that decides: one connection each, bounded in time and size.

Lifetime: process.

Connections are not kept: a service that answers HEAD with a body would otherwise answer the next question
with it. A question that was asked is waited for even when its asker is gone, because httpcore leaks the slot
of a connection that is cancelled while it is opened (encode/httpcore#1093).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.http.headers import Headers

MOST_BODY = 65536
"""Bytes of an answer that are read; more is an error."""
MOST_HEADERS = 200
"""As many as a backend's answer may have."""


class CalloutError(Exception):
    """The service could not be asked, or its answer is none. The text is for the log."""


class Answer(NamedTuple):
    """What the service said."""

    status: int
    headers: Headers
    """Lower-case names."""
    body: bytes


class Callouts:
    """Asks. Use from one event loop; `stop` ends what is under way."""

    def __init__(self) -> None:
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._asking: set[asyncio.Task[Answer]] = set()

    def __repr__(self) -> str:
        return f"<Callouts under way {len(self._asking)}>"

    async def ask(
        self,
        origin: tuple[str, int],
        method: str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        seconds: float,
    ) -> Answer:
        """The answer of `http://origin` within `seconds`, else CalloutError."""
        task = asyncio.ensure_future(self._ask(origin, method, target, headers, seconds))
        self._asking.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # Read, so that nobody complains when the asker has gone.

    async def _ask(
        self,
        origin: tuple[str, int],
        method: str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        seconds: float,
    ) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(origin, method, target, headers)
        except TimeoutError:
            raise CalloutError(f"no answer within {seconds:g} s") from None
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise CalloutError(f"{type(error).__name__}: {error}") from error

    async def _exchange(
        self, origin: tuple[str, int], method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> Answer:
        if self._transport is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._transport = httpx.AsyncHTTPTransport(verify=False, limits=limits, trust_env=False)
        host, port = origin
        url = httpx.URL(scheme="http", host=host, port=port)
        request = httpx.Request(
            method, url, headers=list(headers), extensions={"target": target, "timeout": {}}
        )
        response = await self._transport.handle_async_request(request)
        try:
            body = bytearray()
            async for chunk in response.stream:  # type: ignore[union-attr]
                body += chunk
                if len(body) > MOST_BODY:
                    raise CalloutError(f"an answer of more than {MOST_BODY} bytes")
        finally:
            await response.aclose()
        found = [(name.lower(), value) for name, value in response.headers.raw]
        if len(found) > MOST_HEADERS:
            raise CalloutError(f"an answer of more than {MOST_HEADERS} headers")
        return Answer(response.status_code, found, bytes(body))

    async def stop(self) -> None:
        """Cancels what is under way and closes."""
        asking = list(self._asking)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None
