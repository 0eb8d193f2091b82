"""Hostile and broken backends (security.md R) behind a whole gateway: what the client gets, and what the next one gets.

Every case is followed by an innocent request of another client. Whatever the backend sent beyond its answer,
that client must get its own.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from support.broken import CLEAN, EVIL, PLAYS
from support.raw import PATIENCE, CutOff, Raw
from support.stage import Backend, Call, Stage, route, service, stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BY_PATH = {f"/{number}": play for number, play in enumerate(PLAYS)}


async def hostile(call: Call) -> None:
    """Plays what the path asks for; anything else gets a clean answer."""
    while True:
        line = (await call.head()).split(b" ", 2)
        play = BY_PATH.get(line[1].decode())
        await call.send(CLEAN if play is None else play.sent)
        if play is not None and play.closes:
            return


class Set:
    """The gateway in front of the hostile backend, in one loop."""

    def __init__(self, runner: asyncio.Runner, gateway: Stage, backend: Backend) -> None:
        self.runner, self.gateway, self.backend = runner, gateway, backend


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    folder = tmp_path_factory.mktemp("responses")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Set:
            backend = await stack.enter_async_context(Backend(hostile).running())
            config = service("backend.test", backend.port) + route(
                "gw.test", "\n  - route: [{destination: {host: backend.test}}]\n    retries: {attempts: 0}"
            )
            return Set(runner, await stack.enter_async_context(stage(folder, config)), backend)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())


def request(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode()


async def innocent(port: int) -> None:
    """Another client asks, twice: the answers are its own."""
    async with Raw(port) as raw:
        for _ in range(2):
            await raw.send(request("/clean"))
            response = await raw.response()
            assert (response.status, response.body) == (200, b"clean")
            assert response.header("x-evil") is None


@pytest.mark.parametrize("number", range(len(PLAYS)), ids=lambda number: PLAYS[number].id)
def test_what_a_backend_sends_reaches_nobody_else(number: int, scene: Set) -> None:
    """The client gets the answer, 502 or a cut; the next client gets its own answer, on whatever connection."""
    play = PLAYS[number]

    async def main() -> None:
        port = scene.gateway.port
        await innocent(port)  # so that there is an idle connection to poison
        async with Raw(port) as raw:
            await raw.send(request(f"/{number}", play.method))
            if not play.status:
                with pytest.raises(CutOff):
                    await raw.response()
            else:
                response = await raw.response(head=play.method == "HEAD")
                assert response.status == play.status
                if play.status not in {502, 503}:
                    assert response.body == play.body
                    for name, value in play.has:
                        assert response.header(name) == value
                    for name in play.lacks:
                        assert response.values(name) == []
                assert response.interim == ()
                await raw.send(request("/clean"))
                again = await raw.response()
                assert again.body == b"clean"
        await innocent(port)

    scene.runner.run(main())


def test_leftovers_that_come_late_reach_nobody(tmp_path: Path) -> None:
    """R05: bytes that arrive while the connection is idle, in whatever order the loop looks at it."""

    async def late(call: Call) -> None:
        number = 0
        while True:
            await call.head()
            number += 1
            await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
            if number == 2:
                await call.send(EVIL)

    async def main() -> None:
        async with Backend(late).running() as backend:
            config = service("backend.test", backend.port) + route(
                "gw.test", "\n  - route: [{destination: {host: backend.test}}]"
            )
            async with stage(tmp_path, config) as gateway, Raw(gateway.port) as raw:
                bodies = []
                for _ in range(4):
                    await raw.send(request("/"))
                    bodies.append((await raw.response()).body)
                assert bodies == [b"1", b"2", b"1", b"2"]
                assert len(backend.calls) == 2

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
