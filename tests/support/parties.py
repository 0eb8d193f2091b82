"""Clients and backends without sockets: what each sends and takes, and whether it got what is its own.

`support.turns` puts a gateway between them.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.server.protocol import EdgeProtocol

if TYPE_CHECKING:
    from support.turns import World

HIGH_WATER = 65536
EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-id: evil\r\n\r\nEVIL"


class Pipe(asyncio.Transport):
    """One end of a connection, as the gateway has it."""

    def __init__(self, world: World, protocol: Any, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self.world = world
        self.protocol = protocol
        self.reading = True
        self.closing = self.lost = self.eof = self.broken = False
        self.stuck = False
        self.buffer = b""
        self.paused = False
        self.taken = bytearray()
        """What went out and was taken by the other side."""

    def write(self, data: Any) -> None:
        if self.broken:
            return  # as loops do it
        assert not self.closing, f"written after the end: {bytes(data)[:80]!r}"
        assert not self.eof, "written after the end of our direction"
        self.buffer += bytes(data)
        if self.stuck:
            if len(self.buffer) > HIGH_WATER and not self.paused:
                self.paused = True
                self.protocol.pause_writing()
        else:
            self.flow()

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def flow(self) -> None:
        """The other side takes everything."""
        self.stuck = False
        self.taken += self.buffer
        self.buffer = b""
        self.seen()
        if self.paused:
            self.paused = False
            if not self.closing:
                self.protocol.resume_writing()
        if self.closing:
            self.lose(None)

    def seen(self) -> None:
        """More was taken."""

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return HIGH_WATER // 4, HIGH_WATER

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def close(self) -> None:
        self.closing = True
        if not self.buffer:
            self.lose(None)

    def abort(self) -> None:
        self.closing = True
        self.buffer = b""
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """The connection is over, which the protocol learns in another turn."""
        self.closing = True
        if not self.lost:
            self.lost = True
            self.world.loop.call_soon(self.protocol.connection_lost, error)

    def reset(self) -> None:
        """From the other side."""
        if not self.lost:
            self.buffer = b""
            self.broken = True
            self.lose(ConnectionResetError())

    def end(self) -> None:
        """The other side sends no more."""
        if not self.closing and not self.protocol.eof_received():
            self.close()


class Wanted:
    """A request of a client."""

    def __init__(self, client: Client, id: int, method: str, path: str, size: int) -> None:  # noqa: A002
        self.client = client
        self.id = id
        self.method = method
        self.path = path
        self.size = size
        self.departures = 0
        self.tag = b"x-id: %d\r\n" % id
        """Of every answer to it that a backend makes."""

    def body(self, size: int) -> bytes:
        """What answers have, so that nothing of another one can be taken for it."""
        unit = b"[%d]" % self.id
        return (unit * (size // len(unit) + 1))[:size]


class Client(Pipe):
    """A client's connection."""

    def __init__(self, world: World) -> None:
        protocol = EdgeProtocol(world.uvicorn, world.server_state, world.app_state, world.loop)
        super().__init__(world, protocol, {"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 40000)})
        self.asked: list[Wanted] = []
        self.outbox = b""
        self.gone = False
        """It has left, and the gateway knows."""
        protocol.connection_made(self)

    def ask(self, method: str, path: str, size: int, *, close: bool = False, chunked: bool = False) -> None:
        """Has one more request to send."""
        wanted = Wanted(self, len(self.world.wanted), method, path, size)
        self.world.wanted.append(wanted)
        self.asked.append(wanted)
        lines = [f"{method} {path}?id={wanted.id} HTTP/1.1", "host: reviews"]
        body = b"b" * size
        if chunked:
            lines.append("transfer-encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
        elif size or method == "POST":
            lines.append(f"content-length: {size}")
        if close:
            lines.append("connection: close")
        self.outbox += "\r\n".join([*lines, "", ""]).encode() + body

    def deliver(self, most: int = 1 << 30) -> None:
        """The gateway gets some of what was sent."""
        if self.outbox and self.reading and not self.closing and not self.gone:
            piece, self.outbox = self.outbox[:most], self.outbox[most:]
            self.protocol.data_received(piece)

    def leave(self, *, politely: bool) -> None:
        """Is gone."""
        if not self.gone and not self.lost:
            self.gone = politely
            self.end() if politely else self.reset()

    def check(self, *, finished: bool) -> None:
        """Every answer is whole, in order, and its own; the last one may be cut off."""
        data = bytes(self.taken)
        assert b"EVIL" not in data, "another one's bytes"
        assert b"evil" not in data, "another one's bytes"
        at, answered = 0, 0
        while at < len(data):
            end = data.find(b"\r\n\r\n", at)
            if end < 0:
                assert self.closing or self.stuck, f"half a head: {data[at:]!r}"
                break
            head = data[at : end + 4]
            status = int(head[9:12])
            if answered == len(self.asked):
                assert b"\r\nx-id" not in head, f"an answer nobody asked for: {head!r}"
                assert self.closing or self.eof, head
                break
            if status == 408:
                break  # of half a head, whose method need not have been seen
            wanted = self.asked[answered]
            own = re.search(rb"\r\nx-id: (\d+)\r\n", head)
            assert own is None or int(own[1]) == wanted.id, f"{own} for {wanted.id}"
            at = end + 4
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
            if wanted.method == "HEAD" or status in {204, 304}:
                answered += 1
                continue
            if b"\r\ntransfer-encoding: chunked" in head:
                body, at, whole = _unchunked(data, at)
            elif length is None:
                body, at, whole = data[at:], len(data), self.closing
            else:
                size = int(length[1])
                body, whole = data[at : at + size], len(data) >= at + size
                at = min(at + size, len(data))
            if own is not None:
                assert body == wanted.body(len(body)), body[:80]
            if not whole:
                assert self.closing or self.stuck or not finished, f"half an answer: {head!r} {len(body)}"
                break
            answered += 1
        if finished and not (self.closing or self.eof):
            assert answered == len(self.asked), f"{answered} of {len(self.asked)} answered"


def _unchunked(data: bytes, at: int) -> tuple[bytes, int, bool]:
    body = b""
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return body, len(data), False
        size = int(data[at:line], 16)
        piece = data[line + 2 : line + 2 + size]
        body += piece
        at = line + 2 + size + 2
        if len(data) < at:
            return body, len(data), False
        if not size:
            return body, at, True


class Asked:
    """A request as a backend has it."""

    def __init__(self, wanted: Wanted, head: bytes) -> None:
        self.wanted = wanted
        self.head = head


class Poll:
    """Whether bytes lie in the socket that the loop has not delivered."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def poll(self, _: float) -> list[Any]:
        return [1] if self.link.inbox or self.link.lost else []


class Link(Pipe):
    """A connection to a backend, and the backend behind it."""

    def __init__(self, world: World, protocol: Any, host: str) -> None:
        super().__init__(world, protocol, {"socket": world.devnull, "sockname": ("10.0.0.9", 4000)})
        self.host = host
        self.inbox: deque[Segment] = deque()
        """Segments that the loop has not read yet."""
        self.requests: deque[Asked] = deque()
        """Not answered."""
        self._at = 0
        self._body = 0
        """Bytes still to come of a body; -1: a chunked one."""
        world.links.append(self)
        protocol.connection_made(self)
        protocol._poll = Poll(self)

    def seen(self) -> None:
        while True:
            data = self.taken
            if self._body > 0:
                step = min(self._body, len(data) - self._at)
                self._at += step
                self._body -= step
                if self._body:
                    return
            if self._body < 0:
                end = data.find(b"0\r\n\r\n", self._at)
                if end < 0:
                    return
                self._at, self._body = end + 5, 0
            end = data.find(b"\r\n\r\n", self._at)
            if end < 0:
                return
            head = bytes(data[self._at : end + 4])
            self._at = end + 4
            found = re.search(rb"\?id=(\d+) ", head)
            assert found is not None, head
            wanted = self.world.wanted[int(found[1])]
            wanted.departures += 1
            assert not wanted.client.gone, "departed for a client that is gone"
            self.requests.append(Asked(wanted, head))
            assert len(self.requests) == 1, "two requests at a time"
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
            self._body = int(length[1]) if length else 0
            if b"\r\ntransfer-encoding: chunked\r\n" in head:
                self._body = -1

    def deliver(self) -> None:
        """The gateway reads the next segment."""
        if not self.inbox or self.lost or (self.closing):
            return
        if not self.reading:
            return
        segment = self.inbox.popleft()
        if segment == "eof":
            self.end()
        elif segment == "rst":
            self.reset()
        else:
            assert isinstance(segment, bytes)
            self.protocol.data_received(segment)

    def answer(self, style: int, cut: int) -> None:
        """Answers the oldest request, in one of many ways."""
        if not self.requests or self.lost:
            return
        wanted = self.requests.popleft().wanted
        self.inbox.extend(answer(wanted, style, cut))


Segment = bytes | str
"""Bytes, `eof` or `rst`."""


def answer(wanted: Wanted, style: int, cut: int) -> list[Segment]:
    """One of many ways to answer, in segments as the gateway reads them; `cut`: where it is divided."""
    return _STYLES[style % STYLES](wanted, cut)


def _sized(wanted: Wanted, size: int, extra: bytes = b"", status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%b%b%b\r\n" % (status, size, wanted.tag, _DATE, extra)
    return head if wanted.method == "HEAD" else head + wanted.body(size)


def _chunked(wanted: Wanted, size: int) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n%b\r\n" % wanted.tag
    return head if wanted.method == "HEAD" else head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, wanted.body(size))


def _until_the_end(wanted: Wanted) -> bytes:
    head = b"HTTP/1.1 200 OK\r\n%b\r\n" % wanted.tag
    return head if wanted.method == "HEAD" else head + wanted.body(20)


def _bodiless(wanted: Wanted, cut: int) -> bytes:
    line = (b"204 No Content", b"304 Not Modified")[cut & 1]
    return b"HTTP/1.1 %b\r\n%b%b\r\n" % (line, wanted.tag, _DATE)


def _split(data: bytes, cut: int) -> list[Segment]:
    at = cut % len(data)
    return [data[:at], data[at:]] if at else [data]


_DATE = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
_ENDS: tuple[Segment, ...] = ("eof", "rst")
_STYLES: tuple[Callable[[Wanted, int], list[Segment]], ...] = (
    lambda wanted, _: [_sized(wanted, 20)],
    lambda wanted, _: [_sized(wanted, 20)],
    lambda wanted, cut: _split(_sized(wanted, 20), cut),
    lambda wanted, cut: _split(_sized(wanted, 9000), cut),
    lambda wanted, cut: _split(_sized(wanted, 40000), cut),
    lambda wanted, cut: _split(_chunked(wanted, 50), cut),
    lambda wanted, cut: [b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n", *_split(_sized(wanted, 20), cut)],
    lambda wanted, _: [_sized(wanted, 20, b"connection: close\r\n"), "eof"],
    lambda wanted, cut: [_bodiless(wanted, cut)],
    lambda wanted, _: [_sized(wanted, 20), EVIL],
    lambda wanted, _: [_sized(wanted, 20) + EVIL],
    lambda wanted, cut: [_split(_sized(wanted, 9000), cut)[0], _ENDS[cut & 1]],
    lambda _, __: [b"NONSENSE\r\n\r\n"],
    lambda _, cut: [_ENDS[cut & 1]],
    lambda wanted, cut: _split(_sized(wanted, 20, status=b"503 Service Unavailable"), cut),
    lambda wanted, _: [_until_the_end(wanted), "eof"],
    lambda wanted, cut: _split(_chunked(wanted, 200000), cut),
)
STYLES = len(_STYLES)
HUGE = STYLES - 1
