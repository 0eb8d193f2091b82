"""Reload under load: 1 000 routes are replaced again and again while requests run.

A stall of the event loop is seen from outside: every connection sends its next request 5 ms after the last
answer, so the slowest answer is about the longest stall. The same load without reloads is the reference.
"""

from __future__ import annotations

import http.client
import time
from statistics import median
from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.load import Shot, Volley, begin, finish
from bench.processes import LOOPBACK
from bench.report import Result, number
from bench.subjects import write

if TYPE_CHECKING:
    from bench.backends import Backends
    from bench.lab import Lab
    from bench.subjects import Running

ROUTES = 1000
PAUSE = 5
"""Milliseconds between the requests of a connection."""
CONNECTIONS = 8
APPLIED_WITHIN = 10.0
"""Seconds until a generation that does not show counts as lost."""


def run(lab: Lab) -> Result:
    """The gateway; a static bootstrap of Envoy cannot be reloaded."""
    seconds = 8 if lab.quick else 30
    result = Result(
        "reload",
        f"{ROUTES:,} routes replaced each second under {CONNECTIONS} connections, a request each {PAUSE} ms",
        (
            "load",
            "requests",
            "lost",
            "p50 ms",
            "p99 ms",
            "slowest ms",
            "reloads",
            "seen after ms (median, worst)",
        ),
    )
    shots = [Shot(configs.last_path(ROUTES), {"Host": "reviews"})]
    with backends(lab.directory) as services:

        def made(port: int) -> dict[str, str]:
            return configs.many_routes(port, services, ROUTES, "prefix", generation=1)

        with lab.running(lambda _: made, only=("gateway",)) as running:
            for subject in running.values():
                for title, reloading in (("steady", False), ("reloading", True)):
                    wrk = begin(
                        lab.directory, subject.port, shots,
                        connections=CONNECTIONS, seconds=seconds, pause=PAUSE,
                    )  # fmt: skip
                    waits = _reload(subject, services, seconds - 1.5) if reloading else []
                    result.rows.append(_row(title, finish(wrk), waits))
                    lab.say(f"{title}: {result.rows[-1]}")
    return result


def _row(title: str, volley: Volley, waits: list[float]) -> tuple[str, ...]:
    seen = f"{median(waits):.0f}, {max(waits):.0f}" if waits else "-"
    return (
        title, number(volley.requests, 0), str(volley.failures), number(volley.p50, 2), number(volley.p99, 2),
        number(volley.p100, 1), str(len(waits)), seen,
    )  # fmt: skip


def _reload(subject: Running, services: Backends, seconds: float) -> list[float]:
    """Writes a new generation every second; milliseconds until an answer carried it."""
    assert subject.config is not None
    waits: list[float] = []
    ends_at = time.monotonic() + seconds
    generation = 1
    while time.monotonic() < ends_at:
        generation += 1
        files = configs.many_routes(subject.port, services, ROUTES, "prefix", generation=generation)
        began = time.monotonic()
        write(subject.config, files)
        waits.append(_await_generation(subject.port, str(generation)) * 1e3)
        time.sleep(max(0.0, began + 1.0 - time.monotonic()))
    return waits


def _await_generation(port: int, wanted: str) -> float:
    """Seconds until an answer carries `wanted`."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        while time.monotonic() < began + APPLIED_WITHIN:
            connection.request("GET", configs.last_path(ROUTES), headers={"Host": "reviews"})
            answer = connection.getresponse()
            answer.read()
            if answer.headers.get("x-generation") == wanted:
                return time.monotonic() - began
            time.sleep(0.005)
    finally:
        connection.close()
    raise RuntimeError(f"generation {wanted} was not served within {APPLIED_WITHIN} s")
