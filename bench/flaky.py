"""A backend that fails a share of its requests in every way there is, and counts what it did.

Run as `python -m bench.flaky PORT NAME SHARE SEED`. `GET /counts` tells the counts.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter
from typing import ClassVar

import uvloop

from bench.processes import LOOPBACK

BODY = b"x" * 150
KINDS = ("503", "reset", "cut", "black hole", "slow")
"""An answer; a reset before any byte of one; a reset inside its body; silence; an answer nobody waits for."""
SLOW = 8.0
"""Seconds a slow answer takes: longer than a try may take, and longer than the client waits."""


class Flaky(asyncio.Protocol):
    """One connection."""

    share = 0.0
    counts: ClassVar[Counter[str]] = Counter()
    dice = random.Random(1)
    name = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            if head.startswith(b"GET /counts"):
                self._send(b"200 OK", json.dumps(self.counts).encode())
                continue
            kind = self.dice.choice(KINDS) if self.dice.random() < self.share else "served"
            self.counts[kind] += 1
            self._play(kind)

    def _play(self, kind: str) -> None:
        match kind:
            case "served":
                self._send(b"200 OK", BODY)
            case "503":
                self._send(b"503 Service Unavailable", b"broken")
            case "slow":
                loop = asyncio.get_running_loop()
                loop.call_later(SLOW, lambda: self.transport.is_closing() or self._send(b"200 OK", BODY))
            case "reset":
                self._reset()
            case "cut":
                self._send(b"200 OK", BODY, BODY[:70])
                asyncio.get_running_loop().call_later(0.002, self._reset)

    def _send(self, status: bytes, body: bytes, sent: bytes | None = None) -> None:
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-length: %d\r\nx-backend: %b\r\n\r\n%b"
            % (status, len(body), self.name, body if sent is None else sent)
        )

    def _reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def serve(port: int) -> None:
    """Until ended from outside."""
    server = await asyncio.get_running_loop().create_server(Flaky, LOOPBACK, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    Flaky.name = sys.argv[2].encode()
    Flaky.share = float(sys.argv[3])
    Flaky.dice = random.Random(int(sys.argv[4]))
    uvloop.run(serve(int(sys.argv[1])))
