"""The sample backends: real HTTP servers, one port each, all in one process on stock uvicorn.

Lifetime: process. `python -m gateway.demo.backends reviews/v1@127.0.0.1:9083 ...` serves until SIGTERM or
SIGINT, and writes `ready` to stdout once every port takes connections.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import uvicorn

from gateway.demo.services import ECHO, Backend, bookinfo, parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

LONGEST_DELAY = 10.0
"""Seconds; httpbin's own limit."""
MOST_LINES = 100_000
MOST_BYTES = 1 << 30
CHUNK = 64 * 1024
FAILS_EVERY = 3
"""Of a flaky backend, one request in so many gets 503."""
SHOWN_BODY = 64 * 1024
"""Bytes of a request body that an echo repeats; the rest is only counted."""


class PortTaken(Exception):  # noqa: N818 - what happened, not what went wrong in here
    """Another process listens where a sample backend should."""


class Exchange:
    """One request to a sample backend."""

    def __init__(self, backend: Backend, scope: Scope, receive: Receive, send: Send) -> None:
        self.backend = backend
        self.scope = scope
        self.receive = receive
        self.send = send
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        self.headers = headers

    def identity(self) -> dict[str, Any]:
        """What every answer says: who answered which request."""
        return {
            "service": self.backend.service,
            "version": self.backend.version,
            "path": self.scope["path"],
            "request_id": self.headers.get("x-request-id"),
        }

    async def start(self, status: int, content_type: bytes, length: int | None = None) -> None:
        """Sends the response head; without `length` the body is chunked."""
        headers = [
            (b"content-type", content_type),
            (b"x-served-by", f"{self.backend.service}-{self.backend.version}".encode()),
        ]
        if request_id := self.headers.get("x-request-id"):
            headers.append((b"x-request-id", request_id.encode("latin-1")))
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool = False) -> None:
        """Sends a piece of the body; the last one with `more` left out."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def answer(self, facts: dict[str, Any], status: int = 200) -> None:
        """Sends identity and `facts` as one line of JSON."""
        if status in {204, 304}:
            await self.start(status, b"application/json")
            await self.write(b"")
            return
        body = json.dumps(self.identity() | facts).encode() + b"\n"
        await self.start(status, b"application/json", len(body))
        await self.write(body)

    async def body(self) -> tuple[bytes, int]:
        """The beginning of the request body, and how many bytes came in all."""
        kept = bytearray()
        count = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return bytes(kept), count
            piece = message.get("body", b"")
            count += len(piece)
            kept += piece[: SHOWN_BODY - len(kept)]
            if not message.get("more_body", False):
                return bytes(kept), count


async def echo(exchange: Exchange) -> None:
    """Answers as httpbin does: says what was asked, or does what the path says."""
    segments = exchange.scope["path"].strip("/").split("/")
    verb = segments[0]
    if verb in {"status", "delay", "stream", "bytes"}:
        if len(segments) == 2 and segments[1].isdecimal():
            await _ACTIONS[verb](exchange, int(segments[1][:12]))
        else:
            await exchange.answer({"error": f"/{verb}/ wants a whole number"}, 400)
    elif verb == "headers":
        await exchange.answer({"headers": exchange.headers})
    elif verb in {"get", "post"} and exchange.scope["method"] not in {verb.upper(), "HEAD"}:
        await exchange.answer({"error": f"/{verb} answers {verb.upper()}"}, 405)
    elif verb in {"", "get", "post", "anything"}:
        await _repeat(exchange)
    else:
        await exchange.answer({"error": "no such path; try /anything"}, 404)


async def _repeat(exchange: Exchange) -> None:
    body, count = await exchange.body()
    await exchange.answer(
        {
            "method": exchange.scope["method"],
            "args": dict(parse_qsl(exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            "headers": exchange.headers,
            "body": body.decode("utf-8", "replace"),
            "body_bytes": count,
        }
    )


async def _status(exchange: Exchange, code: int) -> None:
    if 200 <= code <= 599:
        await exchange.answer({"status": code}, code)
    else:
        await exchange.answer({"error": "a status is 200 to 599"}, 400)


async def _delay(exchange: Exchange, seconds: int) -> None:
    delay = min(float(seconds), LONGEST_DELAY)
    await asyncio.sleep(delay)
    await exchange.answer({"delay": delay})


async def _stream(exchange: Exchange, lines: int) -> None:
    await exchange.start(200, b"application/json")
    for number in range(min(lines, MOST_LINES)):
        await exchange.write(json.dumps(exchange.identity() | {"line": number}).encode() + b"\n", more=True)
    await exchange.write(b"")


async def _bytes(exchange: Exchange, count: int) -> None:
    count = min(count, MOST_BYTES)
    await exchange.start(200, b"application/octet-stream", count)
    chunk = random.Random(count).randbytes(min(count, CHUNK))  # noqa: S311 - filler, the same for the same count
    while count > 0:
        piece = chunk[:count]
        count -= len(piece)
        await exchange.write(piece, more=True)
    await exchange.write(b"")


_ACTIONS = {"status": _status, "delay": _delay, "stream": _stream, "bytes": _bytes}


class App:
    """The ASGI application of all backends: the port a request came to says which one it is for."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._by_address = {(backend.address, backend.port): backend for backend in backends}
        self._asked: Counter[Backend] = Counter()
        """Of flaky ones."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        assert scope["type"] == "http"
        host, port = scope["server"]
        backend = self._by_address[host, port]
        exchange = Exchange(backend, scope, receive, send)
        if backend.flaky:
            self._asked[backend] += 1
            if self._asked[backend] % FAILS_EVERY == 0:
                await exchange.answer({"error": "flaky, as its label says"}, 503)
                return
        if backend.service == ECHO:
            await echo(exchange)
        else:
            await exchange.answer(bookinfo(backend.service, backend.version))


def listen(backends: Sequence[Backend]) -> list[socket.socket]:
    """Takes every backend's port, all or none. Raises PortTaken, a sentence."""
    sockets: list[socket.socket] = []
    for backend in backends:
        try:
            sockets.append(socket.create_server((backend.address, backend.port), backlog=512))
        except OSError as error:
            for opened in sockets:
                opened.close()
            message = (
                f"Sample backend {backend.service} {backend.version} cannot listen on "
                f"{backend.address}:{backend.port}: {os.strerror(error.errno or 0)}. "
                "End what runs there, or change the endpoint's port in the ServiceEntry."
            )
            raise PortTaken(message) from error
    return sockets


def main(specs: Sequence[str]) -> int:
    """Serves until told to stop. Exit codes: 0 stopped, 2 usage, 3 a port is taken."""
    try:
        backends = [parse(spec) for spec in specs]
        sockets = listen(backends)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except PortTaken as error:
        sys.stderr.write(f"{error}\n")
        return 3
    server = uvicorn.Server(
        uvicorn.Config(
            App(backends),
            lifespan="off",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.run(sockets=sockets)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
