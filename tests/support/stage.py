"""A whole gateway in one event loop: raw backend, real uvicorn with our protocol class, raw client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.inloop import serving

from gateway.asgi import Gateway
from gateway.server.protocol import EdgeProtocol

Handler = Callable[["Call"], Awaitable[None]]


class Call:
    """One connection a backend accepted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""

    async def head(self) -> bytes:
        """Reads one request head, blank line included."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.seen += head
        return head

    async def body(self, size: int) -> bytes:
        """Reads exactly `size` more bytes."""
        body = await self.reader.readexactly(size)
        self.seen += body
        return body

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()


class Backend:
    """A TCP server whose every connection is played by a coroutine of the test."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.calls: list[Call] = []
        self.closed = asyncio.Event()
        """Set when a connection was closed by the other side while the handler read."""
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Backend]:
        """Listens on a free port of 127.0.0.1; the second time, on the same one."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            call = Call(reader, writer)
            self.calls.append(call)
            try:
                await self.handler(call)
            except (asyncio.IncompleteReadError, ConnectionError):
                self.closed.set()
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()


async def answering(call: Call) -> None:
    """Answers every request with 200 and `hello`, keep-alive."""
    while True:
        await call.head()
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


def service(host: str, *ports: int, labels: str = "{}") -> str:
    """A ServiceEntry for loopback endpoints."""
    endpoints = "".join(
        f"\n  - address: 127.0.0.1\n    ports: {{http: {port}}}\n    labels: {labels}" for port in ports
    )
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.split(".", maxsplit=1)[0]}-{ports[0] if ports else 0}}}
spec:
  hosts: [{host}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:{endpoints or " []"}
---"""


def route(host: str, http: str) -> str:
    """A VirtualService; `http` is its YAML list, indented by two."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {host.split(".", maxsplit=1)[0]}}}
spec:
  hosts: [{host}]
  http:{http}
---"""


SETTINGS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: test}
spec:
  admin: "off"
  accessLog: {path: %s}
---"""


class Stage:
    """A running gateway and how to talk to it."""

    def __init__(self, gateway: Gateway, port: int, log: Path, config: Path) -> None:
        self.gateway = gateway
        self.port = port
        self.log = log
        self.config = config

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw client connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def raw(self, data: bytes) -> bytes:
        """Sends bytes, says that no more will come by `connection: close`, and reads to the end."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()

    async def get(
        self, path: str = "/", host: str = "reviews", headers: str = "", method: str = "GET"
    ) -> bytes:
        """One request on a connection of its own; the raw response."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        return await self.raw(head.encode("latin-1"))

    def logged(self) -> str:
        """The access log so far, after everything finished was written."""
        self.gateway.telemetry.close()
        return self.log.read_text()


@asynccontextmanager
async def stage(
    folder: Path, config: str, *, http: Any = EdgeProtocol, settings: str = ""
) -> AsyncIterator[Stage]:
    """Serves `config` on a free port of 127.0.0.1; the log goes to a file. `http`: uvicorn's option;
    `settings`: further fields of GatewaySettings, YAML indented by two.
    """
    log, path = folder / "access.log", folder / "routes.yaml"
    log.touch()
    path.write_text((SETTINGS % log).removesuffix("---") + settings + "\n---\n" + config)
    gateway = Gateway([path])
    async with serving(gateway, force=True, http=http) as port:
        yield Stage(gateway, port, log, path)
