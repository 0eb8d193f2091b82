"""The end of every exchange: counted and logged, exactly once (step 11).

Lifetime: process.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.telemetry.access_log import JsonLine, TextLine, Writer
from gateway.telemetry.counters import Counters

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.config import GatewaySettings
    from gateway.exchange.exchange import Exchange


class Telemetry:
    """Everything that learns of finished exchanges."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.counters = Counters()
        self._clock = clock
        self._wall_clock = wall_clock
        self._line: JsonLine | TextLine = JsonLine()
        self._writer: Writer | None = None
        self._later: Callable[..., asyncio.TimerHandle] | None = None
        self._path = ""

    def configure(self, settings: GatewaySettings, loop: asyncio.AbstractEventLoop) -> None:
        """Follows the settings of a generation: opens, changes or closes the access log."""
        log = settings.spec.access_log
        path = "" if log.encoding == "OFF" else log.path
        self._later = loop.call_later
        self._line = TextLine() if log.encoding == "TEXT" else JsonLine()
        if path != self._path:
            self.close()
            self._writer = Writer(path) if path else None
            self._path = path

    def record(self, exchange: Exchange) -> None:
        """Counts and logs `exchange`."""
        ended_at = self._clock()
        self.counters.record(exchange, ended_at)
        if self._writer is not None and self._later is not None:
            self._writer.write(self._line(exchange, ended_at, self._wall_clock()), self._later)

    def close(self) -> None:
        """Writes what is still in memory."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._path = ""
