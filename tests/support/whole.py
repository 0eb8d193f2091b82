"""A real `gateway run` for the examination: its own process, a backend that records, raw clients, TLS or not.

    @pytest.fixture(scope="module")
    def house(tmp_path_factory):
        yield from houses(tmp_path_factory.mktemp("house"), CONFIG, ports=("edge",))

    def test_x(house): assert house.ask(get(), "edge").statuses == (200,)

`%(edge)d` in CONFIG is the port called `edge`, `%(backend)d` the backend's, `%(folder)s` the folder.
Lifetime: process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop
from support.process import free_port, gateway
from support.raw import PATIENCE, CutOff, Raw, Response
from support.strict import StrictBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from support.process import GatewayServer
    from support.strict import Received

    Helper = Callable[["House"], AbstractAsyncContextManager[dict[str, Any]]]
    """Runs beside the process; gives what may stand in the configuration, and in `House.values`."""

T = TypeVar("T")

SETTINGS = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: exam}
spec:
  accessLog: {path: %(log)s}
%(settings)s
---
"""
_ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: NAME}
spec:
  hosts: [NAME.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(NAME)d}}]
---
"""
CLOSE = b"Connection: close\r\n"


def entry(name: str) -> str:
    """The document of a service `name.test` whose port is `%(name)d`."""
    return _ENTRY.replace("NAME", name)


@dataclass(frozen=True)
class Told:
    """What became of some bytes on a connection of their own."""

    responses: list[Response] = field(default_factory=list)
    seen: list[Received] = field(default_factory=list)
    """What the backend received whole meanwhile."""

    @property
    def statuses(self) -> tuple[int, ...]:
        """Of the responses; none where there was no connection for us, or it was cut."""
        return tuple(response.status for response in self.responses)

    @property
    def only(self) -> Received:
        """The only request the backend saw."""
        (only,) = self.seen
        return only


class House:
    """The process, its backend, and how to talk to both."""

    def __init__(self, runner: asyncio.Runner, folder: Path, names: Sequence[str]) -> None:
        self._runner = runner
        self.folder = folder
        self.log = folder / "access.log"
        self.routes = folder / "routes.yaml"
        self.ports: dict[str, int] = {name: free_port() for name in names}
        self.values: dict[str, Any] = {"folder": folder, **self.ports}
        """What may stand in a configuration."""
        self.backend: StrictBackend
        self.process: GatewayServer

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs something in the loop of the backend."""
        return self._runner.run(coroutine)

    def port(self, where: str = "") -> int:
        """A port of a Gateway document by its name; without one, where the process listens."""
        return self.ports[where] if where else self.process.port

    def ask(
        self,
        sent: bytes,
        where: str = "",
        context: ssl.SSLContext | None = None,
        name: str | None = "gw.test",
    ) -> Told:
        """Sends bytes and reads until the gateway closes, so `CLOSE` or a refusal has to be among them."""
        return self.run(self.asked(sent, where, context, name))

    async def asked(
        self,
        sent: bytes,
        where: str = "",
        context: ssl.SSLContext | None = None,
        name: str | None = "gw.test",
    ) -> Told:
        """`ask` in a loop. `name`: the server name of the handshake."""
        self.backend.forget()
        responses: list[Response] = []
        with suppress(ssl.SSLError, ConnectionError, CutOff):
            async with Raw(self.port(where), tls=context, name=name) as raw, asyncio.timeout(PATIENCE):
                with suppress(ConnectionError):
                    await raw.send(sent)
                while not await raw.at_end():
                    responses.append(await raw.response(head=sent.startswith(b"HEAD ")))
        assert self.backend.violations == []
        return Told(responses, self.backend.requests)

    def logged(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the access log of which `holds` is true; waits for it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if holds(told := json.loads(line)):
                    return dict(told)
            time.sleep(0.005)
        raise AssertionError(self.log.read_text()[-2000:])

    def admin(self, path: str, *, method: str = "GET", headers: bytes = b"") -> Response:
        """What the admin listener answers. `headers`: more of them, or other ones in place of the usual."""
        usual = b"Host: localhost\r\nx-gateway-admin: 1\r\n"
        head = f"{method} {path} HTTP/1.1\r\n".encode() + (headers or usual) + b"Connection: close\r\n\r\n"
        return self.run(self._admin(head))

    def plays_admin(self, sent: bytes) -> Response:
        """The same for any bytes."""
        return self.run(self._admin(sent))

    async def _admin(self, sent: bytes) -> Response:
        assert self.process.admin_port is not None
        async with Raw(self.process.admin_port) as raw:
            await raw.send(sent)
            return await raw.response(head=sent.startswith(b"HEAD "))

    def reload(self) -> dict[str, Any]:
        """Has everything read again, credentials too; gives what became of it."""
        return dict(json.loads(self.admin("/reload", method="POST").body))


def houses(
    folder: Path,
    config: str,
    *,
    ports: Sequence[str] = (),
    settings: str = "",
    admin: str = "off",
    helpers: Sequence[Helper] = (),
) -> Iterator[House]:
    """For a fixture: the house, closed afterwards. `helpers`: what else must run before the process does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        house = House(runner, folder, ports)
        stack = AsyncExitStack()

        async def begin() -> None:
            house.backend = await stack.enter_async_context(StrictBackend())
            house.values["backend"] = house.backend.port
            for helper in helpers:
                house.values |= await stack.enter_async_context(helper(house))
            text = SETTINGS % {"log": house.log, "settings": settings % house.values} + config % house.values
            house.log.touch()
            house.routes.write_text(text)
            house.process = await asyncio.to_thread(
                gateway, house.routes, port=None if ports else 0, admin=admin
            )

        try:
            runner.run(begin())
            yield house
        finally:
            if hasattr(house, "process"):
                house.process.stop(signal.SIGKILL)  # how it ends is for the tests of `gateway run`
            runner.run(stack.aclose())


def memory(house: House) -> int:
    """Bytes of the process in memory."""
    pages = int(Path(f"/proc/{house.process.pid}/statm").read_text().split()[1])
    return pages * PAGE


PAGE = os.sysconf("SC_PAGE_SIZE")
