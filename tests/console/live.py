"""A gateway with its console in a thread: real backends, real listeners, traffic with markup in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from support.inloop import serving
from support.stage import Backend, Call, route, service

from gateway.asgi import Gateway
from gateway.control import Control
from gateway.server.protocol import EdgeProtocol

EVIL = "<img src=x onerror=boom()>"
SECRET = "s3cr3t-v4lue"
SETTINGS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: test}
spec: {admin: "127.0.0.1:0", accessLog: {encoding: "OFF"}}
---"""


class Stage:
    """Where it listens, and ways to send traffic."""

    def __init__(self, app: Gateway, port: int) -> None:
        self.app = app
        self.port = port
        self.url = f"http://{app.admin_address}"

    async def ask(self, host: str, path: str, **headers: str) -> int:
        """One request to the gateway; the status."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{self.port}{path}", headers={"host": host, **names})
        return answer.status_code

    async def raw(self, data: bytes) -> bytes:
        """Bytes as they are; what comes back until the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[Stage]:
    """Serves `config` on free ports."""
    app = Gateway([config], control=Control(config, watch=False))
    async with serving(app, http=EdgeProtocol) as port:
        yield Stage(app, port)


async def answering(call: Call) -> None:
    """200, but 503 to whoever asks for it."""
    while True:
        head = await call.head()
        status = b"503 Service Unavailable" if b"/fail" in head else b"200 OK"
        await call.send(b"HTTP/1.1 %b\r\ncontent-length: 2\r\n\r\nok" % status)


def configuration(one: int, two: int) -> str:
    """Two versions of a service with weights, a breaker and ejection, and routes with a name full of markup."""
    versions = service("reviews", one, two).replace("labels: {}", "labels: {version: v1}", 1)
    return (
        SETTINGS
        + versions.replace("labels: {}", "labels: {version: v2}", 1)
        + route(
            "reviews",
            f"""
  - name: "{EVIL}"
    match: [{{uri: {{prefix: /evil}}}}]
    route: [{{destination: {{host: reviews, subset: v1}}}}]
  - name: secret
    match: [{{headers: {{authorization: {{exact: "Bearer {SECRET}"}}}}}}]
    directResponse: {{status: 204}}
  - name: copied
    match: [{{uri: {{prefix: /copied}}}}]
    route: [{{destination: {{host: reviews, subset: v1}}}}]
    mirrors: [{{destination: {{host: reviews, subset: v2}}}}]
  - name: split
    timeout: 5s
    route:
    - {{destination: {{host: reviews, subset: v1}}, weight: 75}}
    - {{destination: {{host: reviews, subset: v2}}, weight: 25}}""",
        )
        + """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 10}}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""
    )


class Live:
    """A running stage in a thread of its own, and its configuration file."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / f"{EVIL.replace('/', '')}.yaml"
        self._loop = asyncio.new_event_loop()
        self._ready: Future[Stage] = Future()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._main()))
        self._thread.start()
        self.stage = self._ready.result(20)
        self.url = self.stage.url

    async def _main(self) -> None:
        try:
            async with Backend(answering).running() as one, Backend(answering).running() as two:
                self.config.write_text(configuration(one.port, two.port))
                async with running(self.config) as stage:
                    await traffic(stage)
                    self._ready.set_result(stage)
                    await self._end.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def do(self, work: Any) -> Any:
        """Runs a coroutine on the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        """Ends everything."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(20)
            self._loop.close()


async def traffic(stage: Stage) -> None:
    """Answers, failures, a request without route, and bytes that are no request; markup wherever it fits."""
    for number in range(12):
        await stage.ask("reviews", f"/ok/{number}")
    for _ in range(3):
        await stage.ask("reviews", "/fail", user_agent=EVIL)
    await stage.ask("reviews", f"/evil/{EVIL}".replace(" ", "%20"))
    await stage.raw(
        f"GET /evil/<script>boom()</script> HTTP/1.1\r\nHost: reviews\r\nx-evil: {EVIL}\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nconnection: close\r\n\r\n".encode()
    )
    await stage.ask("reviews", "/copied")
    await stage.ask("nobody.example", "/?token=" + SECRET)
    await stage.raw(
        f"GET /<script>boom()</script> HTTP/1.1\r\nHost: a {EVIL}\r\nCookie: {SECRET}\r\n\r\n".encode()
    )
