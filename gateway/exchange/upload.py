"""The request body on its way up: read from the client once, sent to as many tries as there are.

Lifetime: request. The first try gets each chunk as it comes; a later one first what was kept. At most one
chunk is in hand besides the buffer: the client is read no faster than the backend takes it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from gateway.exchange.replay import Replay
from gateway.http.reply import ClientLeft
from gateway.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.upstream import Connection


class Uploading(Protocol):
    """What an upload tells its exchange."""

    bytes_received: int

    def client_gone(self) -> None:
        """The client left."""

    def upload_complete(self) -> None:
        """The whole body was read; timeouts start, mirrors may have it."""

    def upload_stuck(self) -> None:
        """The body outgrew the buffer while no connection could take it: answer `TOO_LARGE`."""


class Upload:
    """One request's body on its way: `attach` each try's connection, `pause` between tries, last `close`."""

    __slots__ = ("_catching_up", "_exchange", "_paused", "_receive", "_replay", "_sink", "_task", "complete")

    def __init__(
        self, exchange: Uploading, receive: Callable[[], Awaitable[tuple[bytes, bool]]], replay: Replay | None
    ) -> None:
        """`receive`: as `Downstream.receive`. Without a `replay` nothing is kept."""
        self.complete = False
        """The whole body was read from the client."""
        self._exchange = exchange
        self._receive = receive
        self._replay = replay
        self._sink: Connection | None = None
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None

    @property
    def untouched(self) -> bool:
        """Whether no byte of the body was read yet."""
        return not self._exchange.bytes_received

    @property
    def replayable(self) -> bool:
        """Whether all that was read can be sent again."""
        return self.untouched or (self._replay is not None and not self._replay.overflowed)

    @property
    def replay(self) -> Replay | None:
        """The body, when it is kept; it is whole once `complete`."""
        return None if self._replay is None or self._replay.overflowed else self._replay

    def attach(self, connection: Connection) -> None:
        """Sends the body to `connection`, whose request head was started: what is kept, then what comes."""
        self._paused = False
        if self._task is None:
            self._sink = connection
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self._replay:
            self._catching_up = asyncio.get_running_loop().create_task(
                self._catch_up(connection, self._replay)
            )
        else:
            self._sink = connection
            if self.complete:
                connection.finish()

    def pause(self) -> None:
        """The try failed and there will be another: what comes meanwhile is kept.

        To be called before its connection is given back, and only while the body is `replayable`.
        """
        self._stop_catching_up()
        self._sink = None
        self._paused = True
        if self._replay is None and not self.complete:
            self._replay = Replay()  # Nothing was read yet, so it will hold the body from its first byte.

    def forget(self) -> None:
        """There will be no other try: what was kept for it can go."""
        if self._catching_up is None:
            self._replay = None

    def close(self) -> None:
        """Ends the upload, whatever it is doing."""
        self._stop_catching_up()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        receive, exchange = self._receive, self._exchange
        more = True
        while more:
            try:
                chunk, more = await receive()
            except ClientLeft:
                exchange.client_gone()
                return
            if chunk:
                exchange.bytes_received += len(chunk)
                if not await self._take(chunk):
                    exchange.upload_stuck()
                    return
        self.complete = True
        if self._sink is not None:
            self._sink.finish()
        exchange.upload_complete()

    async def _take(self, chunk: bytes) -> bool:
        """Keeps a chunk and passes it on; False when it can go nowhere."""
        replay = self._replay
        while (catching_up := self._catching_up) is not None:
            if replay is not None and replay.fits(chunk):
                replay.append(chunk)
                return True
            await asyncio.wait({catching_up})  # Nothing may be let go that is not sent yet.
            if self._catching_up is catching_up:
                self._catching_up = None
        if replay is not None and not replay.append(chunk) and self._paused:
            return False
        sink = self._sink
        if sink is not None:
            try:
                await sink.write(chunk)
            except UpstreamError:  # Whoever reads the response learns of it as well, and decides.
                if self._sink is sink:
                    self._sink = None
        return True

    async def _catch_up(self, connection: Connection, replay: Replay) -> None:
        """Sends a later try what was kept, and what is being kept meanwhile; then it gets each chunk live."""
        sent = 0
        try:
            while sent < len(replay):
                sent += 1
                await connection.write(replay.chunk(sent - 1))
        except UpstreamError:
            self._catching_up = None
            return
        self._catching_up = None
        self._sink = connection
        if self.complete:
            connection.finish()

    def _stop_catching_up(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
