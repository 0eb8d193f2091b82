"""A backend that swallows request bodies: answers with their size once they have ended.

Run as `python -m bench.sink PORT`.
"""

from __future__ import annotations

import asyncio
import re
import sys

import uvloop

from bench.processes import LOOPBACK

ROOM = 1 << 20
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Sink(asyncio.BufferedProtocol):
    """One connection; reads into one buffer that is never looked at twice."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(ROOM))
        self.head = b""
        self.received = 0
        self.expected: int | None = None
        self.tail = b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self.room

    def buffer_updated(self, nbytes: int) -> None:
        piece = self.room[:nbytes]
        if self.head.endswith(b"\r\n\r\n"):
            self._body(piece)
            return
        head, blank, rest = (self.head + bytes(piece)).partition(b"\r\n\r\n")
        self.head = head + blank
        if blank:
            found = LENGTH.search(head)
            self.expected = int(found[1]) if found else None
            self._body(memoryview(rest))

    def _body(self, piece: memoryview) -> None:
        self.received += len(piece)
        if self.expected is None:  # chunked: only its end matters here
            self.tail = (self.tail + bytes(piece[-5:]))[-5:]
            ended = self.tail == b"0\r\n\r\n"
        else:
            ended = self.received >= self.expected
        if ended:
            body = b"%d" % self.received
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            self.head, self.received, self.expected, self.tail = b"", 0, None, b""


async def serve(port: int) -> None:
    """Until ended from outside."""
    server = await asyncio.get_running_loop().create_server(Sink, LOOPBACK, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
