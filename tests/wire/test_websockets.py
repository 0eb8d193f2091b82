"""WebSockets through a whole gateway, with a real library on both sides."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.scripted import forwards
from support.stage import Stage, route, service, stage
from support.tunnels import ends, idle, lines
from support.upstreams import LOOPS, Run
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

Handler = Callable[[ServerConnection], Awaitable[None]]
LARGE = 16 * 1024 * 1024


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@asynccontextmanager
async def between(
    tmp_path: Path, handler: Handler = echo, **settings: Any
) -> AsyncIterator[tuple[Stage, Server]]:
    """A gateway before a WebSocket server."""
    async with serve(handler, "127.0.0.1", 0, max_size=None, **settings) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with stage(tmp_path, service("reviews", port) + route("reviews", forwards())) as gateway:
            yield gateway, server


def opened(gateway: Stage, path: str = "/", **settings: Any) -> connect:
    """A client of the gateway."""
    return connect(
        f"ws://reviews{path}", host="127.0.0.1", port=gateway.port, proxy=None, max_size=None, **settings
    )


@LOOPS
def test_text_binary_and_fragments(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with between(tmp_path) as (gateway, _), opened(gateway) as socket:
            for message in ("grüße", b"\x00\xff", "", b""):
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send(["three ", "frames ", "one message"])
            assert await socket.recv() == "three frames one message"

    run(main())


@LOOPS
@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_message_of_16_mib_passes_whole(run: Run, tmp_path: Path, compression: str | None) -> None:
    """How much of it lies in the gateway at a time is looked at where one side does not read."""
    message = random.Random(1).randbytes(LARGE)

    async def main() -> None:
        async with (
            between(tmp_path, compression=compression) as (gateway, _),
            opened(gateway, compression=compression) as socket,
        ):
            await socket.send(message)
            assert await socket.recv() == message

    run(main())


def test_extensions_are_between_client_and_server(tmp_path: Path) -> None:
    """permessage-deflate is agreed on with the server's own parameters, and its bytes pass unchanged."""

    async def main() -> None:
        async with between(tmp_path) as (gateway, _):
            async with opened(gateway) as socket:
                assert socket.response is not None
                agreed = socket.response.headers["sec-websocket-extensions"]
                assert "server_max_window_bits=12" in agreed  # what this library's server asks for
                await socket.send("x" * 100_000)
                assert len(await socket.recv()) == 100_000
            await idle(gateway)
            (line,) = lines(gateway)
            assert 0 < line["bytes_received"] < 2000

    asyncio.run(main())


def test_pings_cross_from_end_to_end(tmp_path: Path) -> None:
    async def main() -> None:
        pinged = asyncio.Event()

        async def pinging(socket: ServerConnection) -> None:
            await (await socket.ping(b"are you there"))
            pinged.set()
            await socket.wait_closed()

        async with (
            between(tmp_path, pinging, ping_interval=None) as (gateway, _),
            opened(gateway, ping_interval=None) as socket,
        ):
            assert await asyncio.wait_for(await socket.ping(b"and you"), 5) >= 0
            await asyncio.wait_for(pinged.wait(), 5)

    asyncio.run(main())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4321, "ciao, \u00fc"), (1011, "oops")])
def test_close_codes_and_reasons_pass_both_ways(tmp_path: Path, code: int, reason: str) -> None:
    async def main() -> None:
        seen: list[tuple[int | None, str | None]] = []
        over = asyncio.Event()

        async def closing(socket: ServerConnection) -> None:
            if await socket.recv() == "you first":
                await socket.close(code, reason)
            else:
                await socket.wait_closed()
                seen.append((socket.close_code, socket.close_reason))
                over.set()

        async with between(tmp_path, closing) as (gateway, _):
            async with opened(gateway) as socket:
                await socket.send("you first")
                with pytest.raises((ConnectionClosedOK, ConnectionClosedError)):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (code, reason)
            async with opened(gateway) as socket:
                await socket.send("me first")
                await socket.close(code, reason)
            await asyncio.wait_for(over.wait(), 5)
            assert seen == [(code, reason)]
            await idle(gateway)
            assert [line["response_flags"] for line in lines(gateway)] == ["-", "-"]

    asyncio.run(main())


def test_the_server_chooses_the_subprotocol(tmp_path: Path) -> None:
    async def main() -> None:
        offers = [Subprotocol("chat.v1"), Subprotocol("chat.v2")]
        async with (
            between(tmp_path, subprotocols=[Subprotocol("chat.v2")]) as (gateway, _),
            opened(gateway, subprotocols=offers) as socket,
        ):
            assert socket.subprotocol == "chat.v2"

    asyncio.run(main())


def test_the_servers_refusal_reaches_the_client(tmp_path: Path) -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response | None:
        return socket.respond(403, "members only\n") if request.path == "/secret" else None

    async def main() -> None:
        async with between(tmp_path, process_request=refuse) as (gateway, _):
            with pytest.raises(InvalidStatus) as refused:
                async with opened(gateway, "/secret"):
                    pass
            answer = refused.value.response
            assert (answer.status_code, answer.body) == (403, b"members only\n")
            async with opened(gateway, "/open") as socket:
                await socket.send("hi")
                assert await socket.recv() == "hi"

    asyncio.run(main())


def test_many_tunnels_at_once(tmp_path: Path) -> None:
    """Nobody gets another's bytes, and nothing is left when they are gone."""

    async def talk(gateway: Stage, number: int) -> None:
        rng = random.Random(number)
        async with opened(gateway) as socket:
            for _ in range(10):
                message = rng.randbytes(rng.randrange(1, 20_000))
                await socket.send(message)
                assert await socket.recv() == message

    async def main() -> None:
        async with between(tmp_path) as (gateway, _):
            await asyncio.gather(*(talk(gateway, number) for number in range(100)))
            await idle(gateway)
            assert len(lines(gateway)) == 100
            gc.collect()
            assert ends() == []

    asyncio.run(main())
