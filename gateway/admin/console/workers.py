"""The console of several workers: the routes are ours, the numbers everybody's.

Lifetime: process.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.admin.app import in_thread
from gateway.admin.console.answers import Answers
from gateway.admin.console.api import files, json_response
from gateway.admin.console.graph import graph
from gateway.admin.console.identities import MOST_CALLERS, MOST_CERTIFICATES
from gateway.admin.console.overview import MOST_ITEMS, item, traffic
from gateway.admin.console.routes import routes
from gateway.admin.console.traces import MOST as MOST_TRACES
from gateway.admin.console.upstreams import busiest, shown
from gateway.admin.merge import answered, clusters, merged_state, newest, worker_rows
from gateway.admin.siblings import eldest, silence
from gateway.admin.traffic import MergedFlows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from gateway.admin.console.sources import Sources
    from gateway.admin.siblings import Answer, Siblings

Told = dict[str, Any]
Pairs = list[tuple["Answer", Told]]

MOST_REJECTED = 200
"""Shown."""


class WorkersConsole:
    """Serves the pages, and what they show of all workers."""

    def __init__(self, sources: Sources, siblings: Siblings) -> None:
        self._sources = sources
        self._siblings = siblings
        self._answers = Answers()

    def __repr__(self) -> str:
        return f"<WorkersConsole of {self._siblings}, {self._answers}>"

    def routes(self) -> list[Route]:
        """What the console answers, for the admin application."""
        pages = {
            "overview": self._page("/worker/traffic?standing=1", self._overview),
            "graph": self._page("/worker/traffic", self._graph),
            "routes": self._page("/worker/traffic", lambda told: routes(self._sources, self._flows(told))),
            "rejected": self._page("/console/api/rejected", _rejected),
            "identities": self._page("/console/api/identities", _identities),
            "traces": self._page("/console/api/traces", _traces),
            "generations": self._page("/console/api/generations", _generations),
            "clusters": self._clusters,
        }
        return [
            *(Route(f"/console/api/{name}", self._given(name, page)) for name, page in pages.items()),
            Route("/console/api/documents", self._of_the_eldest),
            Route("/console/api/diff", self._of_the_eldest),
            *files(),
        ]

    def _given(self, name: str, prepare: Callable[[], Any]) -> Callable[[Request], Any]:
        async def give(_request: Request) -> Response:
            control = self._sources.control
            return json_response(
                await self._answers.give(f"{name} {control.state} {control.last.at}", prepare)
            )

        return give

    def _page(self, target: str, make: Callable[[Pairs], Told]) -> Callable[[], Any]:
        """What everybody says to `target`, made into one answer in a thread."""

        async def prepare() -> Callable[[], Told]:
            answers = await self._siblings.ask(target)

            def made() -> Told:
                told = answered(answers)
                page = make(told) if told else {}
                if "attention" in page:
                    page["attention"] = [*_workers_attention(answers, told), *page["attention"]][:MOST_ITEMS]
                return {**frame(answers, told), **page}

            return made

        return prepare

    def _flows(self, told: Pairs) -> MergedFlows:
        return MergedFlows([each for _, each in told], self._sources.control.snapshot)

    def _overview(self, told: Pairs) -> Told:
        parts = [each["standing"] for _, each in told]
        connections = [part["connections"] for part in parts if part["connections"] is not None]
        return {
            **traffic(self._flows(told)),
            "in_flight": sum(part["in_flight"] for part in parts),
            "connections": sum(connections) if connections else None,
            "endpoints": max(part["endpoints"] for part in parts),
            "ejected": len(_out(told)),
            "attention": _attention(told),
        }

    def _graph(self, told: Pairs) -> Told:
        drawn = graph(self._sources, self._flows(told))
        out = _out(told)
        for cluster in drawn["clusters"]:
            for endpoint in cluster["endpoints"]:
                endpoint["ejected"] = (cluster["name"], endpoint["address"]) in out
        return drawn

    async def _clusters(self) -> Callable[[], Told]:
        answers = await self._siblings.ask("/worker/traffic")
        known = self._sources.control.snapshot.clusters

        def chosen() -> tuple[Pairs, MergedFlows, bytes]:
            told = answered(answers)
            flows = self._flows(told)
            return told, flows, json.dumps(busiest(known, flows)).encode()

        told, flows, names = await in_thread(chosen)
        rows = await self._siblings.ask("/worker/clusters", method="POST", content=names)
        return lambda: {
            **frame(answers, told),
            **shown(self._sources, flows, clusters([answer.told for answer in rows if answer.status == 200])),
        }

    async def _of_the_eldest(self, request: Request) -> Response:
        """Generations are numbered by each worker for itself, and remembered by who was there."""
        chief = eldest(await self._siblings.ask("/worker/traffic"))
        if chief is None:
            return PlainTextResponse("no worker answers\n", 503)
        target = f"{request.url.path}?{urlencode(request.query_params)}"
        answer = await self._siblings.ask_one(chief.worker, target, patience=5.0)
        if answer.status == 200:
            return json_response(answer.body)
        return PlainTextResponse(answer.body or f"{answer.worker}: {answer.silent}\n", answer.status or 503)


def frame(answers: Sequence[Answer], told: Pairs) -> Told:
    """What the head of every page shows."""
    chief = eldest(answers)
    own = next((each for answer, each in told if answer is chief), {})
    return {
        **{key: own.get(key) for key in ("version", "generation", "time", "links")},
        "state": merged_state(told),
        "refused": any(each["refused"] for _, each in told),
        "started_at": min((each["started_at"] for _, each in told), default=None),
        "workers": worker_rows(answers, told),
    }


def _out(told: Pairs) -> set[tuple[str, str]]:
    """Endpoints that get no requests from at least one worker."""
    return {(name, address) for _, each in told for name, address in each["out"]}


def _workers_attention(answers: Sequence[Answer], told: Pairs) -> list[dict[str, str]]:
    found = [item("error", f"{text[:1].upper()}{text[1:]}", "#/configuration") for text in silence(answers)]
    for row in worker_rows(answers, told):
        if row.get("behind"):
            text = f"Worker {row['worker']} (pid {row['pid']}) serves older files than the others."
            found.append(item("error", text, "#/configuration"))
    return found


def _attention(told: Pairs) -> list[dict[str, str]]:
    """What each worker has to say; what not all say, with who says it."""
    seen: dict[tuple[str, str, str], list[int]] = {}
    for answer, each in told:
        for one in each["standing"]["attention"]:
            key = (one["severity"], one["text"], one["link"])
            seen.setdefault(key, []).append(answer.worker.number)
    found = []
    for (severity, text, link), workers in seen.items():
        only = ""
        if len(workers) < len(told):
            many = "s" if len(workers) > 1 else ""
            only = f" (only worker{many} {', '.join(map(str, workers))})"
        found.append(item(severity, text + only, link))
    return sorted(found, key=lambda one: one["severity"] != "error")


def _rejected(told: Pairs) -> Told:
    counts: Counter[str] = Counter()
    for _, each in told:
        counts.update(each["counts"])
    last = [{**row, "worker": answer.worker.number} for answer, each in told for row in each["last"]]
    return {
        "available": any(each["available"] for _, each in told),
        "counts": dict(counts.most_common()),
        "last": sorted(last, key=lambda row: -row["at"])[:MOST_REJECTED],
    }


def _identities(told: Pairs) -> Told:
    certificates: dict[str, Told] = {}
    callers: dict[tuple[str, str], Counter[str]] = {}
    for _, each in told:
        for held in each["certificates"]:
            certificates.setdefault(json.dumps(held, sort_keys=True), held)
        for caller in each["callers"]:
            counts = callers.setdefault((caller["kind"], caller["principal"]), Counter())
            counts.update({key: caller[key] for key in ("requests", "refused")})
    first = sorted(certificates.values(), key=lambda held: held["not_after"] or float("inf"))
    order = sorted(callers.items(), key=lambda caller: -caller[1]["requests"])[:MOST_CALLERS]
    return {
        "now": told[0][1]["now"],
        "certificates": first[:MOST_CERTIFICATES],
        "policies": told[0][1]["policies"],
        "callers": [{"kind": who[0], "principal": who[1], **counts} for who, counts in order],
    }


def _traces(told: Pairs) -> Told:
    return {"traces": newest(told, "traces", MOST_TRACES)}


def _generations(told: Pairs) -> Told:
    """Those of the worker that remembers most."""
    chief = eldest([answer for answer, _ in told])
    own = next(each for answer, each in told if answer is chief)
    return {key: own[key] for key in ("serving", "paths", "findings", "attempts")}
