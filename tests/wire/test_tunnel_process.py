"""WebSockets through the gateway as a process: over TLS, under stock uvicorn, and when it stops."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.certificates import Certs, authority, leaf
from support.process import free_port, gateway, uvicorn
from support.raw import Raw
from support.stage import Backend, Call, route, service
from support.tunnels import agreeing, agreeing_then, handshake
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

SETTINGS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: settings}
spec: {admin: "off", accessLog: {path: %s}, timeouts: {drain: 1s}}
---"""
SECURE = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: %d, name: https, protocol: HTTPS}, bind: 127.0.0.1, hosts: [shop.test],
     tls: {mode: SIMPLE, credentialName: shop}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.test]
  gateways: [edge]
  http:
  - route: [{destination: {host: reviews}}]
---"""
ORIGINATE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, trafficPolicy: {tls: {mode: SIMPLE, credentialName: shop, sni: back.test, subjectAltNames: [back.test]}}}
---"""
LARGE = bytes(range(256)) * 8192


def written(folder: Path, *documents: str) -> Path:
    path = folder / "routes.yaml"
    path.write_text("".join([SETTINGS % (folder / "access.log"), *documents]))
    return path


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@asynccontextmanager
async def server(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A WebSocket server; its port."""
    async with serve(echo, "127.0.0.1", 0, max_size=None, ssl=context) as running:
        yield next(iter(running.sockets)).getsockname()[1]


@pytest.mark.parametrize("upstream", ["plain", "tls"])
def test_over_tls_on_either_side(tmp_path: Path, upstream: str) -> None:
    """Large messages both ways, and a close that both sides see."""
    certs = Certs(tmp_path / "certs")
    certs.put("shop", leaf(dns_names=("shop.test",)), authority())
    port = free_port()
    back = certs.server(leaf(dns_names=("back.test",))) if upstream == "tls" else None

    async def main() -> None:
        async with server(back) as backend:
            rules = [SECURE % port, service("reviews", backend), ORIGINATE if back else ""]
            process = await asyncio.to_thread(gateway, written(tmp_path, *rules), port=None)
            with process:
                async with connect(
                    "wss://shop.test/",
                    host="127.0.0.1",
                    port=port,
                    ssl=certs.client(),
                    proxy=None,
                    max_size=None,
                ) as socket:
                    for message in ("hello", LARGE):
                        await socket.send(message)
                        assert await socket.recv() == message
                    await socket.close(4321, "bye")
                assert (socket.close_code, socket.close_reason) == (4321, "bye")
                assert await asyncio.to_thread(process.stop) == 0
                assert "Traceback" not in process.output
        line = json.loads((tmp_path / "access.log").read_text())
        assert (line["response_code"], line["response_flags"]) == (101, "-")

    asyncio.run(main())


@pytest.mark.parametrize("abrupt", [False, True], ids=["closed", "cut off"])
def test_a_tls_client_that_vanishes_ends_its_upstream(tmp_path: Path, abrupt: bool) -> None:
    """What it had sent before arrives."""
    certs = Certs(tmp_path / "certs")
    certs.put("shop", leaf(dns_names=("shop.test",)), authority())
    port = free_port()
    got: list[bytes] = []
    over = asyncio.Event()

    async def reading(call: Call) -> None:
        got.append(await call.reader.read())
        over.set()

    async def main() -> None:
        async with Backend(agreeing_then(reading)).running() as backend:
            rules = [SECURE % port, service("reviews", backend.port)]
            process = await asyncio.to_thread(gateway, written(tmp_path, *rules), port=None)
            with process:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=certs.client(), server_hostname="shop.test"
                )
                writer.write(handshake(host=b"shop.test"))
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                writer.write(b"last words")
                await writer.drain()
                if abrupt:
                    writer.transport.abort()
                else:
                    writer.close()
                await asyncio.wait_for(over.wait(), 2)
                assert got == [b"last words"]
                assert await asyncio.to_thread(process.stop) == 0
                assert "Traceback" not in process.output

    asyncio.run(main())


def test_stock_uvicorn_passes_them_too(tmp_path: Path) -> None:
    """`uvicorn gateway.app:app` without a flag; open ones do not keep it from stopping for ever."""

    async def main() -> None:
        async with server() as backend:
            path = written(
                tmp_path,
                service("reviews", backend),
                route("reviews", "\n  - route: [{destination: {host: reviews}}]"),
            )
            process = await asyncio.to_thread(uvicorn, env={"GATEWAY_CONFIG": str(path)})
            with process:
                async with connect(
                    "ws://reviews/", host="127.0.0.1", port=process.port, proxy=None
                ) as socket:
                    await socket.send("hello")
                    assert await socket.recv() == "hello"
                    process.send(signal.SIGTERM)
                    await asyncio.wait_for(socket.wait_closed(), 20)
                    assert socket.close_code == 1006
                await asyncio.to_thread(process.wait)
                assert "Traceback" not in process.output
        line = json.loads((tmp_path / "access.log").read_text())
        assert line["response_code_details"] == "tunnel_drained"

    asyncio.run(main())


@pytest.mark.parametrize("signals", [1, 2], ids=["after the drain timeout", "at once by a second signal"])
def test_a_stop_ends_tunnels_when_its_patience_is_over(tmp_path: Path, signals: int) -> None:
    """Until then they go on."""

    async def main() -> None:
        async with Backend(agreeing).running() as backend:
            path = written(
                tmp_path,
                service("reviews", backend.port),
                route("reviews", "\n  - route: [{destination: {host: reviews}}]"),
            )
            process = await asyncio.to_thread(gateway, path)
            with process:
                async with Raw(process.port) as raw:
                    await raw.send(handshake())
                    assert (await raw.response()).status == 101
                    process.send(signal.SIGTERM)
                    await raw.send(b"still here")
                    assert await raw.read(10) == b"still here"
                    if signals == 2:
                        process.send(signal.SIGTERM)
                    assert await raw.closed() == b""
                    code = await asyncio.to_thread(process.wait)
                    assert code == (0 if signals == 1 else 128 + signal.SIGTERM)
                assert "Traceback" not in process.output
        (line,) = [json.loads(each) for each in (tmp_path / "access.log").read_text().splitlines()]
        assert (line["response_code"], line["bytes_sent"]) == (101, 10)

    asyncio.run(main())
