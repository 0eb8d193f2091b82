"""A whole gateway for many attacks: one loop, one gateway, one strict backend, for a module of tests.

@pytest.fixture(scope="module")
def field(tmp_path_factory): yield from fields(tmp_path_factory.mktemp("field"), CONFIG)

def test_x(field): answer = field.play(b"GET / HTTP/1.1\\r\\n...")
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop
from support.raw import PATIENCE, Raw, Response
from support.stage import Stage, stage
from support.strict import StrictBackend

from gateway.server.protocol import EdgeProtocol

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from support.strict import Received

T = TypeVar("T")

END = b"GET /__end HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
"""Ends a connection that is still good."""


@dataclass(frozen=True)
class Answer:
    """What became of some bytes."""

    responses: list[Response]
    """Without the one to `END`."""
    open: bool
    """Whether the connection was still good afterwards."""
    seen: list[Received]
    """What the backend received whole, `END` left out."""

    @property
    def statuses(self) -> tuple[int, ...]:
        """Of the responses."""
        return tuple(response.status for response in self.responses)

    @property
    def only(self) -> Received:
        """The only request the backend saw."""
        (only,) = self.seen
        return only


class Field:
    """The gateway and its backend."""

    def __init__(self, runner: asyncio.Runner, gateway: Stage, backend: StrictBackend) -> None:
        self._runner = runner
        self.gateway = gateway
        self.backend = backend

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs something in the gateway's loop."""
        return self._runner.run(coroutine)

    def play(self, sent: bytes, *, slowly: bool = False, heads: bool = False) -> Answer:
        """Sends bytes on a connection of their own, then a good request; fails on what the backend finds
        ambiguous.
        """
        self.backend.forget()
        answer = self.run(self._play(sent, slowly=slowly, heads=heads))
        assert self.backend.violations == []
        return answer

    async def _play(self, sent: bytes, *, slowly: bool, heads: bool) -> Answer:
        async with Raw(self.gateway.port) as raw:
            with suppress(ConnectionError):
                await (raw.send_slowly(sent) if slowly else raw.send(sent))
                await raw.send(END)
            responses = []
            async with asyncio.timeout(PATIENCE):
                while not await raw.at_end():
                    responses.append(await raw.response(head=heads and not responses))
        seen = [request for request in self.backend.requests if request.target != b"/__end"]
        ended = len(seen) < len(self.backend.requests)
        return Answer(responses[:-1] if ended else responses, ended, seen)

    def logged(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in self.gateway.logged().splitlines()]


def fields(folder: Path, config: str, *, settings: str = "", http: Any = EdgeProtocol) -> Iterator[Field]:
    """For a fixture: the field, closed afterwards. `%d` in `config` is the backend's port."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()

        async def begin() -> Field:
            backend = await stack.enter_async_context(StrictBackend())
            gateway = await stack.enter_async_context(
                stage(folder, config.replace("%d", str(backend.port)), http=http, settings=settings)
            )
            return Field(runner, gateway, backend)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())
