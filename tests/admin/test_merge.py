"""One answer of several: what adds up, what is named, what must not be averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route
from support.clock import FakeClock

from gateway.admin import merge
from gateway.admin.app import admin_app
from gateway.admin.console.flows import Flows
from gateway.admin.console.sources import Sources
from gateway.admin.siblings import Answer, Siblings, Worker, eldest, silence
from gateway.admin.traffic import MergedFlows, flows_json
from gateway.admin.workers import public_app
from gateway.control import Control
from gateway.exchange.mirror import Copied
from gateway.http.request import Request
from gateway.telemetry.recorder import Recorder


class Thing:
    """Attributes, compared by identity; those that nobody set are None."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> None:
        return None


NO_ROUTES: Any = Thing(listeners={}, default=Thing(virtual_hosts=(), name="default"))


def said(number: int, told: Any, status: int = 200) -> Answer:
    return Answer(Worker(number, 100 + number, 10.0 - number), status, json.dumps(told).encode())


def silent(number: int) -> Answer:
    return Answer(Worker(number, 100 + number), 0, silent="connection refused")


def recorded(clock: FakeClock, durations: list[float], status: int = 200) -> Recorder:
    """A worker's memory of requests that took so long, all in the second that has just ended."""
    recorder = Recorder(clock=clock, wall=lambda: clock() + 1e9)
    route, destination = Thing(name="r", source="default/r http[0]"), Thing(cluster_name="c")
    for duration in durations:
        exchange: Any = Thing(
            request=Request("GET", "http", b"a", "a", b"/", b"", []),
            route=route,
            destination=destination,
            endpoint=Thing(address="1.2.3.4:80"),
            status=status,
            flags=(),
            details="via_upstream",
            started_at=clock() - duration,
            snapshot=Thing(generation=1),
        )
        recorder.record(exchange, clock())
    return recorder


def joined(recorders: list[Recorder]) -> MergedFlows:
    told = [json.loads(json.dumps(flows_json(Flows(each), NO_ROUTES))) for each in recorders]
    return MergedFlows(told, NO_ROUTES)


def test_percentiles_are_of_everybodys_durations() -> None:
    """One worker with 90 fast requests and one with 10 slow ones: neither's p99, and not the mean of both."""
    clock = FakeClock()
    fast, slow = [0.001] * 90, [1.0] * 10
    workers = [recorded(clock, fast), recorded(clock, slow, status=503)]
    alone = recorded(clock, fast)
    for entry in recorded(clock, slow, status=503).recent:
        alone.record(*entry)
    clock.advance(1.5)
    whole_of_them, one = joined(workers), Flows(alone)

    assert whole_of_them.total() == one.total()
    assert whole_of_them.total()["p50"] < 2
    assert whole_of_them.total()["p99"] > 900
    assert whole_of_them.total()["success"] == 90
    assert whole_of_them.history() == one.history()
    assert whole_of_them.cluster("c") == one.cluster("c")
    assert whole_of_them.endpoint("c", "1.2.3.4:80") == one.endpoint("c", "1.2.3.4:80")
    assert whole_of_them.busiest_routes(3) == one.busiest_routes(3)


def test_copies_for_mirrors_add_up() -> None:
    """Cluster by cluster, endpoint by endpoint."""
    clock = FakeClock()
    workers = [Recorder(clock=clock, wall=clock) for _ in range(2)]
    mirror: Any = Thing(cluster_name="m")
    for worker, status in zip(workers, (200, 503), strict=True):
        worker.copied(Copied(mirror, clock(), Thing(address="a"), status))  # type: ignore[arg-type]
    flows = joined(workers)

    assert flows.copied_to("m") == flows.copied_to("m", "a") == {"rps": 2.0, "failed": 1.0, "success": 50.0}


def test_nobody_who_answers_is_nothing_to_show() -> None:
    """No division by nothing."""
    assert joined([]).total()["rps"] == 0


def frame(digest: str, applied_at: float, **more: Any) -> dict[str, Any]:
    return {
        "state": "ready",
        "generation": 3,
        "digest": digest,
        "applied_at": applied_at,
        "refused": False,
    } | more


def test_who_serves_older_files_is_behind_whatever_its_number() -> None:
    """Generations are counted by each for itself: a new worker's first may be the others' ninth."""
    answers = [
        said(0, frame("new", 20.0, generation=9)),
        said(1, frame("old", 10.0, generation=8)),
        said(2, frame("new", 30.0, generation=1)),
        silent(3),
    ]
    rows = merge.worker_rows(answers, merge.answered(answers))

    assert [row.get("behind") for row in rows] == [False, True, False, None]
    assert rows[3] == {"worker": 3, "pid": 103, "silent": "connection refused"}
    assert silence(answers) == ["worker 3 (pid 103) does not answer: connection refused"]


def test_who_has_lived_longest_speaks_of_the_past() -> None:
    """If it answers."""
    answers = [said(0, {}), said(1, {}), said(2, {}, status=503), silent(3)]

    assert eldest(answers) is answers[1]
    assert eldest(answers[2:]) is None


def test_the_worst_outcome_of_a_reload_is_told() -> None:
    """Refused by one is not applied."""

    def outcome(name: str) -> dict[str, Any]:
        return {"outcome": name, "generation": 2, "seconds": 0.1, "findings": [name]}

    answers = [
        said(0, outcome("applied")),
        said(1, outcome("refused"), status=422),
        said(2, outcome("unchanged")),
        silent(3),
    ]
    told = merge.reload(answers)

    assert (told["outcome"], told["findings"]) == ("refused", ["refused"])
    assert [row.get("outcome") for row in told["workers"]] == ["applied", "refused", "unchanged", None]


def test_levels_that_differ_say_whose() -> None:
    """A new worker has the levels it was started with."""
    answers = [said(0, {"a": "debug", "b": "info"}), said(1, {"a": "info"}), said(2, {"a": "debug"})]

    assert merge.levels(answers) == {"a": "debug (worker 1: info)", "b": "info"}


def cluster(**limit: Any) -> dict[str, Any]:
    return {
        "name": "c",
        "connections": 2,
        "pending": 1,
        "overflows": 3,
        "retries_refused": 0,
        "retries_left": 2,
        "limits": {"max_connections": {"used": 2, "limit": 10, "open": False} | limit},
        "endpoints": [],
    }


def endpoint(address: str, health: str = "healthy", **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("active", "requests", "connections", "idle", "waiting"), 1)
    return {"address": address, "weight": 5, "health": health, **counts, **more}


def test_clusters_add_up_and_limits_are_full_where_one_is() -> None:
    """Endpoints that only one worker knows, because names changed meanwhile, are there as well."""
    one, other = cluster(), cluster(used=10, open=True)
    one["endpoints"] = [
        endpoint("a"),
        endpoint("b", "ejected", ejected_for=3.0, ejected_because="5xx", ejections=2),
    ]
    other["endpoints"] = [
        endpoint("a", "failing its checks"),
        endpoint("b", ejected_because="5xx", ejections=1),
        endpoint("z"),
    ]
    (row,) = merge.clusters([[one], [other]])

    assert (row["connections"], row["pending"], row["overflows"], row["retries_left"]) == (4, 2, 6, 4)
    assert row["limits"]["max_connections"] == {
        "used": 12,
        "limit": 20,
        "open": True,
        "open_in": 1,
        "workers": 2,
    }
    a, b, z = row["endpoints"]
    assert (a["health"], a["active"], a["weight"]) == ("failing its checks in 1 of 2 workers", 2, 5)
    assert (b["health"], b["ejected_for"], b["ejections"]) == ("ejected in 1 of 2 workers", 3.0, 3)
    assert (z["health"], z["active"], z["out_in"]) == ("healthy", 1, 0)


def test_the_store_of_rate_limits_is_up_when_every_worker_reaches_it() -> None:
    """Questions add up; a worker that is cut off is not hidden by the others."""
    reached = {"up": True, "reason": "", "allowed": 2, "limited": 1, "recalled": 0, "failed": 0, "skipped": 0}
    cut_off = {**reached, "up": False, "reason": "refused", "allowed": 1, "skipped": 5}

    joined = merge._store([reached, cut_off, reached])
    assert joined is not None
    assert (joined["up"], joined["reason"], joined["down_in"], joined["workers"]) == (False, "refused", 1, 3)
    assert (joined["allowed"], joined["limited"], joined["skipped"]) == (5, 3, 5)
    assert merge._store([None, None]) is None


def test_several_workers_answer_at_every_address_that_one_has(tmp_path: Path) -> None:
    """A page that is added to one application and not to the other would be missing with `--workers`."""
    sources = Sources(Control(tmp_path, watch=False), Recorder())
    one = admin_app(sources.control, recorder=sources.recorder)
    several = public_app(sources, Siblings(tmp_path, 0), None)

    assert methods(several) == methods(one)


def methods(app: Starlette) -> set[tuple[str, str]]:
    return {
        (route.path, method)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
