"""Metrics of the control path, for telemetry to tell with its own.

Lifetime: process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.result import State
from gateway.telemetry import catalog
from gateway.telemetry.families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.control.control import Control

DIGEST = 12
"""Characters of the configuration's digest that tell it from others."""


def control_families(control: Control) -> Iterator[Family]:
    """Reloads, generation and readiness of this process; may be called in a thread."""
    counts = control.counts
    yield Family(catalog.RELOADS, {(): counts.successes})
    yield Family(catalog.RELOAD_ERRORS, {(): counts.errors})
    yield Family(catalog.GENERATION, {(): control.generation})
    yield Family(catalog.CONFIG_INFO, {(("digest", control.loaded.digest[:DIGEST]),): 1})
    yield Family(catalog.RELOADED, {(): int(not control.refused)})
    yield Family(catalog.APPLIED, {(): counts.applied_at or 0.0})
    yield Family(catalog.READY, {(): int(control.state is State.READY)})
