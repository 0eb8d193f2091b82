"""What became of the last attempts to load, and the files of the generations that came of them.

Lifetime: process. Bounded: `KEPT` attempts, and texts of `TEXT_CHARACTERS` together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.control.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Loaded
    from gateway.control.result import ReloadResult

KEPT: Final = 20
"""Attempts that are remembered; those that found nothing new are none."""
TEXT_CHARACTERS: Final = 8 * 1024 * 1024
"""Of all remembered files together; the oldest generations lose their texts first."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that is remembered."""

    result: ReloadResult
    digest: str = ""
    """Of the generation's files; empty when none came of the attempt."""
    sources: Mapping[str, str] | None = None
    """The generation's files, path to text. They may hold secrets. None: none, or long ago."""


class History:
    """The last attempts, oldest first. It keeps texts only, so a retired generation is freed as before."""

    def __init__(self) -> None:
        self.attempts: deque[Attempt] = deque(maxlen=KEPT)

    def __repr__(self) -> str:
        return f"<History {[str(attempt.result.outcome) for attempt in self.attempts]}>"

    def record(self, result: ReloadResult, loaded: Loaded | None) -> None:
        """Remembers an attempt; `loaded`: what serves now because of it."""
        if result.outcome is Outcome.UNCHANGED:
            return
        if loaded is None:
            self.attempts.append(Attempt(result))
            return
        self.attempts.append(Attempt(result, loaded.digest, loaded.sources))
        self._forget()

    def generation(self, number: int) -> Attempt | None:
        """The attempt that generation `number` came of; None when it is forgotten."""
        for attempt in reversed(self.attempts):
            if attempt.digest and attempt.result.generation == number:
                return attempt
        return None

    def _forget(self) -> None:
        """Drops the texts that are too much, never those of the generation that serves."""
        room = TEXT_CHARACTERS
        for index in range(len(self.attempts) - 1, -1, -1):
            attempt = self.attempts[index]
            if attempt.sources is None:
                continue
            room -= sum(map(len, attempt.sources.values()))
            if room < 0 and index < len(self.attempts) - 1:
                self.attempts[index] = Attempt(attempt.result, attempt.digest)
