"""Both proxies behind one client: the gateway on a configuration, real Envoy on its export."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.envoy import Envoy
from support.inloop import serving
from support.raw import CutOff, Raw

from differential.backend import Arrival, RecordingBackend
from gateway.asgi import Gateway
from gateway.config import load
from gateway.export import export_envoy
from gateway.server.protocol import EdgeProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

PATIENCE = 10.0
COPIES_WITHIN = 2.0
"""Seconds until a copy that has not come to its mirror never will."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as bytes."""

    data: bytes

    @classmethod
    def of(
        cls,
        method: str = "GET",
        target: str = "/",
        host: str = "a.test",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Ask:
        """A request with its Host first; a body gets a content-length."""
        pairs = [("Host", host), *headers]
        if body:
            pairs.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in pairs)
        return cls(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    @property
    def method(self) -> str:
        """Its first word."""
        return self.data.partition(b" ")[0].decode("latin-1")

    @property
    def target(self) -> str:
        """Its second word."""
        return self.data.split(b" ", 2)[1].decode("latin-1")

    def header(self, name: str) -> list[str]:
        """The values of a header."""
        lines = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return [value.strip() for key, _, value in pairs if key.lower() == name]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    status: int
    """0: the connection ended without a response, or inside one."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    interim: tuple[int, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    """What came to the backends."""


class Theatre:
    """Both proxies and the backends, running."""

    def __init__(
        self, ours: int, theirs: int, backends: Sequence[RecordingBackend], envoy: Envoy | None = None
    ) -> None:
        self.ours = ours
        """The gateway's port."""
        self.theirs = theirs
        """Envoy's port."""
        self.envoy = envoy
        self._backends = backends

    async def ask(self, ask: Ask, copies: int = 0) -> tuple[Outcome, Outcome]:
        """The same bytes to both, one after the other. `copies`: how many go to mirrors, which nobody waits for."""
        return await self._one(self.ours, ask, copies), await self._one(self.theirs, ask, copies)

    def count(self) -> int:
        """Requests that have come to the backends."""
        return sum(len(backend.arrivals) for backend in self._backends)

    async def _one(self, port: int, ask: Ask, copies: int) -> Outcome:
        for backend in self._backends:
            backend.arrivals.clear()
        async with Raw(port) as raw:
            await raw.send(ask.data)
            try:
                answer = await raw.response(head=ask.method == "HEAD")
            except CutOff:
                return Outcome(0, arrivals=await self._arrived(copies))
        arrivals = await self._arrived(copies)
        return Outcome(answer.status, tuple(answer.headers), answer.body, answer.interim, arrivals)

    async def _arrived(self, copies: int) -> tuple[Arrival, ...]:
        """In the order of the backends, whoever was first; copies that do not come are missed after a while."""
        deadline = asyncio.get_running_loop().time() + COPIES_WITHIN
        while True:
            found = tuple(arrival for backend in self._backends for arrival in backend.arrivals)
            shadows = sum("-shadow" in dict(arrival.headers).get("host", "") for arrival in found)
            if shadows >= copies or asyncio.get_running_loop().time() > deadline:
                return tuple(
                    sorted(
                        found, key=lambda one: (one.backend, "-shadow" in dict(one.headers).get("host", ""))
                    )
                )
            await asyncio.sleep(0.001)


@asynccontextmanager
async def theatre(
    folder: Path, configuration: Callable[[Mapping[str, int]], str], names: Sequence[str]
) -> AsyncIterator[Theatre]:
    """Starts backends of these names, then both proxies on what `configuration` makes of their ports."""
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(RecordingBackend(name)) for name in names]
        text = configuration({backend.name: backend.port for backend in backends})
        path = folder / "routes.yaml"
        path.write_text(text)
        ours = await stack.enter_async_context(serving(Gateway([path]), http=EdgeProtocol))
        bootstrap = anywhere(export_envoy(load([path]).require()).bootstrap)
        envoy = await asyncio.to_thread(Envoy, bootstrap, folder)
        stack.callback(envoy.stop)
        yield Theatre(ours, envoy.port, backends, envoy)


def anywhere(bootstrap: Mapping[str, Any]) -> dict[str, Any]:
    """The bootstrap with ports that the kernel chooses."""
    copy: dict[str, Any] = json.loads(json.dumps(bootstrap))
    for place in (*copy["static_resources"]["listeners"], copy.setdefault("admin", {"address": {}})):
        place["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return copy
