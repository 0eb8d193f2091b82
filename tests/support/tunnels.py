"""Handshakes as bytes, and backends that agree to them.

async with Backend(agreeing).running() as backend:
    async with tunnel(gateway) as raw:        # 101 has come
        await raw.send(b"any bytes")
"""

from __future__ import annotations

import gc
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.raw import Raw
from support.scripted import forwards
from support.stage import route, service
from support.waiting import until

from gateway.exchange.splice import End

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from support.stage import Call, Stage

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What RFC 6455 1.3 answers to it."""
OFFER = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
FIELDS = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
SWITCHED = AGREED + b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"


def handshake(
    path: bytes = b"/", *, host: bytes = b"reviews", offer: bytes = OFFER, fields: bytes = FIELDS
) -> bytes:
    """The head of a request for a WebSocket."""
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (path, host, offer, fields)


async def agreeing(call: Call) -> None:
    """101, then every byte back until the client sends no more."""
    await call.head()
    await call.send(SWITCHED)
    while data := await call.reader.read(65536):
        await call.send(data)


def agreeing_then(play: Callable[[Call], Awaitable[None]]) -> Callable[[Call], Awaitable[None]]:
    """101, then whatever `play` does."""

    async def handler(call: Call) -> None:
        await call.head()
        await call.send(SWITCHED)
        await play(call)

    return handler


@asynccontextmanager
async def tunnel(stage: Stage, head: bytes | None = None) -> AsyncIterator[Raw]:
    """A connection on which 101 has come."""
    async with Raw(stage.port) as raw:
        await raw.send(head or handshake())
        answer = await raw.response()
        assert answer.status == 101, answer
        yield raw


def lines(stage: Stage) -> list[dict[str, Any]]:
    """The access log, after everything finished was written."""
    return [json.loads(line) for line in stage.logged().splitlines()]


def ends() -> list[End]:
    """Both sides of every tunnel there is."""
    return [item for item in gc.get_objects() if type(item) is End]  # a dead proxy is of no type


async def idle(stage: Stage) -> None:
    """Returns when no tunnel is open, no place for one is taken, and every connection was given back."""
    spine = stage.gateway._spine
    assert spine is not None
    clusters = stage.gateway.control.snapshot.clusters.values()
    tunnels = spine.tunnels
    await until(lambda: not (tunnels.taken or tunnels.open or any(each.pool.active() for each in clusters)))


def to(port: int, more: str = "") -> str:
    """A configuration that takes everything for `reviews` to one port; `more`: fields of the route."""
    return service("reviews", port) + route("reviews", forwards(more))
