"""A gateway in front of an application, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.inloop import serving
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
    async with (
        serving(app, http=http, ws=ws, lifespan=lifespan) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


ALL_TO_APP = (
    TO_APP
    % """
  - name: app
    match: [{uri: {prefix: /v1/}}]
    rewrite: {uri: /}
    headers: {request: {set: {x-stage: test}}, response: {add: {x-seen: "yes"}}}
    route: [{destination: {host: app.local}}]"""
)


async def told(request: Request) -> Response:
    """Tells what it was asked."""
    body = await request.body()
    caller = getattr(request.state, "gateway", None)
    return JSONResponse(
        {
            "path": request.url.path,
            "stage": request.headers.get("x-stage"),
            "body": len(body),
            "route": caller.route if caller is not None else None,
            "client": request.client and request.client.host,
        }
    )


def starlette(*routes: Route, **more: Any) -> Starlette:
    return Starlette(routes=[*routes, Route("/{rest:path}", told, methods=["GET", "POST"])], **more)
