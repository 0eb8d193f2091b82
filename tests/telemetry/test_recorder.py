"""The memory of finished exchanges: bounded, cheap, and without what they were made of."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.clock import FakeClock
from support.routing import request, service, snapshot

from gateway.exchange.exchange import Exchange
from gateway.http.flags import Flag
from gateway.http.place import Place
from gateway.telemetry.recorder import BOUNDS, KEPT, LARGE, Counts, Recorder
from gateway.upstream.errors import UpstreamError, terminated

SNAP = snapshot(
    """\
    apiVersion: networking.istio.io/v1
    kind: VirtualService
    metadata: {name: reviews}
    spec:
      hosts: [reviews]
      http:
      - name: one
        match: [{uri: {prefix: /one}}]
        route: [{destination: {host: reviews}}]
      - route: [{destination: {host: reviews}}]
    """,
    service("reviews"),
)


def exchange(path: str = "/", status: int = 200, *, began: float = 0.0, **more: Any) -> Exchange:
    """An exchange that is over."""
    made = Exchange(SNAP, began, Place(("127.0.0.1", 5000), ("127.0.0.1", 80)))
    made.request = request(path, more.pop("headers", None))
    made.request_id = more.pop("request_id", f"id-{path}")
    made.status = status
    made.route = SNAP.default.match(made.request)
    made.destination = made.route.choose(0) if made.route is not None else None
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_every_exchange_is_kept_until_there_are_too_many() -> None:
    """The newest come first."""
    recorder = Recorder(size=3)
    for number in range(5):
        recorder.record(exchange(f"/{number}"), float(number))

    assert [entry.exchange.request.path for entry in recorder.entries()] == [b"/4", b"/3", b"/2"]


@pytest.mark.parametrize(
    ("status", "flags", "details", "ring"),
    [
        (200, (), "via_upstream", None),
        (404, (), "via_upstream", None),
        (503, (), "via_upstream", "failed"),
        (503, (Flag.UPSTREAM_CONNECT_FAILURE,), "x", "failed"),
        (200, (Flag.UPSTREAM_PROTOCOL_ERROR,), "x", "failed"),
        (0, (Flag.CLIENT_GONE,), "x", "failed"),
        (404, (Flag.NO_ROUTE,), "route_not_found", "refused"),
        (403, (), "rbac_access_denied_matched_policy[none]", "refused"),
    ],
)
def test_failures_and_refusals_have_rings_of_their_own(
    status: int, flags: Any, details: str, ring: str | None
) -> None:
    """Neither traffic that goes well nor a scanner that gets 404s pushes an outage out."""
    recorder = Recorder(size=2)
    recorder.record(exchange("/x", status, flags=flags, details=details), 1.0)
    for number in range(5):
        recorder.record(exchange("/ok"), 2.0 + number)
    for number in range(5):
        if ring != "refused":
            recorder.record(
                exchange("/scan", 404, flags=(Flag.NO_ROUTE,), details="route_not_found"), 9.0 + number
            )

    rings = {"failed": recorder.failed, "refused": recorder.refused}
    assert (recorder.find("id-/x") is not None) is (ring is not None)
    for name, kept in rings.items():
        assert any(entry[0].request_id == "id-/x" for entry in kept) is (name == ring)


def test_an_exchange_in_two_rings_is_told_once() -> None:
    """A failure is both recent and failed."""
    recorder = Recorder()
    recorder.record(exchange("/x", 503), 1.0)

    assert len(list(recorder.entries())) == 1
    assert [entry.exchange.status for entry in recorder.failures()] == [503]


def reachable(things: Any) -> Iterator[Any]:
    """Everything that is kept alive, the configuration's and the process's objects apart."""
    seen, stack = set(), list(things)
    while stack:
        thing = stack.pop()
        name = f"{type(thing).__module__}.{type(thing).__qualname__}"
        if (
            id(thing) in seen
            or isinstance(thing, type)
            or name.startswith(("gateway.routing", "gateway.upstream.endpoint", "builtins.module"))
        ):
            continue
        seen.add(id(thing))
        yield thing
        stack += gc.get_referents(thing)


def test_nothing_of_a_connection_is_kept_alive() -> None:
    """No socket, buffer, task, traceback nor snapshot hangs on what is remembered."""
    heavy = SimpleNamespace(buffer=bytearray(10))

    def connect(_: Any) -> None:
        try:
            int("refused")
        except ValueError as error:
            raise terminated(sent=True) from error

    def fail() -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            connect(heavy)
        return caught.value

    made = exchange(
        "/x",
        503,
        connection=heavy,
        upload=heavy,
        uploaded=lambda: heavy,
        trial=heavy,
        response_headers=[(b"a", b"b" * 60_000)],
    )
    made.failure, made.ended = fail(), fail()
    made.flags = (Flag.UPSTREAM_TERMINATION,)
    recorder = Recorder()
    recorder.record(made, 1.0)

    kept = list(reachable([recorder.recent[0]]))
    assert heavy not in kept
    assert not [
        thing for thing in kept if type(thing).__name__ in {"frame", "traceback", "Snapshot", "bytearray"}
    ]
    assert made.snapshot.generation == SNAP.generation


def test_a_large_head_is_cut() -> None:
    """A client sends 60 KiB a request; a thousand of them are not kept whole."""
    recorder = Recorder()
    big = exchange("/" + "a" * 16_000, headers=[(b"x-%d" % number, b"v" * 700) for number in range(80)])
    repeated = exchange("/r", headers=[(b"cookie", b"c" * 900)] * 60)
    ordinary = exchange("/o", headers=[(b"cookie", b"c"), (b"cookie", b"d")])
    for made in (big, repeated, ordinary):
        recorder.record(made, 1.0)
        assert sum(len(a) + len(b) for a, b in made.request.headers) + len(made.request.path) <= 2 * LARGE

    assert len(ordinary.request.headers) == 2


def test_what_is_kept_has_a_bound() -> None:
    """Whatever is sent, and however much."""
    recorder = Recorder()
    for number in range(3 * KEPT):
        recorder.record(exchange(f"/{number % 7}", 503 if number % 2 else 404, details="x"), number / 1000)

    assert len(recorder.recent) == len(recorder.failed) == len(recorder.refused) == KEPT


def test_rates_are_of_the_last_seconds_by_route_and_destination() -> None:
    """What is older is forgotten; the second that is under way does not count yet."""
    clock = FakeClock()
    recorder = Recorder(clock=clock)
    began = clock()
    for second in range(20):
        for number in range(10):
            clock.now = began + second + number / 10
            recorder.record(
                exchange(
                    "/one" if number < 4 else "/two", 500 if number == 0 else 200, began=clock.now - 0.05
                ),
                clock.now,
            )
    clock.now = began + 20
    seconds, window = recorder.window(10)

    assert seconds == 10
    assert {key.route: (counts.requests, counts.failures) for key, counts in window.items()} == {
        "one": (40, 10),
        "default/reviews http[1]": (60, 0),
    }
    assert {key.cluster for key in window} == {"outbound|9080||reviews.default.svc.cluster.local"}
    clock.now = began + 200
    assert recorder.window(10) == (10, {})


def test_history_is_kept_for_a_quarter_of_an_hour() -> None:
    """Ten seconds a point; silence has none."""
    clock = FakeClock()
    clock.now = 1000.0
    recorder = Recorder(clock=clock)
    for second in (0, 1, 12, 500):
        clock.now = 1000.0 + second
        recorder.record(exchange(began=clock.now), clock.now)
    clock.now = 1600.0

    assert [(point.at, point.counts.requests) for point in recorder.history()] == [
        (1010.0, 2),
        (1020.0, 1),
        (1510.0, 1),
    ]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_quantiles_are_right_within_a_bucket(share: float) -> None:
    """Twelve per cent, whatever the durations."""
    clock = FakeClock()
    recorder = Recorder(clock=clock)
    durations = [0.001 * (number + 1) for number in range(1000)]
    for duration in durations:
        recorder.record(exchange(began=clock() - duration), clock())
    clock.now += 1
    (counts,) = recorder.window(10)[1].values()
    exact = durations[int(share * len(durations)) - 1]

    assert abs(counts.quantile(share) / exact - 1) < 0.12
    assert Counts().quantile(share) == 0
    assert BOUNDS[-1] > 60


def test_moments_are_told_by_the_wall_clock() -> None:
    """The monotonic clock's seconds mean nothing to people."""
    clock = FakeClock()
    recorder = Recorder(clock=clock, wall=lambda: 1_700_000_000.0)

    assert recorder.moment(clock() - 5) == 1_700_000_000.0 - 5
