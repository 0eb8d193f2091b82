"""Backends that are played: they answer as a test says, and remember every request.

Lifetime: process. They serve in the thread of their gateway, and are spoken to from the test's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as a backend received it."""

    method: str
    target: str
    """Path and query."""
    headers: Mapping[str, str]
    """Lower-case names; several lines of a name are joined by a comma."""
    body: bytes
    backend: Backend

    @property
    def path(self) -> str:
        """The path, without query."""
        return self.target.partition("?")[0]


@dataclass(slots=True)
class _Turn:
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    left: int | None = None


class Backend:
    """One endpoint of a service, on a port of its own."""

    def __init__(self, host: str, address: str, labels: Mapping[str, str]) -> None:
        self.host = host
        """The service in full."""
        self.address = address
        """Where the configuration says it is, `10.0.0.1:9080`."""
        self.labels = labels
        self.subsets: set[str] = set()
        """Subsets that it belongs to."""
        self._calls: list[Recorded] = []
        self._turns: list[_Turn] = [_Turn()]
        self._lock = threading.Lock()
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(100)
        self._listening.setblocking(False)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        subsets = "".join(f"/{name}" for name in sorted(self.subsets))
        return f"<Backend {self.host}{subsets} for {self.address}, calls {len(self._calls)}>"

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def calls(self) -> list[Recorded]:
        """Every request so far."""
        with self._lock:
            return list(self._calls)

    # -- what the test says --------------------------------------------------------------------

    def answers(
        self,
        status: int = 200,
        body: bytes | str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        times: int | None = None,
    ) -> None:
        """Answers so from now on; `times`: only so often, then as before. `delay` in seconds; no `body`: JSON
        that says who answers.
        """
        text = body.encode() if isinstance(body, str) else body
        self._take(_Turn(status, text, headers or {}, delay, left=times))

    def drops(self, *, times: int | None = None) -> None:
        """Closes the connection instead of answering."""
        self._take(_Turn(drop=True, left=times))

    def _take(self, turn: _Turn) -> None:
        with self._lock:
            if turn.left is None:
                self._turns[:] = [turn]
            else:
                self._turns.insert(0, turn)

    def _turn(self, call: Recorded) -> _Turn:
        with self._lock:
            self._calls.append(call)
            turn = self._turns[0]
            if turn.left is not None:
                turn.left -= 1
                if turn.left <= 0:
                    self._turns.pop(0)
            return turn

    # -- in the gateway's thread ---------------------------------------------------------------

    async def start(self) -> None:
        """Serves from here on."""
        self._server = await asyncio.start_server(self._accept, sock=self._listening)

    async def stop(self) -> None:
        """Closes everything."""
        if self._server is None:
            self._listening.close()
            return
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # The gateway has no more requests for this connection, or the test is over.
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow. The client is a gateway, so its framing is exact."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        headers: dict[str, str] = {}
        for text in lines:
            name, _, value = text.partition(": ")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        call = Recorded(method, target, headers, await _body(reader, headers), self)
        turn = self._turn(call)
        if turn.drop:
            return False
        await asyncio.sleep(turn.delay)
        body = self._said(call) if turn.body is None else turn.body
        fields = {"content-length": str(len(body)), **turn.headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {turn.status} -\r\n{text}\r\n".encode("latin-1"))
        if method != "HEAD" and turn.status not in {204, 304}:
            writer.write(body)
        await writer.drain()
        return True

    def _said(self, call: Recorded) -> bytes:
        said = {"host": self.host, "subsets": sorted(self.subsets), "address": self.address}
        return json.dumps({**said, "method": call.method, "target": call.target}).encode()


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(pieces)
