"""A Starlette application with the gateway in front of it and behind it.

uvicorn shop:app --port 8000      and then      curl -i localhost:8000/shop/rating
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

ROUTES = Path(__file__).with_name("routes.yaml")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """The client that all calls share."""
    async with httpx.AsyncClient(transport=gateway.Transport(config=ROUTES)) as client:
        yield {"client": client}


async def home(request: Request) -> JSONResponse:
    """Who asked, as far as the gateway knows."""
    caller = request.state.gateway
    return JSONResponse({"route": caller.route, "principal": caller.principal, "id": caller.request_id})


async def rating(request: Request) -> JSONResponse:
    """A call to a service: retried, limited, counted, with the request's own id."""
    answer = await request.state.client.get("http://reviews:9080/reviews/1")
    told = answer.extensions["gateway"]
    return JSONResponse({"status": answer.status_code, "flags": told.flags, "attempts": told.attempts})


async def about(_: Request) -> JSONResponse:
    """No route takes it: the gateway only lets it pass."""
    return JSONResponse({"about": "shop"})


app = Starlette(
    routes=[Route("/", home), Route("/rating", rating), Route("/about", about), Route("/admin", about)],
    lifespan=lifespan,
)
app.add_middleware(gateway.GatewayMiddleware, config=ROUTES)
