"""The wrapped application's own lifespan, run beside the gateway's.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.upstream.app import Application


class InnerLifespan:
    """Starts and ends an application; one that knows nothing of lifespans is left alone."""

    __slots__ = ("_answer", "_app", "_asked", "_shutdown", "_task")

    def __init__(self, app: Application) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._asked = 0
        """How often the application called `receive`."""
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._shutdown = asyncio.Event()

    async def startup(self, scope: dict[str, Any]) -> str:
        """Returns when the application has started; why it could not, empty when it has."""
        self._task = asyncio.get_running_loop().create_task(self._run(scope), name="gateway-inner-lifespan")
        return await self._answer

    async def shutdown(self) -> str:
        """Returns when the application has ended; what it complains of, empty when nothing."""
        if self._task is None or self._task.done():
            return ""
        self._answer = asyncio.get_running_loop().create_future()
        self._shutdown.set()
        complaint = await self._answer
        await asyncio.wait({self._task})
        return complaint

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - told to the server, in the words of the protocol
            # Who fails before it has listened only says that it does not know this kind of scope.
            self._say(f"{type(error).__name__}: {error}" if self._asked else "")
        finally:
            self._say("")

    async def _receive(self) -> dict[str, Any]:
        self._asked += 1
        if self._asked == 1:
            return {"type": "lifespan.startup"}
        await self._shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: dict[str, Any]) -> None:
        failed = message["type"].endswith(".failed")
        self._say((message.get("message") or "the application could not start") if failed else "")

    def _say(self, text: str) -> None:
        if not self._answer.done():
            self._answer.set_result(text)
