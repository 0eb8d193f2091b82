"""How handshakes ended: counts for metrics, and a log that a flood of bad ones cannot fill.

Lifetime: process.
"""

from __future__ import annotations

import logging
import ssl
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

QUIET: Final = 10.0
"""Seconds between two log lines about the same reason."""
COMPLETE: Final = "complete"
TIMEOUT: Final = "timeout"
UNKNOWN_NAME: Final = "unknown_server_name"
TOO_MANY: Final = "too_many_handshakes"
CLOSED: Final = "closed_by_client"
_MOST_REASONS: Final = 64
_OTHER: Final = "other"


class Handshakes:
    """Handshakes of clients since the process started."""

    __slots__ = ("_clock", "_quiet", "counts")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: dict[str, int] = {}
        """By outcome: `complete`, or why there is no connection: `certificate_verify_failed`, `timeout`."""
        self._clock = clock
        self._quiet: dict[str, tuple[float, int]] = {}
        """Reason -> when it may be logged again, and how often it was not meanwhile."""

    def __repr__(self) -> str:
        return f"<Handshakes {self.counts}>"

    def completed(self) -> None:
        """A connection stands."""
        self.counts[COMPLETE] = self.counts.get(COMPLETE, 0) + 1

    def failed(self, reason: str, client: str, name: str, detail: str = "") -> None:
        """There will be no connection. `client`: `ip:port`; `name`: the server name asked for."""
        if reason not in self.counts and len(self.counts) >= _MOST_REASONS:
            reason = _OTHER
        self.counts[reason] = self.counts.get(reason, 0) + 1
        now = self._clock()
        until, missed = self._quiet.get(reason, (0.0, 0))
        if now < until:
            self._quiet[reason] = until, missed + 1
            return
        self._quiet[reason] = now + QUIET, 0
        logger.info(
            "TLS handshake failed: %s%s, client %s, server name %r%s",
            reason,
            f" ({detail})" if detail else "",
            client,
            name,
            f", and {missed} more since the last line" if missed else "",
        )


def reason_of(error: BaseException) -> tuple[str, str]:
    """A short reason, and what there is to add."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate_verify_failed", str(error.verify_message)
    if isinstance(error, ssl.SSLError):
        return (error.reason or "tls_error").lower(), ""
    if isinstance(error, ConnectionAbortedError) and not error.errno:  # the loop's own words, no system call
        return TIMEOUT, ""
    return CLOSED, ""
