"""The running numbers of one combination of route, destination, endpoint, status and flags.

Lifetime: process.

Theory. A request moves as few numbers as tell everything about it; how they show in the metrics, of which
several ask for the same duration or the same count, is left to whoever reads them. Only the event loop writes
a tally and only readers settle it, one at a time, so neither waits for the other: what was settled before is
remembered here, and the difference is added to the cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.telemetry.catalog import BOUNDS, SECONDS
from gateway.telemetry.cells import Count, Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIZES = len(BOUNDS) + 1


class Cells:
    """The series that a tally is part of; tallies with the same labels share them."""

    __slots__ = (
        "attempts",
        "durations",
        "received",
        "requests",
        "route",
        "route_seconds",
        "sent",
        "upstream",
    )

    requests: Count
    durations: Histogram
    received: Histogram
    sent: Histogram
    route: Count
    route_seconds: Histogram
    attempts: Count
    upstream: Histogram


class Tally:
    """What finished exchanges add up to. Milliseconds and bytes by `BOUNDS`, seconds by `SECONDS`."""

    __slots__ = (
        "_settled",
        "_settled_plain",
        "cells",
        "durations",
        "milliseconds",
        "plain",
        "received",
        "received_bytes",
        "seconds",
        "sent",
        "sent_bytes",
        "services",
    )

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.milliseconds = 0.0
        self.durations = [0] * _SIZES
        self.received_bytes = 0
        self.received = [0] * _SIZES
        self.sent_bytes = 0
        self.sent = [0] * _SIZES
        self.seconds = 0.0
        """Until the upstream's response head, of those that got one."""
        self.services = [0] * (len(SECONDS) + 1)
        self.plain = 0
        """Exchanges of one try that nothing happened to."""
        self._settled = tuple(Histogram(len(bounds)) for bounds in (BOUNDS, BOUNDS, BOUNDS, SECONDS))
        self._settled_plain = 0

    def settle(self) -> None:
        """Adds what is new to the cells. By one thread at a time."""
        cells, (durations, received, sent, services) = self.cells, self._settled
        plain = self.plain
        running = (
            (self.durations, self.milliseconds),
            (self.received, self.received_bytes),
            (self.sent, self.sent_bytes),
            (self.services, self.seconds),
        )
        # All of them are asked: the last reader may have come in the middle of a request, and missed some.
        if plain == self._settled_plain and all(
            counts == settled.counts and total == settled.total
            for (counts, total), settled in zip(running, self._settled, strict=True)
        ):
            return
        counts, milliseconds = _new(self.durations, self.milliseconds, durations)
        requests = sum(counts)
        cells.requests.value += requests
        cells.route.value += requests
        _add(cells.durations, counts, milliseconds)
        _add(cells.route_seconds, counts, milliseconds / 1000.0)
        _add(cells.received, *_new(self.received, self.received_bytes, received))
        _add(cells.sent, *_new(self.sent, self.sent_bytes, sent))
        _add(cells.upstream, *_new(self.services, self.seconds, services))
        cells.attempts.value += plain - self._settled_plain
        self._settled_plain = plain


def _new(counts: Sequence[int], total: float, settled: Histogram) -> tuple[Sequence[int], float]:
    """What has been added since `settled`, which follows."""
    counts = tuple(counts)
    added = [now - before for now, before in zip(counts, settled.counts, strict=True)]
    rise = total - settled.total
    settled.counts, settled.total = list(counts), total
    return added, rise


def _add(cell: Histogram, counts: Sequence[int], total: float) -> None:
    cell.total += total
    for place, count in enumerate(counts):
        if count:
            cell.counts[place] += count
