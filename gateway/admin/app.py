"""The admin API.

Lifetime: process. Answers that may be large are made in a thread that gives way to the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.admin import requests, stats
from gateway.admin.clusters import clusters_json, clusters_text
from gateway.admin.console import Console, Sources
from gateway.admin.console.sources import no_edge
from gateway.admin.dump import documents_json, plain, reload_json, sources_json, status_json
from gateway.admin.formats import OPENMETRICS, TEXT, wants_openmetrics
from gateway.admin.metrics import control_families
from gateway.admin.pages import index
from gateway.control.pauses import considerate
from gateway.control.result import Outcome, State
from gateway.routing.describe import describe_snapshot
from gateway.telemetry.families import exposition

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from gateway.control.control import Control
    from gateway.telemetry.recorder import Recorder

T = TypeVar("T")


class Exposition(Protocol):
    """Writes metrics: `Telemetry.exposition`."""

    def __call__(self, *, openmetrics: bool) -> bytes:
        """Prometheus' text format, or OpenMetrics."""


LOGGERS = "gateway"
"""Root of the loggers whose level can be set here."""

LEVELS = ("debug", "info", "warning", "error", "critical")


def admin_app(
    control: Control,
    metrics: Exposition | None = None,
    *,
    recorder: Recorder | None = None,
    edge: Callable[[], Any] = no_edge,
) -> Starlette:
    """The application.

    `metrics` writes all numbers, called in a thread; without it, `/metrics` tells of the control path alone.
    `recorder` has the last exchanges, `edge` gives the client side when the server is ours; without them
    `/requests` and `/stats.json` are not there, and pages of the console are empty.
    """
    pages = _Pages(control, metrics)
    console = Console(Sources(control, recorder, edge))
    remembered = []
    if recorder is not None:
        remembered = [*requests.routes(recorder, control, edge), *stats.routes(recorder, control)]
    return Starlette(
        routes=[
            *console.routes(),
            Route("/help", pages.index),
            *remembered,
            Route("/ready", pages.ready),
            Route("/healthz", pages.healthz),
            Route("/status", pages.status),
            Route("/config_dump", pages.config_dump),
            Route("/clusters", pages.clusters),
            Route("/metrics", pages.metrics),
            Route("/stats/prometheus", pages.metrics),
            Route("/reload", pages.reload, methods=["POST"]),
            Route("/drain", pages.drain, methods=["POST"]),
            Route("/logging", pages.logging, methods=["GET"]),
            Route("/logging", pages.set_logging, methods=["POST"]),
        ]
    )


class _Pages:
    def __init__(self, control: Control, metrics: Exposition | None) -> None:
        self._control = control
        self._exposition = metrics or partial(_control_alone, control)

    async def index(self, _request: Request) -> Response:
        return HTMLResponse(index(self._control))

    async def ready(self, _request: Request) -> Response:
        state = self._control.state
        return PlainTextResponse(f"{state}\n", 200 if state is State.READY else 503)

    async def healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def status(self, _request: Request) -> Response:
        status = status_json(self._control)
        return await json_answer(lambda: status)

    async def config_dump(self, _request: Request) -> Response:
        control = self._control
        status, loaded, snapshot = status_json(control), control.loaded, control.snapshot
        return await json_answer(
            lambda: {
                **status,
                "sources": sources_json(loaded),
                "documents": documents_json(loaded),
                "listeners": describe_snapshot(snapshot, conditions=False)["listeners"],
                "clusters": clusters_json(snapshot.clusters),
            }
        )

    async def clusters(self, request: Request) -> Response:
        # Read in a thread while the loop counts: each number is right, at slightly different moments.
        clusters = self._control.snapshot.clusters
        form = request.query_params.get("format", "text")
        if form == "json":
            generation = self._control.generation
            return await json_answer(lambda: {"generation": generation, "clusters": clusters_json(clusters)})
        if form == "text":
            return PlainTextResponse(await in_thread(lambda: clusters_text(clusters_json(clusters))))
        return PlainTextResponse("format is json or text\n", 400)

    async def metrics(self, request: Request) -> Response:
        openmetrics = wants_openmetrics(",".join(request.headers.getlist("accept")))
        text = await in_thread(lambda: self._exposition(openmetrics=openmetrics))
        kind = OPENMETRICS if openmetrics else TEXT
        return Response(text, headers={"content-type": kind, "vary": "accept"})

    async def reload(self, _request: Request) -> Response:
        result = await self._control.reload("admin")
        return await json_answer(
            lambda: reload_json(result), 422 if result.outcome is Outcome.REFUSED else 200
        )

    async def drain(self, _request: Request) -> Response:
        self._control.drain()
        return PlainTextResponse("draining\n")

    async def logging(self, _request: Request) -> Response:
        return await json_answer(_levels)

    async def set_logging(self, request: Request) -> Response:
        level = request.query_params.get("level", "").lower()
        name = request.query_params.get("logger", LOGGERS)
        if level not in LEVELS:
            return PlainTextResponse(f"level is one of {', '.join(LEVELS)}\n", 400)
        if name not in _levels():
            return PlainTextResponse("no such logger; GET /logging lists them\n", 404)
        logging.getLogger(name).setLevel(level.upper())
        return await json_answer(_levels)


def _control_alone(control: Control, *, openmetrics: bool) -> bytes:
    return exposition(control_families(control), openmetrics=openmetrics)


def _levels() -> dict[str, str]:
    """The effective level of each logger of the gateway."""
    known = logging.Logger.manager.loggerDict
    names = sorted({LOGGERS, *(name for name in tuple(known) if name.startswith(f"{LOGGERS}."))})
    return {name: logging.getLevelName(logging.getLogger(name).getEffectiveLevel()).lower() for name in names}


async def json_answer(make: Callable[[], Any], status: int = 200) -> Response:
    """An answer whose object and text are made in a thread.

    With an indent the encoder is Python and can be interrupted; the one in C would hold the interpreter.
    """

    def encode() -> bytes:
        return json.dumps(make(), indent=2, ensure_ascii=False, default=plain).encode() + b"\n"

    return Response(await in_thread(encode), status, media_type="application/json")


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` gives, called in a thread that gives way to the event loop."""

    def considerately() -> T:
        with considerate():
            return work()

    return await asyncio.to_thread(considerately)
