"""What Telemetry documents change about the standard metrics: metrics left out, labels changed or removed.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.telemetry import catalog
from gateway.telemetry.attributes import Expression
from gateway.telemetry.scope import metrics_choice, metrics_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.config.telemetry import MetricsOverrides, Telemetry
    from gateway.exchange.exchange import Exchange
    from gateway.telemetry.families import Labels

STANDARD = (catalog.REQUESTS, catalog.DURATION, catalog.REQUEST_BYTES, catalog.RESPONSE_BYTES)
NAMES = {
    "REQUEST_COUNT": (catalog.REQUESTS,),
    "REQUEST_DURATION": (catalog.DURATION,),
    "REQUEST_SIZE": (catalog.REQUEST_BYTES,),
    "RESPONSE_SIZE": (catalog.RESPONSE_BYTES,),
    "ALL_METRICS": STANDARD,
}
"""Istio's names of metrics; others count TCP connections and gRPC messages, not counted here."""
LONGEST_TAG = 128
"""Characters of a label value that an expression makes."""

Tags = dict[str, int | None]
"""Label -> number of the column that replaces it; None: the label is removed."""


class Overrides:
    """The changes of one generation."""

    def __init__(self, off: Iterable[str] = (), tags: Mapping[str, Tags] | None = None) -> None:
        self._off = frozenset(off)
        self._tags = dict(tags or {})
        self.columns: Callable[[Exchange], tuple[str, ...]] | None = None
        """Values that expressions give for an exchange; None: there are no expressions."""

    def __repr__(self) -> str:
        return f"<Overrides off {sorted(self._off)} tags {self._tags}>"

    def apply(
        self, metric: catalog.Metric, labels: Mapping[str, str], columns: tuple[str, ...]
    ) -> Labels | None:
        """The metric's labels; None when it is left out."""
        if metric.name in self._off:
            return None
        tags = self._tags.get(metric.name)
        if not tags:
            return tuple((name, labels[name]) for name in metric.labels)
        changed = {name: labels[name] for name in metric.labels if tags.get(name, 0) is not None}
        changed.update((name, columns[place]) for name, place in tags.items() if place is not None)
        return tuple(changed.items())


NO_OVERRIDES = Overrides()


def compile_overrides(documents: Iterable[Telemetry]) -> Overrides:
    """The overrides of these documents, widest first; later ones win."""
    documents = tuple(documents)
    off = set() if metrics_wanted(documents) else {metric.name for metric in STANDARD}
    tags: dict[str, Tags] = {}
    expressions: dict[str, Expression] = {}
    for choice in metrics_choice(documents):
        for override in choice.overrides:
            for metric in _meant(override):
                if override.disabled is not None:
                    (off.add if override.disabled else off.discard)(metric.name)
                for tag, change in override.tag_overrides.items():
                    place = None
                    if change.operation == "UPSERT" and change.value is not None:
                        expressions.setdefault(change.value, Expression(change.value))
                        place = list(expressions).index(change.value)
                    tags.setdefault(metric.name, {})[tag] = place
    overrides = Overrides(off, tags)
    if expressions:
        overrides.columns = _reader(tuple(expressions.values()))
    return overrides


def _meant(override: MetricsOverrides) -> tuple[catalog.Metric, ...]:
    match = override.match
    if match is None:
        return STANDARD
    if match.custom_metric is not None or match.mode == "SERVER":
        return ()
    return NAMES.get(match.metric or "ALL_METRICS", ())


def _reader(expressions: tuple[Expression, ...]) -> Callable[[Exchange], tuple[str, ...]]:
    def read(exchange: Exchange) -> tuple[str, ...]:
        return tuple([_label(expression(exchange)) for expression in expressions])

    return read


def _label(value: Any) -> str:
    """A value as a label; what an expression cannot say is unknown."""
    if value is None:
        return catalog.UNKNOWN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)[:LONGEST_TAG].replace("\x00", "") or catalog.UNKNOWN
    return catalog.UNKNOWN
