"""The end of a turn of the event loop: what its events put off until all of them were seen.

Lifetime: process (one event loop).

Theory. A loop learns of many sockets at once. To answer each before the next one is read makes every write
wake a process that waits for it, and takes processor caches from one kind of work to another and back, for
each request anew. Put off to the end of the turn, writes go out one behind the other while the peer is
already awake, and what is told of finished requests is told of all of them together. Measured on one core:
a third of the CPU of a small request. With one request at a time, a turn is one event, and nothing waits.

Who puts something off asks for `flush` before anything that must not overtake it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = tuple[Callable[[Any], object], Any]

logger = logging.getLogger("gateway")

MOST: Final = 48
"""Writes that are put off; the next one ends the wait of all, for a turn may be long."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


class Turn:
    """What is to be done at the end of this turn."""

    __slots__ = ("_armed", "_records", "_writes")

    def __init__(self) -> None:
        # Without the loop: the turn would keep the key alive that it is found under.
        self._writes: list[Call] = []
        self._records: list[Call] = []
        self._armed = False

    def __repr__(self) -> str:
        return f"<Turn of {len(self._records)} records, {len(self._writes)} writes>"

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Turn:
        """The one of this loop."""
        turn = _turns.get(loop)
        if turn is None:
            turn = _turns[loop] = cls()
        return turn

    def write(self, send: Callable[[Any], object], data: bytes) -> None:
        """Calls `send(data)` at the end, behind all `record`s: who sees an answer can see what is told of it.

        Things are sent in the order in which they came here.
        """
        writes = self._writes
        writes.append((send, data))
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self.flush)
        elif len(writes) >= MOST:
            self.flush()

    def record(self, tell: Callable[[Any], object], what: object) -> None:
        """Calls `tell(what)` at the end."""
        self._records.append((tell, what))
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Does now what was put off."""
        self._armed = False
        records, self._records = self._records, []
        for call, argument in records:
            try:
                call(argument)
            except Exception:
                logger.exception("at the end of a request")
        writes, self._writes = self._writes, []
        for call, argument in writes:
            try:
                call(argument)
            except Exception:
                logger.exception("at the end of a turn")
