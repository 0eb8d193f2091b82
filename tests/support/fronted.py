"""A gateway in front of an application, on a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from support.stage import SETTINGS

from gateway.server.protocol import EdgeProtocol

PROTOCOLS = ["httptools", "h11", EdgeProtocol]

TO_APP = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app}
spec:
  hosts: ["*"]
  http:%s
---"""


def written(folder: Path, config: str, settings: str = "") -> Path:
    """The configuration as a file; the access log goes beside it."""
    log, path = folder / "access.log", folder / "routes.yaml"
    log.touch()
    path.write_text((SETTINGS % log).removesuffix("---") + settings + "\n---\n" + config)
    return path


@asynccontextmanager
async def served(
    app: Any, *, http: Any = "httptools", lifespan: str = "on", ws: Any = "websockets-sansio"
) -> AsyncIterator[httpx.AsyncClient]:
    """Serves an application on a free port of 127.0.0.1; gives a client whose URLs begin there."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=http, ws=ws, lifespan=lifespan, log_config=None, access_log=False, proxy_headers=False
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign] # the loop is the test's
    task = asyncio.create_task(_run(server, listening))
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    try:
        if not server.started:
            raise RuntimeError("the server did not start")
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        await task
        listening.close()


async def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    with suppress(SystemExit):  # Its way to say that the lifespan failed.
        await server.serve(sockets=[listening])


class _no_signals:  # noqa: N801 - stands in for a context manager function
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
