"""The console: pages on the admin listener that show what the process does, with nothing from elsewhere."""

from __future__ import annotations

from gateway.admin.console.api import Console
from gateway.admin.console.sources import Sources

__all__ = ["Console", "Sources"]
