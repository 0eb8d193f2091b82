"""Fixtures of the whole suite."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
# Tools are `support.x`; a room's own tools stand beside its tests.
sys.path[:0] = [str(HERE), str(HERE / "server"), str(HERE / "upstream")]
