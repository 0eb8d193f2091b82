"""Backends that record what arrives and answer what the request asks for.

A request names its answer in the path or query (`answer=chunked`), else it gets the plain one; a name that is not
in `ANSWERS` or `FAILURES` is plain, too. `answer=503.gone.plain` names one for each try, by its
`x-envoy-attempt-count`; the last one holds for further tries.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl

_ANSWER = re.compile(rb"answer=([a-z0-9.-]+)")

ANSWERS: dict[bytes, bytes] = {
    b"plain": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-twice: a\r\nx-twice: b\r\n\r\nhello",
    b"chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    b"trailers": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nx-trailer: t\r\n\r\n",
    b"empty": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b"to-the-end": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
    b"no-content": b"HTTP/1.1 204 No Content\r\nx-kept: 1\r\n\r\n",
    b"not-modified": b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\ncontent-length: 5\r\n\r\n',
    b"missing": b"HTTP/1.1 404 Nothing Here\r\ncontent-length: 4\r\n\r\nnope",
    b"teapot": b"HTTP/1.1 418 Short And Stout\r\ncontent-length: 0\r\n\r\n",
    b"broken": b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad",
    b"moved": b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere/x\r\ncontent-length: 0\r\n\r\n",
    b"early": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    b"cookies": b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2; path=/\r\ncontent-length: 0\r\n\r\n",
    b"hops": b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=5\r\nproxy-connection: x\r\n"
    b"upgrade: h2c\r\ncontent-length: 0\r\n\r\n",
    b"envoy": b"HTTP/1.1 200 OK\r\nserver: mine\r\nx-envoy-upstream-service-time: 99\r\nx-request-id: own\r\n"
    b"date: Mon, 01 Jan 2024 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n",
    b"cors": b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\naccess-control-expose-headers: x-own\r\n"
    b"access-control-allow-credentials: true\r\ncontent-length: 0\r\n\r\n",
    b"latin": b"HTTP/1.1 200 OK\r\nx-latin: caf\xe9\r\nx-blank:\r\nx-spaces:  a b  \r\ncontent-length: 0\r\n\r\n",
    b"upper": b"HTTP/1.1 200 OK\r\nX-UPPER: A\r\nContent-Length: 0\r\nCONTENT-TYPE: Text/Plain\r\n\r\n",
    b"gone": b"",
    b"half-a-head": b"HTTP/1.1 200 OK\r\ncontent-le",
    b"garbage": b"this is no HTTP\r\n\r\n",
}
"""By name; an answer that is not a whole response ends with the connection."""
FAILURES: dict[bytes, bytes] = {
    **{
        b"%d" % status: b"HTTP/1.1 %d X\r\ncontent-length: 3\r\n\r\n%d" % (status, status)
        for status in (400, 404, 409, 425, 429, 500, 501, 502, 503, 504)
    },
    **{
        b"grpc-%d" % code: b"HTTP/1.1 200 OK\r\ngrpc-status: %d\r\ncontent-length: 0\r\n\r\n" % code
        for code in (0, 1, 4, 8, 13, 14)
    },
    b"ratelimited": b"HTTP/1.1 429 X\r\nx-envoy-ratelimited: true\r\ncontent-length: 0\r\n\r\n",
    b"overloaded": b"HTTP/1.1 503 X\r\nx-envoy-overloaded: true\r\ncontent-length: 0\r\n\r\n",
    b"cut": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    b"silent": b"",
}
"""What retries, timeouts and ejections are about; `silent` waits until the proxy closes."""
CLOSES = frozenset({b"to-the-end", b"gone", b"half-a-head", b"garbage", b"cut"})


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it came to a backend."""

    backend: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, values latin-1, in the order they came."""
    body: bytes
    """Without its framing."""
    framing: str
    """`none`, `length` or `chunked`."""


class RecordingBackend:
    """A backend on a free port of 127.0.0.1; an async context manager."""

    def __init__(self, name: str, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: it speaks nothing else."""
        self.name = name
        self._tls = tls
        self.port = 0
        self.arrivals: list[Arrival] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serves one request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, *rest = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        pairs = (item.partition(":") for item in rest)
        headers = tuple((name.lower(), value.strip(" \t")) for name, _, value in pairs)
        framing, body = await _body(reader, dict(headers))
        self.arrivals.append(Arrival(self.name, method, target, headers, body, framing))
        name, answer = _asked_for(target, dict(headers).get("x-envoy-attempt-count", "1"))
        if name == b"silent":
            await reader.read()
            return False
        if method == "HEAD" and name not in CLOSES and name != b"early":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        writer.write(answer)
        await writer.drain()
        return name not in CLOSES


def _asked_for(target: str, attempt: str) -> tuple[bytes, bytes]:
    """Name and bytes of the answer."""
    found = _ANSWER.search(target.encode("latin-1"))
    names = found[1].split(b".") if found is not None else [b"plain"]
    name = names[min(int(attempt), len(names)) - 1]
    for answers in (ANSWERS, FAILURES):
        if name in answers:
            return name, answers[name]
    return b"plain", ANSWERS[b"plain"]


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[str, bytes]:
    if "transfer-encoding" in headers:
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while (await reader.readline()).strip():
            pass
        return "chunked", body
    if "content-length" in headers:
        return "length", await reader.readexactly(int(headers["content-length"]))
    return "none", b""
