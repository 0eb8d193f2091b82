"""A client's connection below HTTP: what is written when, when reading stops, how it closes.

Lifetime: process (a part of `EdgeProtocol`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.server.edge import Edge
    from gateway.server.limits import Limits

HEAD, BODY, WHOLE, DEAF, AWAY = range(5)
"""The phases of a connection, as `gateway.server.protocol` has them."""


class Wire(asyncio.Protocol):
    """The transport of a client's connection."""

    __slots__ = (
        "_ahead",
        "_drained",
        "_limits",
        "_phase",
        "_read_paused",
        "_unsent",
        "deadline",
        "edge",
        "posted",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.deadline: float
        self.write_paused = False
        self.posted = False
        """A response leaves at the end of this turn of the loop."""
        self._limits: Limits = edge.follow_settings()
        self._phase = HEAD
        self._ahead = b""
        """Pipelined bytes."""
        self._read_paused = False
        self._drained: list[asyncio.Future[None]] = []
        self._unsent = 0
        """Bytes in the transport's buffer when the client was last seen to take none."""

    async def drain(self) -> None:
        """Returns when the client has taken enough of what was sent, or is gone."""
        while self.write_paused and self._phase != DEAF:
            waiter = self.edge.loop.create_future()
            self._drained.append(waiter)
            await waiter

    def post(self, data: bytes) -> None:
        """Sends a whole response, or what is left of it, at the end of this turn of the loop."""
        self.posted = True
        self.edge.turn.write(self._send_posted, data)

    def _send_posted(self, data: bytes) -> None:
        self.posted = False
        if not self.transport.is_closing():
            self.transport.write(data)

    def _settle(self) -> None:
        """Nothing that comes now may overtake the last response, or cut it off."""
        if self.posted:
            self.edge.turn.flush()

    def _close(self) -> None:
        """Closes once everything written has been sent."""
        self._settle()
        if self._phase == BODY or self._ahead:
            self._linger()
            return
        self._go_deaf(self._limits.stream_idle)
        self.transport.close()

    def _linger(self) -> None:
        """Closes our direction and drops what still comes. A plain close with bytes unread would be a reset,
        and that takes the answer out of the client's hands before it has read it.
        """
        self._go_deaf(self._limits.linger)
        if self.transport.is_closing():
            return
        if self._read_paused:
            self._resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _go_deaf(self, patience: float) -> None:
        self._phase = DEAF
        self._ahead = b""
        self._unsent = self.transport.get_write_buffer_size()
        self.deadline = self.edge.sweeper.after(self._limits.stream_idle if self._unsent else patience)

    def _pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        self._read_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _wake_writers(self) -> None:
        if self._drained:
            waiters, self._drained = self._drained, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
