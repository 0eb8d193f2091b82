"""Metrics of the control path, beside those that telemetry counts.

Lifetime: process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.control.result import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from gateway.control.control import Control

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format. Not OpenMetrics: its end marker would keep two expositions from being joined."""


class ControlMetrics(Collector):
    """Reloads, generation and readiness."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """One family a number."""
        control, counts = self._control, self._control.counts
        yield _count(
            "gateway_config_reloads", "Configurations applied, the first included.", counts.successes
        )
        yield _count("gateway_config_reload_errors", "Configurations refused.", counts.errors)
        yield _gauge("gateway_config_generation", "Number of the serving generation.", control.generation)
        yield _gauge("gateway_config_last_reload_successful", "1 unless refused.", not control.refused)
        yield _gauge(
            "gateway_config_applied_timestamp_seconds", "When it began to serve.", counts.applied_at or 0
        )
        yield _gauge("gateway_ready", "1 while traffic should come here.", control.state is State.READY)


def _count(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
