"""Two connections whose bytes go into each other, as they come: no parser, no copy, no task.

Lifetime: request.

Each side is read as fast as the other takes it: when a transport's buffer is full the opposite one is not
read. The end of one direction is passed on behind its last byte, and the other direction goes on, where both
transports can be half closed (TLS cannot); a connection that is cut off cuts the other one off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class End(asyncio.Protocol):
    """One of the two."""

    __slots__ = ("_splice", "eof", "lost", "moved", "other", "owner", "transport")

    def __init__(self, splice: Splice) -> None:
        self.other: End = self
        self.transport: Any = None
        self.owner: Any = None
        """The protocol before us, which keeps the books of the connection."""
        self.moved = 0
        """Bytes that came from here."""
        self.eof = False
        """No more will come from here."""
        self.lost = False
        """The transport is gone."""
        self._splice = splice

    def take(self, transport: asyncio.Transport) -> None:
        """The transport's events are ours from here on."""
        self.transport, self.owner = transport, transport.get_protocol()
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """On to the other side."""
        self.moved += len(data)
        if not self.other.lost:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """This side is full: the other one is read no further."""
        other = self.other
        if not (other.eof or other.transport.is_closing()):
            other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side has room again."""
        other = self.other
        if not (other.eof or other.transport.is_closing()):
            other.transport.resume_reading()

    def eof_received(self) -> bool:
        """This direction is over; False closes this side as well, once it has taken what is written."""
        self.eof = True
        return self._splice.half_closed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """This side is gone."""
        self.lost = True
        self.owner.connection_lost(exc)
        self._splice.lost(self, exc)


class Splice:
    """Both ends. `take` a transport into each; `over` is called once, when both are gone."""

    __slots__ = ("_over", "_slower", "client", "failure", "first", "upstream")

    def __init__(self, over: Callable[[], None], slower: Callable[[], None]) -> None:
        """`slower`: called when one direction has ended, and the other still goes on."""
        self._over = over
        self._slower = slower
        self.client, self.upstream = End(self), End(self)
        self.client.other, self.upstream.other = self.upstream, self.client
        self.first: End | None = None
        """Who ended it."""
        self.failure: Exception | None = None
        """What cut `first` off; None: it closed."""

    @property
    def moved(self) -> int:
        """Bytes in both directions."""
        return self.client.moved + self.upstream.moved

    def half_closed(self, end: End) -> bool:
        """`end` sends no more. Returns whether it may still be sent something."""
        other = end.other
        if self.first is None:
            self.first = end
        if other.lost:
            return False
        if other.eof or not (end.transport.can_write_eof() and other.transport.can_write_eof()):
            other.transport.close()  # behind what it has still to take
            return False
        other.transport.write_eof()
        self._slower()
        return True

    def lost(self, end: End, failure: Exception | None) -> None:
        """`end` is gone."""
        if self.first is None:
            self.first, self.failure = end, failure
        other = end.other
        if other.lost:
            self._over()
        elif failure is None:
            other.transport.close()
        else:
            other.transport.abort()

    def abort(self) -> None:
        """Cuts both off."""
        for end in (self.client, self.upstream):
            if end.transport is not None and not end.lost:
                end.transport.abort()
