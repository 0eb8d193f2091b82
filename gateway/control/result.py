"""What became of an attempt to load the configuration, and how often each happened.

Lifetime: process.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config.findings import Finding


class State(StrEnum):
    """Whether traffic should come here (`/ready`)."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Outcome(StrEnum):
    """What an attempt changed."""

    APPLIED = "applied"
    """A new generation serves."""
    UNCHANGED = "unchanged"
    """The files hold what already serves."""
    REFUSED = "refused"
    """Nothing changed; the findings say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadResult:
    """One attempt."""

    outcome: Outcome
    generation: int
    """The one that serves after the attempt; 0 when none does."""
    findings: tuple[Finding, ...] = ()
    """Everything there is to say about the files, warnings of an applied configuration included."""
    seconds: float = 0.0
    """From the first byte read to the assignment."""
    reason: str = "start"
    """Who asked: `start`, `watch`, `SIGHUP`, `admin`."""
    at: float = 0.0
    """When it ended, in seconds since the epoch."""


class ReloadCounts:
    """Attempts since the process started, by outcome."""

    __slots__ = ("applied_at", "errors", "last_error", "last_error_at", "successes")

    def __init__(self) -> None:
        self.successes = 0
        """Generations applied, the first included."""
        self.errors = 0
        """Attempts refused (`gateway_config_reload_errors_total`)."""
        self.applied_at: float | None = None
        """When the serving generation was applied, in seconds since the epoch."""
        self.last_error: str | None = None
        """The first error of the last refused attempt, as one line."""
        self.last_error_at: float | None = None
        """Seconds since the epoch."""

    def __repr__(self) -> str:
        return f"<ReloadCounts applied {self.successes}, refused {self.errors}>"

    def record(self, result: ReloadResult) -> None:
        """Counts an attempt."""
        if result.outcome is Outcome.APPLIED:
            self.successes += 1
            self.applied_at = result.at
        elif result.outcome is Outcome.REFUSED:
            self.errors += 1
            self.last_error_at = result.at
            self.last_error = next((str(item) for item in result.findings if item.fatal), "unknown")
