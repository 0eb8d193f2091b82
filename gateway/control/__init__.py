"""The only writer of shared state: loads, watches, reconciles, reloads, drains."""

from __future__ import annotations

from gateway.control.control import Control
from gateway.control.result import Outcome, ReloadResult, State

__all__ = ["Control", "Outcome", "ReloadResult", "State"]
