"""What the console looks at: the control, and what else the process has of the things it shows.

Lifetime: process. Everything but the control may be absent; then the page that shows it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.control.control import Control
    from gateway.explain.story import Rejected
    from gateway.telemetry.recorder import Recorder


class Refusals(Protocol):
    """How many there were, by reason, and the last ones."""

    counts: Mapping[str, int]
    last: Iterable[Rejected]


class Edge(Protocol):
    """The client side of this process."""

    refusals: Refusals
    connections: int
    active: int


def no_edge() -> Edge | None:
    """For a process whose server is not ours."""
    return None


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the console's numbers come from."""

    control: Control
    recorder: Recorder | None = None
    """What happened lately; None: nothing is remembered."""
    edge: Callable[[], Any] = no_edge
    """The `Edge` of the lifespan state; None while there is none."""
