"""`/stats.json`: rates, success and durations of the last seconds, by route and by cluster (`gateway top`).

Lifetime: process (the route), request (the answers).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.admin.clusters import clusters_json
from gateway.telemetry.recorder import POINT, SLOT, SLOTS, Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from gateway.control.control import Control
    from gateway.telemetry.recorder import Key, Recorder

DEFAULT_SECONDS = 10


def routes(recorder: Recorder, control: Control) -> list[Route]:
    """`/stats.json?seconds=10`; at most a minute is remembered by route."""

    async def stats(request: Request) -> Response:
        seconds = asked_seconds(request)
        if isinstance(seconds, Response):
            return seconds
        # The recorder is read on the loop, which writes it.
        seconds, window = recorder.window(seconds)
        points = [(recorder.moment(point.at), point.counts) for point in recorder.history()]
        snapshot = control.snapshot
        rows = clusters_json(snapshot.clusters)
        return await _json(told(snapshot.generation, seconds, window, points, rows))

    return [Route("/stats.json", stats)]


def asked_seconds(request: Request) -> float | Response:
    """How far back somebody wants to look; what to answer when that makes no sense."""
    text = request.query_params.get("seconds", str(DEFAULT_SECONDS))
    if not text.isdigit() or not 0 < int(text) <= SLOT * SLOTS:
        return PlainTextResponse(f"seconds is a whole number from 1 to {SLOT * SLOTS:.0f}\n", 400)
    return float(text)


def told(
    generation: int,
    seconds: float,
    window: Mapping[Key, Counts],
    points: Iterable[tuple[float, Counts]],
    rows: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """The whole answer; `points`: when each ended, in seconds since the epoch; `rows`: `clusters_json`."""
    return {
        "generation": generation,
        "seconds": round(seconds, 3),
        "total": rates(merged(window.values()), seconds),
        "routes": by_route(window, seconds),
        "clusters": by_cluster(window, seconds, rows),
        "history": [{"at": round(at, 3), **rates(counts, POINT)} for at, counts in points],
    }


def by_route(window: Mapping[Key, Counts], seconds: float) -> list[dict[str, Any]]:
    """One object a route that had requests, the busiest first; the one without a name is no route at all."""
    groups: dict[tuple[str, str], list[Counts]] = {}
    for key, counts in window.items():
        groups.setdefault((key.route, key.source), []).append(counts)
    told = [
        {"route": route, "source": source, **rates(merged(counts), seconds)}
        for (route, source), counts in groups.items()
    ]
    return sorted(told, key=lambda item: -item["requests"])


def by_cluster(
    window: Mapping[Key, Counts], seconds: float, rows: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One object a cluster, also without requests: what is under way there, who is ejected, what is full."""
    groups: dict[str, list[Counts]] = {}
    for key, counts in window.items():
        groups.setdefault(key.cluster, []).append(counts)
    shown = []
    for cluster in rows:
        endpoints = cluster["endpoints"]
        shown.append(
            {
                "cluster": cluster["name"],
                **rates(merged(groups.get(cluster["name"], ())), seconds),
                "in_flight": sum(endpoint["active"] for endpoint in endpoints),
                "connections": cluster["connections"],
                "pending": cluster["pending"],
                "endpoints": len(endpoints),
                "ejected": sum("ejected_for" in endpoint for endpoint in endpoints),
                "unwell": sum(endpoint["health"] != "healthy" for endpoint in endpoints),
                "full": [name for name, limit in cluster["limits"].items() if limit["open"]],
            }
        )
    return sorted(shown, key=lambda item: (-item["requests"], item["cluster"]))


def merged(many: Any) -> Counts:
    """All of them together."""
    whole = Counts()
    for counts in many:
        whole.add(counts)
    return whole


def rates(counts: Counts, seconds: float) -> dict[str, Any]:
    """Requests a second, the share that did not end in 5xx, and how long they took; null without requests."""
    known = counts.requests > 0
    return {
        "requests": counts.requests,
        "failures": counts.failures,
        "rps": round(counts.requests / seconds, 2),
        "success_percent": round(100 * (1 - counts.failures / counts.requests), 2) if known else None,
        "p50_ms": round(counts.quantile(0.5) * 1000, 2) if known else None,
        "p99_ms": round(counts.quantile(0.99) * 1000, 2) if known else None,
    }


async def _json(answer: Any) -> Response:
    text = await asyncio.to_thread(json.dumps, answer, ensure_ascii=False, indent=1)
    return Response(text + "\n", media_type="application/json")
