"""The founding document's claim as an experiment: what clients see of failing backends.

Part one: four backends fail 0.5 % of their requests, in every way; 100 000 requests without a retry, with the
founding document's retry policy, with the same policy at real Envoy, and with short answers passed on as they
come, as Envoy does. Part two: one of four endpoints is
killed under load and started again.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from bench import configs
from bench.crowd import Seen, crowd
from bench.processes import LOAD_CORE, LOOPBACK, Child, free_port
from bench.report import Result, number
from bench.success_plot import Story, Timeline, write_page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.lab import Lab

_OUTCOMES = ("502", "503", "504", "cut off", "no answer", "waited too long")
SHARE = 0.005
"""Of the requests fail: a sixth of these in each way."""
CLIENTS = 64
KILLED_AT, RESTARTED_AT, ENDS_AT = 3.0, 9.0, 20.0

ENTRY = """\
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {{name: ratings}}
spec:
  hosts: [ratings]
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:
{endpoints}
---
"""
ROUTE = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: ratings
spec:
  hosts:
  - ratings
  http:
  - route:
    - destination:
        host: ratings
    retries:
"""
UNHELD = "  limits: {responseHoldBytes: 0}\n"
OFF = ROUTE + "      attempts: 0\n"
ON = ROUTE + (
    "      attempts: 3\n      perTryTimeout: 2s\n      retryOn: 5xx,reset,connect-failure,refused-stream\n"
)
IN_TURN = """\
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata:
  name: ratings
spec:
  host: ratings
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
"""
"""Least request would prefer the endpoint that refuses: nothing is ever in flight there."""
EJECTING = """\
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata:
  name: ratings
spec:
  host: ratings
  trafficPolicy:
    outlierDetection:
      consecutiveErrors: 5
      interval: 1s
      baseEjectionTime: 3s
      maxEjectionPercent: 50
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A backend: its port and how to start it."""

    name: str
    port: int
    share: float

    def start(self, lab: Lab) -> Child:
        """A process on the load's core, accepting connections."""
        command = [
            sys.executable,
            "-m",
            "bench.flaky",
            str(self.port),
            self.name,
            str(self.share),
            self.name[1:],
        ]
        child = Child(f"flaky-{self.name}", command, lab.directory, core=LOAD_CORE)
        child.await_port(self.port)
        return child

    def counts(self) -> Counter[str]:
        """What it did so far."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/counts")
            return Counter(json.loads(connection.getresponse().read()))
        finally:
            connection.close()


def run(lab: Lab) -> Result:
    """Both parts; the page is written by `--write-docs`."""
    requests = 10_000 if lab.quick else 100_000
    result = Result(
        "success_rate",
        f"{requests:,} requests to backends that fail {SHARE:.1%} of them, {CLIENTS} clients",
        (
            "subject", "success %", "success % but for cuts", "failed", *_OUTCOMES, "p50 ms", "p99.9 ms",
        ),
    )  # fmt: skip
    stories: list[Story] = []
    for title, subject, route, limits in (
        ("gateway, no retries", "gateway", OFF, ""),
        ("gateway, the retry policy", "gateway", ON, ""),
        ("gateway, nothing held", "gateway", ON, UNHELD),
        ("envoy, the same policy", "envoy", ON, ""),
    ):
        story = _part_one(lab, title, subject, route, limits, requests)
        if story is not None:
            stories.append(story)
            result.rows.append(_row(story))
            lab.say(
                f"{title}: {story.seen.success:.4f} %, {dict(story.seen.outcomes)}, did {dict(story.did)}"
            )
    for story in stories:
        did = ", ".join(f"{count} {kind}" for kind, count in story.did.items())
        result.notes.append(f"{story.title}: the backends' attempts were {did}")
    timeline = _part_two(lab)
    result.notes += timeline.told
    lab.pages.append(lambda machine, docs: write_page(stories, timeline, result, machine, docs))
    return result


def _row(story: Story) -> tuple[str, ...]:
    seen = story.seen
    failed = seen.total - seen.outcomes["200"]
    return (
        story.title, f"{seen.success:.4f}", f"{story.without_cuts:.4f}", str(failed),
        *(str(seen.outcomes[name]) for name in _OUTCOMES),
        number(seen.percentile(0.5), 2), number(seen.percentile(0.999), 1),
    )  # fmt: skip


def _part_one(lab: Lab, title: str, name: str, route: str, limits: str, requests: int) -> Story | None:
    # Refusing is a sixth as well: an endpoint where nobody listens gets that share of the picks.
    places = [Place(f"b{index}", free_port(), SHARE * 5 / 6) for index in range(4)]
    endpoints = [(place.port, 30_000) for place in places] + [(free_port(), round(120_000 * SHARE / 6))]
    with _running(lab, places), _subject(lab, name, endpoints, route + IN_TURN, limits) as port:
        if port is None:
            return None
        seen = uvloop.run(crowd(port, clients=CLIENTS, requests=requests))
        did = sum((place.counts() for place in places), Counter())
    return Story(title, seen, did)


def _part_two(lab: Lab) -> Timeline:
    places = [Place(f"b{index}", free_port(), 0.0) for index in range(4)]
    with (
        _running(lab, places) as children,
        _subject(lab, "gateway", [(place.port, 1) for place in places], ON + EJECTING) as port,
    ):
        assert port is not None
        seen, marks = uvloop.run(_killing(lab, port, places[0], children))
    return Timeline(seen, places[0].name, *marks, ENDS_AT)


async def _killing(
    lab: Lab, port: int, place: Place, children: list[Child]
) -> tuple[Seen, tuple[float, float]]:
    """Load all the while; the first endpoint dies in the middle of requests and comes back."""
    began = time.monotonic()
    load = asyncio.create_task(crowd(port, clients=CLIENTS, seconds=ENDS_AT))
    await asyncio.sleep(KILLED_AT)
    children[0].process.kill()
    killed = time.monotonic() - began
    await asyncio.to_thread(children[0].process.wait)
    await asyncio.sleep(RESTARTED_AT - KILLED_AT)
    children[0] = await asyncio.to_thread(place.start, lab)
    restarted = time.monotonic() - began
    return await load, (killed, restarted)


@contextmanager
def _running(lab: Lab, places: Sequence[Place]) -> Iterator[list[Child]]:
    children: list[Child] = []
    try:
        children += [place.start(lab) for place in places]
        yield children
    finally:
        for child in children:
            child.stop()


@contextmanager
def _subject(
    lab: Lab, name: str, endpoints: Sequence[tuple[int, int]], route: str, limits: str = ""
) -> Iterator[int | None]:
    """The port of a running subject; None when it is not to take part."""
    listed = "\n".join(
        f"  - {{address: 127.0.0.1, ports: {{http: {port}}}, weight: {weight}}}" for port, weight in endpoints
    )
    text = ENTRY.format(endpoints=listed) + route

    def files(port: int) -> dict[str, str]:
        return {"routes.yaml": configs.settings(port).removesuffix("---\n") + limits + "---\n" + text}

    with lab.running(lambda _: files, only=(name,)) as running:
        yield running[name].port if name in running else None
