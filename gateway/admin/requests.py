"""`/requests`: what happened lately, filtered; and one request with everything there is to tell about it.

Lifetime: process (the routes), request (the answers).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.explain.story import rejected_story, story, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from gateway.control.control import Control
    from gateway.telemetry.recorder import Entry, Recorder

LIMIT, MOST = 50, 1000
"""Requests in an answer when nobody says, and at most."""

FILTERS = ("id", "failed", "status", "flag", "route", "cluster", "endpoint", "path", "min_ms", "limit")
"""Query parameters of `/requests`."""


def routes(recorder: Recorder, control: Control, edge: Callable[[], Any] = lambda: None) -> list[Route]:
    """`/requests?…` and `/requests/ID`; `edge` gives who remembers requests that were no valid HTTP.

    `failed=1`: only those that went wrong (5xx, clients that left, answers cut off). `status` is a code or a
    class (`503`, `5xx`), `flag` one of Envoy's (`UF`; `any`: has one), `route` a name or where it is written,
    `cluster` and `endpoint` a part of the name, `path` a prefix, `min_ms` the least duration. The newest
    come first.
    """

    async def many(request: Request) -> Response:
        try:
            wanted = Wanted(request.query_params)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return await _json(
            lambda: {
                "kept": {
                    "recent": len(recorder.recent),
                    "failed": len(recorder.failed),
                    "refused": len(recorder.refused),
                },
                "requests": wanted.chosen(recorder),
            }
        )

    async def one(request: Request) -> Response:
        wanted = request.path_params["id"]
        entry = recorder.find(wanted)
        if entry is None and (rejected := _rejected(edge(), wanted)) is not None:
            return await _json(lambda: rejected_story(rejected))
        if entry is None:
            return PlainTextResponse(
                "no such request is remembered: it is too long ago, or it came elsewhere\n", 404
            )
        snapshot = control.snapshot
        return await _json(lambda: story(entry, recorder.moment(entry.ended_at), snapshot))

    return [Route("/requests", many), Route("/requests/{id:path}", one)]


def _rejected(edge: Any, wanted: str) -> Any:
    """The request of this id among those that the protocol class refused."""
    if edge is None:
        return None
    return next((item for item in tuple(edge.refusals.last) if item.request_id == wanted), None)


class Wanted:
    """Which requests somebody asks for. ValueError when the question makes no sense."""

    def __init__(self, query: Mapping[str, str]) -> None:
        unknown = sorted(set(query) - set(FILTERS))
        if unknown:
            raise ValueError(f"no such filter: {', '.join(unknown)}; there are {', '.join(FILTERS)}")
        self.limit = min(_number(query, "limit", LIMIT), MOST)
        least = _number(query, "min_ms", 0) / 1000
        self._tests: list[Callable[[Entry], bool]] = []
        if least:
            self._tests.append(lambda entry: entry.ended_at - entry.exchange.started_at >= least)
        self._failed = query.get("failed", "0") not in {"0", ""}
        for name, make in _TESTS.items():
            if query.get(name):
                self._tests.append(make(query[name]))

    def chosen(self, recorder: Recorder) -> list[dict[str, Any]]:
        """Their summaries, the newest first."""
        found: list[dict[str, Any]] = []
        for entry in recorder.failures() if self._failed else recorder.entries():
            if len(found) >= self.limit:
                break
            if all(test(entry) for test in self._tests):
                found.append(summary(entry, recorder.moment(entry.ended_at)))
        return found


def _by_id(value: str) -> Callable[[Entry], bool]:
    return lambda entry: entry.exchange.request_id == value


def _by_status(value: str) -> Callable[[Entry], bool]:
    if len(value) == 3 and value.endswith("xx") and value[0].isdigit():
        return lambda entry: entry.exchange.status // 100 == int(value[0])
    if not value.isdigit():
        raise ValueError("status is a code such as 503, or a class such as 5xx")
    return lambda entry: entry.exchange.status == int(value)


def _by_flag(value: str) -> Callable[[Entry], bool]:
    if value == "any":
        return lambda entry: bool(entry.exchange.flags)
    return lambda entry: value.upper() in entry.exchange.flags


def _by_route(value: str) -> Callable[[Entry], bool]:
    def fits(entry: Entry) -> bool:
        route = entry.exchange.route
        return route is not None and (route.name == value or str(route.source).startswith(value))

    return fits


def _by_cluster(value: str) -> Callable[[Entry], bool]:
    def fits(entry: Entry) -> bool:
        destination = entry.exchange.destination
        return destination is not None and value in destination.cluster_name

    return fits


def _by_endpoint(value: str) -> Callable[[Entry], bool]:
    def fits(entry: Entry) -> bool:
        endpoint = entry.exchange.endpoint
        return endpoint is not None and value in endpoint.address

    return fits


def _by_path(value: str) -> Callable[[Entry], bool]:
    prefix = value.encode()
    return lambda entry: entry.exchange.request.path.startswith(prefix)


_TESTS: dict[str, Callable[[str], Callable[[Entry], bool]]] = {
    "id": _by_id,
    "status": _by_status,
    "flag": _by_flag,
    "route": _by_route,
    "cluster": _by_cluster,
    "endpoint": _by_endpoint,
    "path": _by_path,
}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not text.isdigit() or len(text) > 9:
        raise ValueError(f"{name} is a whole number")
    return int(text)


async def _json(make: Callable[[], Any]) -> Response:
    """An answer that is made in a thread: what it reads is over, and does not change."""
    text = await asyncio.to_thread(lambda: json.dumps(make(), ensure_ascii=False, indent=1))
    return Response(text + "\n", media_type="application/json")
