"""An issuer's web server on a real socket: it answers as the test says, and counts."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from support.waiting import until

Answer = bytes | Callable[[], Awaitable[bytes]]
"""A whole response, or what makes it when it is asked for."""


def page(body: str | bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A response with a body."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + data


def moved(location: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return page("", f"Location: {location}", status=status)


class IssuerServer:
    """Listens on a free port of 127.0.0.1. An async context manager."""

    def __init__(
        self, answers: dict[str, Answer] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers: dict[str, Answer] = answers or {}
        """By path; what is not there is 404."""
        self.asked: list[str] = []
        """Paths, in the order they were asked for."""
        self.heads: list[bytes] = []
        self.changed = asyncio.Event()
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        for _ in range(3):  # A connection may be accepted and not yet made known to us.
            await asyncio.sleep(0)
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Before Python 3.12 `wait_closed` does not wait for connections.
        await until(lambda: not getattr(self._server, "_active_count", 0))
        await self._server.wait_closed()

    async def asked_times(self, count: int) -> None:
        """Waits until so many requests have come."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self.changed.clear()
                await self.changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.heads.append(head)
            self.asked.append(path)
            self.changed.set()
            answer = self.answers.get(path, page("", status="404 Not Found"))
            writer.write(answer if isinstance(answer, bytes) else await answer())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # Who asked has gone.
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._tasks.discard(task)
