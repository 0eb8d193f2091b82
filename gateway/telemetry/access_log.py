"""The access log: which exchanges are written, how, and where.

Lifetime: process; what a generation says about it is replaced whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.telemetry.attributes import Expression
from gateway.telemetry.lines import JsonFormat, JsonLine, TextLine
from gateway.telemetry.writer import Writer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.config.settings import AccessLog as Settings
    from gateway.exchange.exchange import Exchange
    from gateway.telemetry.lines import Line
    from gateway.telemetry.scope import LogChoice


def line_of(settings: Settings) -> Line:
    """How the settings want a line."""
    if settings.format is not None:
        return TextLine(settings.format)
    if settings.json_format:
        return JsonFormat(settings.json_format)
    return TextLine() if settings.encoding == "TEXT" else JsonLine()


class AccessLog:
    """One line for every exchange that is to be logged."""

    def __init__(self) -> None:
        self._writer: Writer | None = None
        self._line: Line = JsonLine()
        self._wanted: Expression | None = None
        self._written = self._dropped = 0

    @property
    def written(self) -> int:
        """Lines written since the process started."""
        return self._written + (0 if self._writer is None else self._writer.written)

    @property
    def dropped(self) -> int:
        """Lines lost since then."""
        return self._dropped + (0 if self._writer is None else self._writer.dropped)

    def follow(self, settings: Settings, choice: LogChoice) -> bool:
        """Follows a generation; whether anything is logged."""
        path = settings.path if choice.enabled and settings.encoding != "OFF" else ""
        self._line = line_of(settings)
        self._wanted = Expression(choice.expression) if choice.expression else None
        if path != (self._writer.path if self._writer is not None else ""):
            self.close()
            self._writer = Writer(path) if path else None
        return self._writer is not None

    def record(
        self, exchange: Exchange, ended_at: float, now: float, later: Callable[..., asyncio.TimerHandle]
    ) -> None:
        """Logs an exchange, unless a filter does not want it or cannot say."""
        if self._writer is not None and (self._wanted is None or self._wanted(exchange) is True):
            self._writer.write(self._line(exchange, ended_at, now), later)

    def flush(self) -> None:
        """Hands over what is still in memory."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Writes what is still in memory, and ends the log."""
        if self._writer is not None:
            self._writer.close()
            self._written += self._writer.written
            self._dropped += self._writer.dropped
            self._writer = None


class Silent(AccessLog):
    """No log, whatever the settings say: inside another program, whose standard output is its own."""

    def follow(self, settings: Settings, choice: LogChoice) -> bool:  # noqa: ARG002 - as AccessLog
        """Nothing is logged."""
        return False
