"""Answers that are held until they are whole, and those that are not."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest
from support.scripted import (
    HALF,
    Cut,
    cluster,
    forwards,
    lines,
    reply,
    retrying,
    scripted,
)
from support.stage import Backend, Call, route, service, stage
from support.waiting import until


def test_an_answer_held_until_it_is_whole_is_repeated_when_it_breaks_off(tmp_path: Path) -> None:
    """Nothing of it went downstream, so the client sees a whole one, or an error."""

    async def main() -> None:
        cut = Cut(HALF, reset=True)
        backend = scripted(cut, reply(200, b"the whole"), cut)
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 1, retryOn: reset, backoff: 1ms")
            async with stage(tmp_path, config) as gateway:
                assert (await gateway.get()).endswith(b"\r\n\r\nthe whole")
                assert [asked.number for asked in backend.asked] == ["1", "2"]
                answer = await gateway.get()
                assert answer.startswith(b"HTTP/1.1 502 ")
                assert answer.endswith(b"retried and the latest reset reason: protocol error")
                last = lines(gateway)[-1]
                assert set(last["response_flags"].split(",")) == {"UPE", "URX"}
                assert (
                    last["response_code_details"]
                    == "upstream_reset_before_response_started{protocol_error|body_cut_off}"
                )

    asyncio.run(main())


def test_holding_can_be_turned_off(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(Cut(HALF), reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + retrying("attempts: 3, retryOn: reset, backoff: 1ms")
            async with stage(tmp_path, config, settings="  limits: {responseHoldBytes: 0}") as gateway:
                assert (await gateway.get()).endswith(b"\r\n\r\nhalf")
                assert len(backend.asked) == 1

    asyncio.run(main())


def test_a_held_answer_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Compressed, in two pieces, with a header that only matters to the client."""
    body = gzip.compress(os.urandom(4096), mtime=0)

    async def play(call: Call) -> None:
        await call.head()
        whole = reply(200, body, "content-encoding: gzip\r\nvary: accept-encoding\r\n")
        await call.send(whole[:-1])
        cut.set()
        await seen.wait()
        await call.send(whole[-1:])
        await call.head()

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                asked = asyncio.ensure_future(gateway.get())
                await cut.wait()
                await until(lambda: any(item.response_started for item in cluster(gateway).pool.open))
                assert not asked.done()
                seen.set()
                head, _, got = (await asked).partition(b"\r\n\r\n")
                assert got == body
                assert b"\r\ncontent-encoding: gzip\r\n" in head
                assert b"\r\nvary: accept-encoding\r\n" in head

    cut, seen = asyncio.Event(), asyncio.Event()
    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 16385\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
    ],
)
def test_what_is_long_or_endless_or_has_no_body_is_passed_on_at_once(
    tmp_path: Path, method: str, head: bytes
) -> None:
    """The backend sends no more than this head until the client has it."""

    async def play(call: Call) -> None:
        await call.head()
        await call.send(head)
        await call.reader.read()

    async def main() -> None:
        async with Backend(play).running() as backend:
            config = service("reviews", backend.port) + route("reviews", forwards())
            async with stage(tmp_path, config) as gateway:
                reader, writer = await gateway.connect()
                writer.write(f"{method} / HTTP/1.1\r\nHost: reviews\r\n\r\n".encode())
                got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert got.startswith(head[:12])
                writer.close()

    asyncio.run(main())
