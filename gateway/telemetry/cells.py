"""The numbers themselves: counts and histograms, by labels, with a limit.

Lifetime: process. Written on the event loop, read by a thread: each number is right, at slightly different
moments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.telemetry.catalog import OVERFLOW
from gateway.telemetry.families import Buckets, Family, Labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.telemetry.catalog import Metric

MOST_SERIES = 10_000
"""Label sets of one metric; further ones are counted together as `overflow`."""


class Count:
    """One number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def read(self) -> float:
        """The number."""
        return self.value


class Histogram:
    """One histogram; `counts` has a place for +Inf at the end."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.total = 0.0
        self.exemplars: dict[int, tuple[str, float, float]] | None = None
        """Bucket -> trace id, value, seconds since the epoch: the last traced request of each bucket."""

    def read(self) -> Buckets:
        """The numbers as they are now."""
        exemplars = None if self.exemplars is None else dict(self.exemplars)
        return Buckets(tuple(self.counts), self.total, exemplars)


C = TypeVar("C", Count, Histogram)


class Cells(Generic[C]):
    """The cells of one metric."""

    __slots__ = ("_cells", "_make", "_most", "metric")

    def __init__(self, metric: Metric, make: Callable[[], C], most: int = MOST_SERIES) -> None:
        self.metric = metric
        self._make: Callable[[], C] = make
        self._most = most
        self._cells: dict[Labels, C] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def at(self, *values: str) -> C:
        """The cell of these label values, in the order of the metric's names."""
        return self.of(tuple(zip(self.metric.labels, values, strict=True)))

    def of(self, labels: Labels) -> C:
        """The cell of these labels; at the limit the one that all further ones share."""
        cell = self._cells.get(labels)
        if cell is None:
            if len(self._cells) >= self._most:
                labels = self._overflow()
                if (known := self._cells.get(labels)) is not None:
                    return known
            cell = self._cells[labels] = self._make()
        return cell

    @property
    def overflowed(self) -> C | None:
        """The cell beyond the limit; None while nothing went there."""
        return self._cells.get(self._overflow())

    def _overflow(self) -> Labels:
        return tuple((name, OVERFLOW) for name in self.metric.labels)

    def read(self) -> Family:
        """All of it; may be called in a thread."""
        return Family(self.metric, {labels: cell.read() for labels, cell in list(self._cells.items())})


def counts(metric: Metric, most: int = MOST_SERIES) -> Cells[Count]:
    """Cells of a counter."""
    return Cells(metric, Count, most)


def histograms(metric: Metric, most: int = MOST_SERIES) -> Cells[Histogram]:
    """Cells of a histogram."""
    return Cells(metric, lambda: Histogram(len(metric.bounds)), most)
