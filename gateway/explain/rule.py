"""One way in which a request can end, and the sentences about it.

Lifetime: config.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to fail."""

    details: str
    """Regex over the details, matched at the beginning; its named groups may stand in the texts."""
    cause: str
    culprit: str
    remedy: str
