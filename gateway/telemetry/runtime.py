"""How the process itself is: event-loop lag, memory, processor time, garbage collection, build.

Lifetime: process.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from gateway.telemetry import catalog
from gateway.telemetry.catalog import LAG, Metric
from gateway.telemetry.cells import Histogram
from gateway.telemetry.families import Family

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

INTERVAL = 0.25
"""Seconds between two measurements of the loop."""
REMEMBERED = 240
"""Measurements the maximum is taken over: a minute."""
_SMALLEST = frozenset({"process_start_time_seconds"})
_LARGEST = frozenset({"process_max_fds"})


class Lag:
    """Measures how late the event loop runs a timer: what a request that has just arrived waits as well."""

    def __init__(self) -> None:
        self.histogram = Histogram(len(LAG))
        self._recent = [0.0] * REMEMBERED
        self._place = 0
        self._due = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def worst(self) -> float:
        """Seconds; of the last minute."""
        return max(self._recent)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to measure."""
        self.stop()
        self._loop = loop
        self._due = loop.time() + INTERVAL
        self._timer = loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """Ends measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def record(self, late: float) -> None:
        """Notes one measurement, in seconds."""
        self.histogram.total += late
        self.histogram.counts[bisect_left(LAG, late)] += 1
        self._recent[self._place] = late
        self._place = (self._place + 1) % REMEMBERED

    def _tick(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self.record(max(0.0, now - self._due))
        self._due = now + INTERVAL
        self._timer = self._loop.call_at(self._due, self._tick)

    def read(self) -> Iterator[Family]:
        """Both families."""
        yield Family(catalog.LOOP_LAG, {(): self.histogram.read()})
        yield Family(catalog.LOOP_LAG_MAX, {(): self.worst})


def _version() -> str:
    try:
        return version("asgi-gateway")
    except PackageNotFoundError:
        return "unknown"


class Runtime:
    """Numbers of this process."""

    def __init__(self) -> None:
        self.lag = Lag()
        registry = CollectorRegistry(auto_describe=False)
        self._collectors = (ProcessCollector(registry=registry), GCCollector(registry=registry))
        self._build = (
            ("version", _version()),
            ("python", platform.python_version()),
            ("implementation", platform.python_implementation()),
        )

    def read(self) -> Iterator[Family]:
        """Every family; may be called in a thread."""
        yield from self.lag.read()
        yield Family(catalog.BUILD, {self._build: 1})
        yield Family(catalog.WORKERS, {(): 1})
        for collector in self._collectors:
            for metric in collector.collect():
                yield _family(metric)


def _family(metric: object) -> Family:
    """A family of prometheus_client as one of ours; those that it collects have no histograms."""
    name, kind = str(metric.name), metric.type  # type: ignore[attr-defined]
    if kind == "counter":
        name += "_total"
    merge = "min" if name in _SMALLEST else "max" if name in _LARGEST else "sum"
    samples = {tuple(sample.labels.items()): sample.value for sample in metric.samples}  # type: ignore[attr-defined]
    return Family(Metric(name, kind, metric.documentation, (), merge), samples)  # type: ignore[arg-type, attr-defined]
