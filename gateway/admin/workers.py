"""The admin API of several workers: whoever is asked asks all of them, and makes one answer of theirs.

Lifetime: process. `private_app` is what a worker tells the others, `public_app` what the world sees.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.admin import merge, stats
from gateway.admin.app import admin_app, in_thread, json_answer
from gateway.admin.clusters import clusters_json, clusters_text
from gateway.admin.console.answers import encode
from gateway.admin.console.api import Console, json_response
from gateway.admin.console.flows import Flows
from gateway.admin.console.overview import standing
from gateway.admin.console.workers import WorkersConsole
from gateway.admin.requests import Wanted
from gateway.admin.siblings import LONG, eldest, silence, workers_json
from gateway.admin.traffic import MergedFlows, flows_json, out_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from gateway.admin.app import Exposition
    from gateway.admin.console.sources import Sources
    from gateway.admin.siblings import Answer, Siblings
    from gateway.telemetry.recorder import Recorder

SHARED = frozenset({"/help", "/healthz", "/metrics", "/stats/prometheus"})
"""What one worker answers for all: it is the same in each, or metrics, which reach each other elsewhere."""


def private_app(sources: Sources) -> Starlette:
    """What one worker tells the others: its own admin application, and counts that can be added up."""
    frame = Console(sources).frame

    async def traffic(request: Request) -> Response:
        """`seconds`: as in `/stats.json`. `standing=1`: with what the overview says of a process."""
        seconds = stats.asked_seconds(request)
        if isinstance(seconds, Response):
            return seconds
        flows, snapshot = Flows(sources.recorder, seconds), sources.control.snapshot
        told = frame()
        wanted = request.query_params.get("standing") == "1"

        def make() -> bytes:
            return encode(
                {
                    **told,
                    **flows_json(flows, snapshot),
                    "out": out_json(snapshot.clusters),
                    "standing": standing(sources) if wanted else None,
                }
            )

        return json_response(await in_thread(make))

    async def clusters(request: Request) -> Response:
        names, known = json.loads(await request.body()), sources.control.snapshot.clusters
        chosen = {name: known[name] for name in names if name in known}
        return json_response(await in_thread(lambda: encode(clusters_json(chosen))))

    own = admin_app(sources.control, recorder=sources.recorder, edge=sources.edge)
    return Starlette(
        routes=[
            Route("/worker/traffic", traffic),
            Route("/worker/clusters", clusters, methods=["POST"]),
            *own.routes,
        ]
    )


def public_app(sources: Sources, siblings: Siblings, metrics: Exposition | None) -> Starlette:
    """The application at the address that people know."""
    alone = admin_app(sources.control, metrics, recorder=sources.recorder, edge=sources.edge)
    pages = _Pages(sources, siblings)
    return Starlette(
        routes=[
            *(route for route in alone.routes if isinstance(route, Route) and route.path in SHARED),
            *WorkersConsole(sources, siblings).routes(),
            *(pages.remembered(sources.recorder) if sources.recorder is not None else ()),
            Route("/ready", pages.ready),
            Route("/status", pages.status),
            Route("/config_dump", pages.config_dump),
            Route("/clusters", pages.clusters),
            Route("/reload", pages.reload, methods=["POST"]),
            Route("/drain", pages.drain, methods=["POST"]),
            Route("/logging", pages.logging, methods=["GET", "POST"]),
        ]
    )


def _target(request: Request) -> str:
    query = urlencode(request.query_params.multi_items())
    return quote(request.url.path, safe="/") + (f"?{query}" if query else "")


def _refusal(answers: Sequence[Answer]) -> Response | None:
    """What to say when nobody answered well: the question is wrong, or nobody is there."""
    if eldest(answers) is not None:
        return None
    said = next((answer for answer in answers if answer.status), None)
    if said is not None:
        return PlainTextResponse(said.body, said.status)
    return PlainTextResponse("".join(f"{line}\n" for line in silence(answers)), 503)


class _Pages:
    def __init__(self, sources: Sources, siblings: Siblings) -> None:
        self._sources = sources
        self._siblings = siblings

    def remembered(self, recorder: Recorder) -> list[Route]:
        """What there is when requests are remembered."""

        async def stats_json(request: Request) -> Response:
            seconds = stats.asked_seconds(request)
            if isinstance(seconds, Response):
                return seconds
            answers, rows = await asyncio.gather(
                self._siblings.ask(f"/worker/traffic?seconds={seconds:.0f}"),
                self._siblings.ask("/clusters?format=json"),
            )
            return await self._made(answers, lambda: self._stats(answers, rows, recorder))

        return [
            Route("/requests", self.requests),
            Route("/requests/{id:path}", self.one),
            Route("/stats.json", stats_json),
        ]

    async def requests(self, request: Request) -> Response:
        answers = await self._siblings.ask(_target(request))
        return await self._made(answers, lambda: merge.requests(answers, Wanted(request.query_params).limit))

    async def one(self, request: Request) -> Response:
        answers = await self._siblings.ask(_target(request))
        told = [{**item, "worker": answer.worker._asdict()} for answer, item in merge.answered(answers)]
        if told:
            return await json_answer(lambda: max(told, key=merge.ended))
        refusal = _refusal(answers)
        assert refusal is not None
        missing = "".join(
            f"{line}, and may know it\n" for line in silence(answers) if refusal.status_code == 404
        )
        return PlainTextResponse(bytes(refusal.body) + missing.encode(), refusal.status_code)

    def _stats(self, answers: Sequence[Answer], rows: Sequence[Answer], recorder: Recorder) -> dict[str, Any]:
        told = merge.answered(answers)
        flows = MergedFlows([item for _, item in told], self._sources.control.snapshot)
        chief = eldest(answers)
        points = [(recorder.moment(point.end), point.counts) for point in flows.points]
        clusters = merge.clusters([item["clusters"] for _, item in merge.answered(rows)])
        generation = next(item["generation"] for answer, item in told if answer is chief)
        return {
            **stats.told(generation, flows.seconds, flows.window, points, clusters),
            "workers": merge.worker_rows(answers, told),
        }

    async def ready(self, _request: Request) -> Response:
        answers = await self._siblings.ask("/ready")
        unready = [
            f"{answer.worker} is {answer.body.decode().strip()}"
            for answer in answers
            if answer.status not in {0, 200}
        ]
        wrong = [*unready, *silence(answers)]
        return PlainTextResponse("".join(f"{line}\n" for line in wrong) or "ready\n", 503 if wrong else 200)

    async def status(self, _request: Request) -> Response:
        answers = await self._siblings.ask("/status")
        return await self._made(answers, lambda: merge.status(answers))

    async def config_dump(self, request: Request) -> Response:
        answers, rows = await asyncio.gather(
            self._siblings.ask("/status"), self._siblings.ask("/clusters?format=json")
        )
        chief = eldest(answers)
        if chief is None:
            return await self._made(answers, dict)
        dump = await self._siblings.ask_one(chief.worker, _target(request), patience=LONG)

        def make() -> dict[str, Any]:
            clusters = merge.clusters([item["clusters"] for _, item in merge.answered(rows)])
            return {**dump.told, **merge.status(answers), "clusters": clusters}

        return await self._made([dump], make)

    async def clusters(self, request: Request) -> Response:
        form = request.query_params.get("format", "text")
        if form not in {"text", "json"}:
            return PlainTextResponse("format is json or text\n", 400)
        answers = await self._siblings.ask("/clusters?format=json")

        def rows() -> list[dict[str, Any]]:
            return merge.clusters([item["clusters"] for _, item in merge.answered(answers)])

        if form == "text":
            silent = "".join(f"# {line}\n" for line in silence(answers))
            return PlainTextResponse(silent + await in_thread(lambda: clusters_text(rows())))
        chief = eldest(answers)
        return await self._made(
            answers,
            lambda: {
                "generation": chief.told["generation"] if chief is not None else 0,
                "clusters": rows(),
                "workers": workers_json(answers),
            },
        )

    async def reload(self, _request: Request) -> Response:
        answers = await self._siblings.ask("/reload", method="POST", patience=LONG)
        refused = any(answer.status == 422 for answer in answers)
        if not refused and (refusal := _refusal(answers)) is not None:
            return refusal
        return await json_answer(lambda: merge.reload(answers), 422 if refused else 200)

    async def drain(self, _request: Request) -> Response:
        answers = await self._siblings.ask("/drain", method="POST")
        return _refusal(answers) or PlainTextResponse(
            "".join(f"{line}\n" for line in ("draining", *silence(answers)))
        )

    async def logging(self, request: Request) -> Response:
        answers = await self._siblings.ask(_target(request), method=request.method)
        return await self._made(answers, lambda: merge.levels(answers))

    async def _made(self, answers: Sequence[Answer], make: Callable[[], Any]) -> Response:
        return _refusal(answers) or await json_answer(make)
