"""The console on the admin listener: its page, its files, and the JSON that its pages ask for.

Lifetime: process.
"""

from __future__ import annotations

import os
import time
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.admin.console.answers import Answers
from gateway.admin.console.assets import INDEX, assets
from gateway.admin.console.flows import Flows
from gateway.admin.console.generations import Documents, generations
from gateway.admin.console.graph import graph
from gateway.admin.console.identities import identities
from gateway.admin.console.overview import overview
from gateway.admin.console.rejected import rejected
from gateway.admin.console.routes import routes
from gateway.admin.console.traces import traces
from gateway.admin.console.upstreams import upstreams

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from gateway.admin.console.sources import Sources

LINKS: Final = {name: f"GATEWAY_{name.upper()}_URL" for name in ("jaeger", "grafana", "prometheus")}
"""Tools beside the gateway, and the variables that say where a browser finds them."""


class Console:
    """Serves the pages and what they show."""

    def __init__(
        self,
        sources: Sources,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._wall = wall
        self._answers = Answers(clock)
        self._documents = Documents(sources.control)
        self._started_at = wall()

    def __repr__(self) -> str:
        return f"<Console {self._answers}>"

    def routes(self) -> list[Route]:
        """What the console answers, for the admin application."""
        sources = self._sources
        makers: dict[str, Callable[[], Callable[[], Any]]] = {
            "overview": lambda: partial(overview, sources, Flows(sources.recorder)),
            "graph": lambda: partial(graph, sources, Flows(sources.recorder)),
            "routes": lambda: partial(routes, sources, Flows(sources.recorder)),
            "clusters": lambda: partial(upstreams, sources, Flows(sources.recorder)),
            "rejected": lambda: partial(rejected, sources),
            "identities": lambda: partial(identities, sources),
            "traces": lambda: partial(traces, sources),
            "generations": lambda: partial(generations, sources.control),
        }
        return [
            *(Route(f"/console/api/{name}", self._given(name, make)) for name, make in makers.items()),
            Route("/console/api/documents", self._shown),
            Route("/console/api/diff", self._compared),
            *files(),
        ]

    def _given(self, name: str, begin: Callable[[], Callable[[], Any]]) -> Callable[[Request], Any]:
        """Answers with what `begin` prepares on the loop and its result makes in a thread."""

        def prepare() -> Callable[[], Any]:
            frame, make = self.frame(), begin()
            return lambda: {**frame, **make()}

        async def give(_request: Request) -> Response:
            # A change is seen at once, however fresh the last answer is.
            control = self._sources.control
            return json_response(
                await self._answers.give(f"{name} {control.state} {control.last.at}", prepare)
            )

        return give

    def frame(self) -> dict[str, Any]:
        """What the head of every page shows."""
        control = self._sources.control
        return {
            "version": version("asgi-gateway"),
            "state": str(control.state),
            "generation": control.generation,
            "digest": control.loaded.digest,
            "applied_at": control.counts.applied_at,
            "refused": control.refused,
            "started_at": self._started_at,
            "time": self._wall(),
            "links": {name: url for name, key in LINKS.items() if (url := os.environ.get(key, ""))},
        }

    async def _shown(self, request: Request) -> Response:
        number = _number(request, "generation") or self._sources.control.generation
        return await self._asked(f"documents {number}", partial(self._documents.shown, number))

    async def _compared(self, request: Request) -> Response:
        old, new = _number(request, "old"), _number(request, "new")
        return await self._asked(f"diff {old} {new}", partial(self._documents.compared, old, new))

    async def _asked(self, name: str, make: Callable[[], Any]) -> Response:
        content = await self._answers.give(name, lambda: make)
        if content == b"null":
            return PlainTextResponse("that generation is not remembered\n", 404)
        return json_response(content)


def files() -> list[Route]:
    """The page, its style sheet, its modules: the same for everybody."""

    async def page(_request: Request) -> Response:
        return _file(INDEX)

    async def asset(request: Request) -> Response:
        return _file(request.path_params["path"])

    return [Route("/", page), Route("/console/{path:path}", asset)]


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _file(path: str) -> Response:
    asset = assets().get(path)
    if asset is None:
        return PlainTextResponse("no such page\n", 404)
    return Response(asset.content, headers={"content-type": asset.content_type})


def json_response(content: bytes) -> Response:
    """JSON that is encoded already."""
    return Response(content, media_type="application/json")
