"""The response side of an upstream connection: bytes in; a head, pieces of a body and an end out.

Lifetime: process (a part of `Connection`, which has the other side and the pool).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from gateway.upstream.errors import UpstreamError, protocol_error, terminated
from gateway.upstream.response import (
    BODILESS,
    END_OF_HEAD,
    SIZED,
    SWITCHING,
    ChunkedBody,
    Framing,
    ResponseHead,
    check_partial_head,
    parse_head,
    parse_switch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.upstream.cluster_config import ClusterConfig

MAX_INTERIM: Final = 16
"""1xx responses before the final one (security.md R14)."""
ENOUGH: Final = 64 * 1024
"""Unread body bytes at which reading pauses when nobody waits for them."""
TOO_MUCH: Final = 256 * 1024
"""The same when somebody waits: uvloop may deliver several pieces before the waiting task runs."""

IDLE, HEAD, BODY, DONE, CLOSED, ASKING, SWITCHED, POSTED = range(8)
"""Where the response is: none asked for, head awaited, body under way, complete, connection closed; or the
head of one that may be 101, and what follows that; or the request leaves at the end of this turn."""


class Receiving(asyncio.Protocol):
    """What has come of the response."""

    __slots__ = (
        "_buffered", "_chunked", "_config", "_error", "_head", "_held", "_interim", "_partial", "_passed",
        "_paused", "_pieces", "_reader", "_remaining", "_state", "_to_head", "_transport", "_unsent",
        "response_started", "resume",
    )  # fmt: skip

    def __init__(self, config: ClusterConfig) -> None:
        self.response_started = False
        """Whether a byte of the response arrived."""
        self._config = config
        self._transport: Any = None
        self._state = IDLE
        self._error: UpstreamError | None = None
        self._reader: asyncio.Future[None] | None = None
        self.resume: Callable[[], None] | None = None
        """Called once, instead of waking a task, by what `change` waits for (`gateway.http.parking`)."""
        self._paused = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._head: ResponseHead | None = None
        self._held: ResponseHead | None = None
        """A head that is not told before its body is whole (`response_hold_bytes`)."""
        self._partial: bytearray | None = None
        self._chunked: ChunkedBody | None = None
        self._remaining = self._interim = self._unsent = 0
        self._to_head = False
        self._passed = 0
        """Pieces that came or went without a change of state: what `look` sees of progress."""

    def _shut(self, error: UpstreamError | None) -> None:
        """Closes the connection; the first reason stays."""
        raise NotImplementedError

    def _wake(self) -> None:
        """Lets the reader go on."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """Whether the whole response has arrived: then `read` never waits."""
        return self._state == DONE or (self._state == CLOSED and self._error is None)

    def arrived(self) -> ResponseHead | None:
        """`response`, if it is there; None while it is awaited: then `change` or `resume` tells of news."""
        if self._head is None and self._error is not None:
            raise self._error.with_traceback(None)
        return self._head

    def take(self) -> bytes:
        """What there is of the body now; b"" when nothing is."""
        pieces = self._pieces
        self._buffered = 0
        if self._paused:
            self._paused = False
            if self._state != CLOSED:
                self._transport.resume_reading()
        if len(pieces) == 1:
            return pieces.pop()
        joined = b"".join(pieces)
        pieces.clear()
        return joined

    def data_received(self, data: bytes) -> None:
        """Bytes of the response, or bytes nobody asked for."""
        try:
            if self._state == HEAD:
                self.response_started = True
                self._take_head(data)
            elif self._state == BODY:
                self._take_body(data)
            elif self._state == ASKING:
                self.response_started = True
                self._take_verdict(data)
            elif self._state == SWITCHED:
                self._keep(data)
            else:  # nobody has asked for it, or not yet
                self._shut(terminated(sent=False) if self._state == POSTED else None)
                return
        except UpstreamError as error:
            self._shut(error)
            return
        self._wake()

    def _take_head(self, data: bytes) -> None:
        """Collects the head, skips interim ones, and sees how the body is framed."""
        partial = self._partial
        if partial is None:
            end = data.find(END_OF_HEAD)
        else:
            begin = max(len(partial) - 3, 0)
            partial += data
            end = partial.find(END_OF_HEAD, begin)
            data = bytes(partial) if end >= 0 else data
        config = self._config
        limit = config.response_head_bytes
        while end >= 0:
            end += len(END_OF_HEAD)
            if end > limit:
                raise protocol_error(f"response head larger than {limit} bytes")
            head = parse_head(data[:end], to_head=self._to_head, max_headers=config.response_headers)
            if head.status >= 200:
                self._partial = None
                self._take_final(head, data, end)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise protocol_error(f"more than {MAX_INTERIM} interim responses")
            data, partial = data[end:], None
            end = data.find(END_OF_HEAD)
        self._passed += 1
        if partial is None:
            self._partial = partial = bytearray(data)
        check_partial_head(partial, limit)

    def _take_verdict(self, data: bytes) -> None:
        """101, or else the head of an ordinary response."""
        partial = self._partial = self._partial or bytearray()
        partial += data
        if not (partial.startswith(SWITCHING) or SWITCHING.startswith(partial)):
            self._state, self._partial = HEAD, None
            self._take_head(bytes(partial))
            return
        config = self._config
        end = partial.find(END_OF_HEAD) + len(END_OF_HEAD)
        if end < len(END_OF_HEAD):
            check_partial_head(partial, config.response_head_bytes)
            return
        check_partial_head(partial[:end], config.response_head_bytes)
        self._head = parse_switch(bytes(partial[:end]), max_headers=config.response_headers)
        self._state, self._partial = SWITCHED, None
        if end < len(partial):
            self._keep(bytes(partial[end:]))

    def _take_final(self, head: ResponseHead, data: bytes, end: int) -> None:
        """The final head ends at `end` of `data`; the rest is body, or a reason to close."""
        self._head = head
        size = len(data) - end
        if head.framing is SIZED:
            if size == head.length:  # as most are
                if size:
                    self._pieces.append(data[end:])
                self._state = DONE
            elif size > head.length:
                if head.length:
                    self._pieces.append(data[end : end + head.length])
                self._finish_response(surplus=True)
            else:
                self._state = BODY
                self._remaining = head.length - size
                # Whoever is still sending may wait for the head before it goes on.
                if head.length <= self._config.response_hold_bytes and not self._unsent:
                    self._head, self._held = None, head
                if size:
                    self._keep(data[end:])
        elif head.framing is BODILESS:
            self._finish_response(surplus=size > 0)
        else:
            self._state = BODY
            if head.framing is Framing.CHUNKED:
                self._chunked = ChunkedBody()
            if size:
                self._take_body(data[end:])

    def _take_body(self, data: bytes) -> None:
        """A sized body is counted and passed on as it came: no parser, no copy."""
        if self._chunked is not None:
            for piece in self._chunked.feed(data):
                self._keep(piece)
            if self._chunked.complete:
                self._finish_response(surplus=self._chunked.surplus)
            return
        self._remaining -= len(data)
        if self._remaining > 0:
            self._keep(data)
            return
        if self._head is None:
            self._head, self._held = self._held, None
        if self._head.framing is Framing.CLOSE:  # type: ignore[union-attr] # BODY has a head
            self._keep(data)
            return
        surplus = self._remaining < 0
        self._pieces.append(data[: self._remaining] if surplus else data)
        self._finish_response(surplus=surplus)

    @property
    def _awaited(self) -> bool:
        return self._reader is not None or self.resume is not None

    def _keep(self, piece: bytes) -> None:
        """Holds a piece until it is read, and the upstream back when there is enough of them."""
        self._pieces.append(piece)
        self._buffered += len(piece)
        self._passed += 1
        if not self._paused and self._buffered >= (TOO_MUCH if self._awaited else ENOUGH):
            self._paused = True
            self._transport.pause_reading()

    def _finish_response(self, *, surplus: bool) -> None:
        """The response is complete; bytes beyond it condemn the connection at once."""
        self._state = DONE
        self._chunked = None
        if surplus:
            self._shut(None)
