"""Fixtures of the whole suite."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

HERE = Path(__file__).parent
# Tools are `support.x`; a room's own tools stand beside its tests.
sys.path[:0] = [str(HERE), str(HERE / "server"), str(HERE / "upstream")]

# How long an example takes says something of the machine.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")
