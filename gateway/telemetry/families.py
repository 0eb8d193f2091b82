"""Numbers on their way out: families of samples, joined over workers, written in Prometheus' text format.

Lifetime: request (one scrape). Everything here runs in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Exemplar, Metric, Sample
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from gateway.telemetry import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Labels = tuple[tuple[str, str], ...]
"""Names and values; an empty value is, to Prometheus, no label."""


Exemplars = Mapping[int, tuple[str, float, float]]
"""Bucket -> trace id, value, seconds since the epoch."""


class Buckets(NamedTuple):
    """A histogram's numbers; not cumulative."""

    counts: Sequence[int]
    total: float
    exemplars: Exemplars | None = None


Value = float | Buckets


class Family(NamedTuple):
    """A metric and its samples."""

    metric: catalog.Metric
    samples: dict[Labels, Value]


def join(groups: Iterable[Iterable[Family]]) -> list[Family]:
    """The families of several workers as if they were one process."""
    joined: dict[str, Family] = {}
    for group in groups:
        for family in group:
            known = joined.get(family.metric.name)
            if known is None:
                joined[family.metric.name] = Family(family.metric, dict(family.samples))
                continue
            for labels, value in family.samples.items():
                before = known.samples.get(labels)
                known.samples[labels] = value if before is None else _added(family.metric, before, value)
    return list(joined.values())


def _added(metric: catalog.Metric, one: Value, other: Value) -> Value:
    if isinstance(one, Buckets):
        assert isinstance(other, Buckets)
        counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        return Buckets(
            counts, one.total + other.total, _newest(one.exemplars or {}, other.exemplars or {}) or None
        )
    assert not isinstance(other, Buckets)
    if metric.kind == "counter" or metric.merge == "sum":
        return one + other
    return max(one, other) if metric.merge == "max" else min(one, other)


def _newest(one: Exemplars, other: Exemplars) -> Exemplars:
    return {
        bucket: max((told for told in (one.get(bucket), other.get(bucket)) if told), key=lambda told: told[2])
        for bucket in {**one, **other}
    }


def exposition(families: Iterable[Family], *, openmetrics: bool = False) -> bytes:
    """Prometheus' text format 0.0.4, or OpenMetrics 1.0.0 with exemplars."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(families))
    if openmetrics:
        return generate_openmetrics(registry)  # type: ignore[no-any-return, no-untyped-call] # it has no types
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = family.metric
            name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
            out = Metric(name, metric.text, metric.kind)
            for labels, value in family.samples.items():
                named = {key: text for key, text in labels if text}
                if isinstance(value, Buckets):
                    out.samples += _histogram(name, metric.bounds, named, value)
                else:
                    out.samples.append(Sample(metric.name, named, value))
            yield out


def _histogram(
    name: str, bounds: Sequence[float], labels: dict[str, str], value: Buckets
) -> Iterator[Sample]:
    total = 0
    exemplars = value.exemplars or {}
    for index, bound in enumerate((*(f"{bound:.10g}" for bound in bounds), "+Inf")):
        total += value.counts[index]
        told = exemplars.get(index)
        exemplar = None if told is None else Exemplar({"trace_id": told[0]}, told[1], told[2])
        yield Sample(f"{name}_bucket", {**labels, "le": bound}, total, None, exemplar)
    yield Sample(f"{name}_count", labels, total)
    yield Sample(f"{name}_sum", labels, value.total)


# -- between processes -------------------------------------------------------------------------


def to_plain(families: Iterable[Family]) -> list[Any]:
    """As JSON can hold it."""
    return [
        [
            family.metric.name,
            family.metric.kind,
            family.metric.text,
            family.metric.labels,
            family.metric.merge,
            family.metric.bounds,
            [
                [labels, _plain(value) if isinstance(value, Buckets) else value]
                for labels, value in family.samples.items()
            ],
        ]
        for family in families
    ]


def _plain(value: Buckets) -> list[Any]:
    exemplars = [[bucket, *told] for bucket, told in (value.exemplars or {}).items()]
    return [list(value.counts), value.total, exemplars]


def _buckets(counts: list[int], total: float, exemplars: Sequence[Any] = ()) -> Buckets:
    told = {int(bucket): (str(trace), float(at), float(when)) for bucket, trace, at, when in exemplars}
    return Buckets(counts, total, told or None)


def from_plain(plain: list[Any]) -> list[Family]:
    """What `to_plain` made; ValueError, TypeError or KeyError for anything else."""
    families = []
    for name, kind, text, labels, merge, bounds, samples in plain:
        metric = catalog.Metric(str(name), kind, str(text), tuple(labels), merge, tuple(bounds))
        values: dict[Labels, Value] = {
            tuple((str(key), str(text)) for key, text in at): _buckets(*value)
            if isinstance(value, list)
            else float(value)
            for at, value in samples
        }
        families.append(Family(metric, values))
    return families
