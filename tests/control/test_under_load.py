"""Reloads while requests are on their way: none is lost, none is answered by two generations."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from support.stage import SETTINGS, Backend, Call, Stage, route, service, stage

BAD = "kind: nonsense\n"


async def echo_generation(call: Call) -> None:
    """Answers with the `x-generation` header of the request, in two pieces with a pause between."""
    while True:
        head = await call.head()
        (generation,) = re.findall(rb"x-generation: (\d+)", head)
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(generation))
        await asyncio.sleep(0)
        await call.send(generation)


def marked(number: int, port: int) -> str:
    """A configuration that writes its number into requests and into responses."""
    return service("reviews", port) + route(
        "reviews",
        f"""
  - route: [{{destination: {{host: reviews}}}}]
    headers:
      request: {{set: {{x-generation: "{number}"}}}}
      response: {{set: {{x-generation: "{number}"}}}}""",
    )


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, int]:
    """One request: the generation that made the request, and the one that marked the response."""
    writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    (size,) = re.findall(rb"content-length: (\d+)", head)
    (response,) = re.findall(rb"x-generation: (\d+)", head)
    return int(await reader.readexactly(int(size))), int(response)


async def client(stage: Stage, done: asyncio.Event) -> list[tuple[int, int]]:
    """Asks on one connection until told to stop; any failure is an exception."""
    reader, writer = await stage.connect()
    seen = []
    try:
        while not done.is_set():
            seen.append(await ask(reader, writer))
    finally:
        writer.close()
    return seen


async def ask_once(stage: Stage) -> tuple[int, int]:
    """One request on a connection of its own."""
    reader, writer = await stage.connect()
    try:
        return await ask(reader, writer)
    finally:
        writer.close()


async def rewrite(stage: Stage, text: str) -> None:
    """Replaces the configuration as careful writers do, and waits for what becomes of it."""
    fresh = stage.config.with_name("fresh")
    await asyncio.to_thread(fresh.write_text, text)
    fresh.replace(stage.config)
    await stage.gateway.control.reload("test")


def test_reloads_lose_no_request_and_mix_no_generations(tmp_path: Path) -> None:
    """Twelve reloads, every third one bad, under eight busy connections."""

    async def main() -> None:
        async with (
            Backend(echo_generation).running() as backend,
            stage(tmp_path, marked(1, backend.port)) as running,
        ):
            settings = SETTINGS % running.log
            done = asyncio.Event()
            clients = [asyncio.ensure_future(client(running, done)) for _ in range(8)]
            expected = 1
            for number in range(2, 14):
                bad = number % 3 == 0
                await rewrite(running, BAD if bad else settings + marked(number, backend.port))
                expected = expected if bad else number
                assert await ask_once(running) == (expected, expected)
            done.set()
            stories = await asyncio.gather(*clients)

            for story in stories:
                assert all(made == marked for made, marked in story)
                assert story == sorted(story)
            assert len({made for story in stories for made, _ in story}) > 3
            assert running.gateway.control.counts.errors == 4

    asyncio.run(main())
