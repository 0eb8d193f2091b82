"""Bodies of calls, as they come, and calls that end early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.backend import RecordingBackend
from support.calling import client
from support.fronted import written
from support.stage import Backend, Call, service


def test_httpx_own_timeout_ends_the_call(tmp_path: Path) -> None:
    """`timeout.read` raises as it always does, and the backend's connection is closed."""

    async def main() -> None:
        async with (
            RecordingBackend() as backend,
            client(written(tmp_path, service("reviews", backend.port)), patience=0.05) as http,
        ):
            with pytest.raises(httpx.ReadTimeout):
                await http.get("http://reviews/")
            await (await backend.link()).closed()

    asyncio.run(main())


def test_a_response_is_streamed_and_can_be_left(tmp_path: Path) -> None:
    """A piece is there before the next one is sent; closing the response closes the connection."""

    async def main() -> None:
        async with (
            RecordingBackend() as backend,
            client(written(tmp_path, service("reviews", backend.port))) as http,
        ):
            asking = asyncio.create_task(http.send(http.build_request("GET", "http://reviews/"), stream=True))
            link = await backend.link()
            await link.receive(b"\r\n\r\n")
            await link.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
            response = await asking
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"one"
            await link.send(b"3\r\ntwo\r\n")
            assert await anext(pieces) == b"two"
            await pieces.aclose()
            await response.aclose()
            await link.closed()

    asyncio.run(main())


def test_a_slow_reader_holds_the_backend_back(tmp_path: Path) -> None:
    """What nobody reads stays in the sockets."""

    async def main() -> None:
        total, sent = 64 * 1024 * 1024, 0

        async def large(call: Call) -> None:
            nonlocal sent
            await call.head()
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
            while sent < total:
                await call.send(b"x" * 65536)
                sent += 65536

        async with (
            Backend(large).running() as backend,
            client(written(tmp_path, service("reviews", backend.port))) as http,
            http.stream("GET", "http://reviews/") as response,
        ):
            before = -1
            while before != sent:  # until nothing moves any more
                before = sent
                for _ in range(200):
                    await asyncio.sleep(0)
            assert sent < total // 2
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
            assert size == total

    asyncio.run(main())


def test_a_cut_response_raises(tmp_path: Path) -> None:
    """One that is short enough to be held until it is whole does not: it never began."""

    async def main() -> None:
        async def cut(call: Call) -> None:
            short = b"/short" in await call.head()
            await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nhalf" % (9 if short else 16385))

        async with (
            Backend(cut).running() as backend,
            client(written(tmp_path, service("reviews", backend.port))) as http,
        ):
            with pytest.raises(httpx.RemoteProtocolError, match="cut off"):
                await http.get("http://reviews/")
            assert (await http.get("http://reviews/short")).status_code == 502

    asyncio.run(main())


def test_uploads_are_streamed(tmp_path: Path) -> None:
    """Chunked, piece by piece; an exception of the source is the caller's."""

    async def main() -> None:
        go = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"one"
            await go.wait()
            yield b"two"

        async def broken() -> AsyncIterator[bytes]:
            yield b"one"
            raise LookupError("no more")

        async with (
            RecordingBackend() as backend,
            client(written(tmp_path, service("reviews", backend.port))) as http,
        ):
            asking = asyncio.create_task(http.post("http://reviews/", content=pieces()))
            link = await backend.link()
            await link.receive(b"3\r\none\r\n")
            go.set()
            await link.receive(b"3\r\ntwo\r\n0\r\n\r\n")
            await link.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert (await asking).status_code == 204
            with pytest.raises(LookupError, match="no more"):
                await http.post("http://reviews/", content=broken())

    asyncio.run(main())
