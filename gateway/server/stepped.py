"""A stream whose application is a coroutine of our own kind, stepped by hand.

Lifetime: request.

Theory. An application of our own (`Edge.direct`) is a coroutine over a stream: it starts within the call that
received the request, and goes on within the call that received what it waits for (`gateway.http.parking`).
When it waits for a future of asyncio's, a task takes over the rest of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import types
from inspect import CORO_CREATED, getcoroutinestate
from typing import TYPE_CHECKING, Any, cast

from gateway.http.parking import PARKED
from gateway.server.stream import COMPLETE, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from gateway.server.head import Head
    from gateway.server.protocol import EdgeProtocol

logger = logging.getLogger("gateway.server")


class Stepped(Stream):
    """A request that the gateway itself answers."""

    __slots__ = ("_coroutine",)

    def __init__(self, protocol: EdgeProtocol, head: Head) -> None:
        super().__init__(protocol, head)
        self._coroutine: Coroutine[Any, Any, None] | None = None

    @property
    def resume(self) -> Callable[[], None] | None:
        """What the application's coroutine has to be resumed by when it parks; None when a task runs it."""
        return self.step if self.task is None else None

    def begin(self) -> None:
        """Starts the application, and runs it as far as it gets."""
        protocol = self.protocol
        edge = protocol.edge
        assert edge.direct is not None
        edge.active += 1
        protocol.server_state.tasks.add(self)  # type: ignore[arg-type] # it can be cancelled, like a task
        self._coroutine = edge.direct(self)
        self.step()

    def step(self) -> None:
        """Goes on with the application: what it waited for has come."""
        coroutine = self._coroutine
        assert coroutine is not None
        try:
            wanted = coroutine.send(None)
        except StopIteration:
            self._over()
        except Exception:  # noqa: BLE001 - `_failed` logs it
            self._failed()
            self._over()
        else:
            if wanted is not PARKED:
                self.task = self.protocol.edge.loop.create_task(self._continue(coroutine, wanted))

    async def _continue(self, coroutine: Coroutine[Any, Any, None], wanted: Any) -> None:
        try:
            await _rest(coroutine, wanted)
        except Exception:  # noqa: BLE001 - `_failed` logs it
            self._failed()
        except asyncio.CancelledError:
            self._fail(503, b"Service Unavailable")  # the server stops, and has no more patience
            raise
        finally:
            self._over()

    def cancel(self, msg: str | None = None) -> None:
        """Ends the application as cancelling a task does: not before the next turn of the loop, for who asks
        may be going through the set of all that run, and a task that has not begun would not get its turn.
        """
        task = self.task
        if task is not None and getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro())) != (
            CORO_CREATED
        ):
            task.cancel(msg)
        elif self._coroutine is not None:
            self.protocol.edge.loop.call_soon(self._cancelled, msg)

    def _cancelled(self, msg: str | None) -> None:
        if self.task is not None:
            self.cancel(msg)
        elif (coroutine := self._coroutine) is not None:
            self._fail(503, b"Service Unavailable")
            if self._coroutine is None:
                return  # An answer that had begun was cut off, which has ended it.
            with contextlib.suppress(StopIteration, asyncio.CancelledError):
                coroutine.throw(asyncio.CancelledError(msg))
            self._over()

    def _over(self) -> None:
        if self._state != COMPLETE and not self.disconnected:
            logger.error("The application returned without completing its response to %r.", self)
            self._fail(500, b"Internal Server Error")
        protocol = self.protocol
        protocol.edge.active -= 1
        protocol.server_state.tasks.discard(self)
        self.task = self._coroutine = None

    def _failed(self) -> None:
        # An application that notices a lost client by an exception has done nothing wrong.
        level = logging.DEBUG if self.disconnected else logging.ERROR
        logger.log(level, "Exception in the application, at %r", self, exc_info=True)
        self._fail(500, b"Internal Server Error")


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None], wanted: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine that was begun without a task, and waits for `wanted`."""
    try:
        while True:
            try:
                yield wanted
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in is the coroutine's
                wanted = coroutine.throw(error)
            else:
                wanted = coroutine.send(None)
    except StopIteration:
        return
