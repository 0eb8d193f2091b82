"""Which requests are traced.

Lifetime: config (one generation's percentage) with a process's budget.

What the caller decided holds, else the dice. But a caller may be anybody: requests that are
traced because their headers say so are limited, or a client could make every request of its own several
times as expensive.
"""

from __future__ import annotations

import logging
import os
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.telemetry.scope import TraceChoice

logger = logging.getLogger(__name__)

DEFAULT_PERCENTAGE = 1.0
"""Istio's default."""
FORCED_PER_SECOND = 100.0
"""Requests a second that are traced because their caller says so; further ones are left to the dice."""
SAMPLER, ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"


def environment_percentage() -> tuple[float | None, bool]:
    """What `OTEL_TRACES_SAMPLER` says, and whether the caller's decision holds; None: it says nothing."""
    name = os.environ.get(SAMPLER, "").strip().lower()
    kind = name.removeprefix("parentbased_")
    respects = not name or name != kind
    if kind in {"always_on", "always_off"}:
        return (100.0 if kind == "always_on" else 0.0), respects
    if kind == "traceidratio":
        try:
            share = float(os.environ.get(ARGUMENT, "1"))
        except ValueError:
            share = 1.0
        return min(1.0, max(0.0, share)) * 100.0, respects
    if name:
        logger.warning("%s=%s is not a sampler that is known here; it is ignored", SAMPLER, name)
    return None, True


class Sampler:
    """Decides; asked once a request."""

    __slots__ = ("_budget", "_clock", "_dice", "_filled_at", "_respects", "share")

    def __init__(
        self, *, rng: random.Random | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dice = (rng or random.Random()).random  # noqa: S311 - dice, not secrets
        self._clock = clock
        self._budget = FORCED_PER_SECOND
        self._filled_at = clock()
        self._respects = True
        self.share = DEFAULT_PERCENTAGE / 100.0
        """Of requests whose caller did not decide."""

    def follow(self, choice: TraceChoice) -> None:
        """Follows a generation; a sampler of the environment goes before the documents."""
        percentage, self._respects = environment_percentage()
        if percentage is None:
            percentage = choice.percentage
        self.share = (DEFAULT_PERCENTAGE if percentage is None else percentage) / 100.0

    def roll(self) -> bool:
        """The dice."""
        return self._dice() < self.share

    def judge(self, sampled: bool | None) -> tuple[bool, str]:
        """The decision about a request whose caller decided `sampled`, and who made it."""
        if sampled is None or not self._respects:
            return self.roll(), "dice"
        if not sampled:
            return False, "caller"
        now = self._clock()
        gained = (now - self._filled_at) * FORCED_PER_SECOND
        self._budget, self._filled_at = min(FORCED_PER_SECOND, self._budget + gained), now
        if self._budget < 1.0:
            return self.roll(), "dice"
        self._budget -= 1.0
        return True, "caller"
