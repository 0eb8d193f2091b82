"""Clients that judge every answer: whole, an error, cut off, none. Keep-alive, one request at a time each.

Lifetime: request.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field

from bench.processes import LOOPBACK

PATIENCE = 5.0
"""Seconds a client waits for the whole of an answer."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BACKEND = re.compile(rb"\r\nx-backend: *([^\r]+)")
REQUEST = b"GET /ratings/7 HTTP/1.1\r\nHost: ratings\r\n\r\n"


@dataclass(slots=True)
class Seen:
    """What the clients saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """`200`, another status, `cut off`, `no answer` (the connection ended) or `waited too long`."""
    waits: list[float] = field(default_factory=list)
    """Seconds of each request that succeeded."""
    served: list[tuple[float, str]] = field(default_factory=list)
    """When, and by which backend."""
    began: float = 0.0

    @property
    def total(self) -> int:
        """Requests."""
        return sum(self.outcomes.values())

    @property
    def success(self) -> float:
        """Share of whole 200s, percent."""
        return 100.0 * self.outcomes["200"] / max(1, self.total)

    def percentile(self, share: float) -> float:
        """Milliseconds of a successful request."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3 if ordered else 0.0


class _Client(asyncio.Protocol):
    """One connection; a request's outcome is the result of `answer`."""

    def __init__(self) -> None:
        self.received = b""
        self.answer: asyncio.Future[str] | None = None
        self.closed = False
        self.backend = ""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.received[:end]
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if len(self.received) >= end + 4 + length:
            backend = _BACKEND.search(head)
            self.backend = backend[1].decode() if backend else ""
            self.received = b""
            self.told(head[9:12].decode())

    def connection_lost(self, _exc) -> None:
        self.closed = True
        self.told("cut off" if self.received else "no answer")

    def told(self, outcome: str) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(outcome)


async def _one(port: int, left: list[int], until: float, seen: Seen) -> None:
    loop = asyncio.get_running_loop()
    client: _Client | None = None
    while left[0] > 0 and time.monotonic() < until:
        left[0] -= 1
        if client is None or client.closed:
            _, client = await loop.create_connection(_Client, LOOPBACK, port)
        answer = client.answer = loop.create_future()
        began = time.monotonic()
        late = loop.call_later(PATIENCE, client.told, "waited too long")
        client.transport.write(REQUEST)
        outcome = await answer
        late.cancel()
        now = time.monotonic()
        seen.outcomes[outcome] += 1
        if outcome == "200":
            seen.waits.append(now - began)
            seen.served.append((now - seen.began, client.backend))
        else:  # Whatever comes on this connection now, it is not the next answer.
            client.transport.abort()
            client.closed = True
    if client is not None:
        client.transport.abort()


async def crowd(port: int, *, clients: int, requests: int = 10**12, seconds: float = 1e9) -> Seen:
    """So many requests, or as many as fit into the time."""
    seen = Seen(began=time.monotonic())
    left = [requests]
    until = seen.began + seconds
    await asyncio.gather(*(_one(port, left, until, seen) for _ in range(clients)))
    return seen
