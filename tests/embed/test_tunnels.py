"""WebSockets where another application stands between the gateway and its own server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from support.fronted import served, written
from support.raw import Raw
from support.scripted import forwards, reply, scripted
from support.stage import Backend, route, service
from support.tunnels import agreeing, handshake

import gateway
from gateway.server.protocol import EdgeProtocol


def test_an_application_around_the_gateway_does_not_matter(tmp_path: Path) -> None:
    """As long as our protocol class holds the connection, and the scope tells of it."""

    async def main() -> None:
        async with Backend(agreeing).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards())
            inside = gateway.Gateway(config=written(tmp_path, config))

            async def outside(scope: Any, receive: Any, send: Any) -> None:
                await inside(scope, receive, send)

            async with served(outside, http=EdgeProtocol) as client, Raw(client.base_url.port or 0) as raw:
                await raw.send(handshake())
                assert (await raw.response()).status == 101
                await raw.send(b"hello")
                assert await raw.read(5) == b"hello"
                raw.half_close()
                assert await raw.closed() == b""

    asyncio.run(main())


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_another_servers_connection_is_not_ours_to_give_away(tmp_path: Path, http: str) -> None:
    """With that server's own WebSockets off, the offer is not taken: a plain request."""

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", forwards())
            app = gateway.Gateway(config=written(tmp_path, config))
            async with served(app, http=http, ws="none") as client, Raw(client.base_url.port or 0) as raw:
                await raw.send(handshake())
                assert (await raw.response()).status == 200
            (asked,) = backend.asked
            assert b"\r\nupgrade:" not in asked.head.lower()

    asyncio.run(main())


def test_the_wrapped_application_has_messages_and_not_bytes(tmp_path: Path) -> None:
    """On our protocol class, which makes no WebSocket scopes, the offer is not taken."""

    async def main() -> None:
        app = gateway.Gateway(Starlette(), config=written(tmp_path, ""))
        async with served(app, http=EdgeProtocol) as client, Raw(client.base_url.port or 0) as raw:
            await raw.send(handshake())
            assert (await raw.response()).status == 404

    asyncio.run(main())
