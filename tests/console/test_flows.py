"""Rates out of the recorder's memory, with a clock that moves when told."""

from __future__ import annotations

from typing import Any

from support.clock import FakeClock

from gateway.admin.console.flows import Flows
from gateway.exchange.mirror import Copied
from gateway.http.flags import Flag
from gateway.http.request import Request
from gateway.telemetry.recorder import Recorder


class Thing:
    """Attributes, compared by identity; those that nobody set are None."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> None:
        return None


def exchange(route: str, cluster: str, address: str, status: int, started_at: float) -> Any:
    """As much of an exchange as the recorder looks at."""
    return Thing(
        request=Request("GET", "http", b"a", "a", b"/", b"", []),
        route=Thing(name=route, source=f"default/{route} http[0]"),
        destination=Thing(cluster_name=cluster),
        endpoint=Thing(address=address),
        status=status,
        flags=(),
        details="via_upstream",
        started_at=started_at,
        snapshot=Thing(generation=1),
    )


class Past:
    """A recorder, and requests that are put into it."""

    def __init__(self, size: int = 1000) -> None:
        self.clock = FakeClock()
        self.recorder = Recorder(clock=self.clock, wall=lambda: self.clock() + 1e9, size=size)
        self.routes: dict[tuple[str, str], Any] = {}

    def happen(
        self, *, seconds: float, every: float, route: str = "r", status: int = 200, took: float = 0.01
    ) -> None:
        """Requests at even distances, each to the cluster and endpoint named after its route."""
        for _ in range(round(seconds / every)):
            self.clock.advance(every)
            item = exchange(route, f"c-{route}", f"e-{route}", status, self.clock() - took)
            known = self.routes.setdefault((route, "c"), item)
            item.route, item.destination = known.route, known.destination
            self.recorder.record(item, self.clock())

    def flows(self) -> Flows:
        """What is to be seen now."""
        return Flows(self.recorder)


def test_without_a_recorder_there_is_nothing() -> None:
    """Every question has an answer all the same."""
    flows = Flows(None)

    assert flows.total() == {"rps": 0, "failed": 0, "success": None, "p50": None, "p99": None}
    assert flows.endpoint("c", "e") == {"rps": 0, "failed": 0, "success": None}
    assert (flows.busiest_routes(5), flows.busiest_clusters(5), flows.history()["at"]) == ([], [], [])


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    """What came before is history, whatever it was."""
    past = Past()
    past.happen(seconds=30, every=0.1, status=503)
    past.happen(seconds=20, every=0.5)
    past.clock.advance(0.999)
    flows = past.flows()

    assert flows.total()["success"] == 100.0
    assert 1.8 <= flows.total()["rps"] <= 2.0
    assert flows.history()["failed"][0] > 5


def test_places_are_told_apart() -> None:
    """Route, cluster, what one sends to the other, and the endpoint that failed."""
    past = Past()
    past.happen(seconds=10, every=0.5, route="good")
    past.happen(seconds=1, every=0.1, route="bad", status=500)
    past.clock.advance(1.0)
    flows = past.flows()

    assert flows.route("default/bad http[0]")["success"] == 0.0
    assert flows.route("default/good http[0]")["success"] == 100.0
    assert flows.cluster("c-bad")["failed"] == flows.cluster("c-bad")["rps"] > 0
    assert flows.between("default/bad http[0]", "c-bad") == flows.route("default/bad http[0]")
    assert flows.between("default/bad http[0]", "c-good")["rps"] == 0
    assert flows.endpoint("c-bad", "e-bad") == {"rps": 1.0, "failed": 1.0, "success": 0.0}
    assert [name for name, _ in flows.busiest_clusters(1)] == ["c-good"]
    assert [item["name"] for item in flows.busiest_routes(5)] == ["good", "bad"]


def test_percentiles_are_near_the_truth() -> None:
    """Within the recorder's twelve percent."""
    past = Past()
    past.happen(seconds=9, every=0.1, took=0.02)
    past.happen(seconds=0.9, every=0.3, took=0.5)
    past.clock.advance(1.0)

    total = past.flows().total()
    assert 17 <= total["p50"] <= 23
    assert 440 <= total["p99"] <= 570


def test_an_endpoint_is_counted_over_the_time_that_is_remembered() -> None:
    """With many requests the memory is shorter than ten seconds; the rate is right all the same."""
    past = Past(size=100)
    past.happen(seconds=10, every=0.01)

    assert 95 <= past.flows().endpoint("c-r", "e-r")["rps"] <= 105


def test_history_has_a_point_for_ten_seconds_and_the_one_that_fills() -> None:
    """The last point counts the seconds it has, so a steady rate looks steady."""
    past = Past()
    past.happen(seconds=60, every=0.25)
    past.clock.advance(1.0)
    history = past.flows().history()

    assert all(later > earlier for earlier, later in zip(history["at"], history["at"][1:], strict=False))
    assert history["at"][-1] <= past.clock() + 1e9
    assert [rps for rps in history["rps"][1:-1] if not 3.5 <= rps <= 4.5] == []


def test_copies_are_counted_for_mirrors_and_not_for_requests() -> None:
    """By mirror, cluster and endpoint; those that were declined went nowhere."""
    past = Past()
    one, other = Thing(cluster_name="c"), Thing(cluster_name="c")
    copies = (
        Copied(one, 0, Thing(address="a"), 200),
        Copied(one, 0, Thing(address="b"), 500),
        Copied(other, 0, Thing(address="b"), 0, Flag.UPSTREAM_CONNECT_FAILURE),
        Copied(other, 0, None, 0, Flag.NO_HEALTHY_UPSTREAM),
        Copied(other, 0),
    )
    past.recorder.copied(Copied(one, past.clock(), Thing(address="a"), 200))
    past.clock.advance(60)
    for copy in copies:
        past.recorder.copied(copy._replace(ended_at=past.clock()))
    past.clock.advance(1)
    flows = past.flows()

    assert flows.copied([one]) == {"rps": 0.2, "failed": 0.1, "success": 50.0}
    assert flows.copied_to("c") == {"rps": 0.4, "failed": 0.3, "success": 25.0}
    assert flows.copied_to("c", "b") == {"rps": 0.2, "failed": 0.2, "success": 0.0}
    assert flows.copied_to("d") == {"rps": 0, "failed": 0, "success": None}
    assert flows.cluster("c")["rps"] == 0


def test_very_many_copies_are_rated_over_the_time_they_cover() -> None:
    """As with requests: memory is bounded, the rate is right."""
    past = Past(size=100)
    mirror = Thing(cluster_name="c")
    for _ in range(400):
        past.clock.advance(0.01)
        past.recorder.copied(Copied(mirror, past.clock(), Thing(address="a"), 200))

    assert 95 < past.flows().copied([mirror])["rps"] < 105
