"""Waiting for what another task, thread or process brings about: for as long as it takes, no longer.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which it will not come any more."""
_PAUSE = 0.001
_LONG_PAUSE = 0.02
"""Seconds between two looks at another process."""


async def until(holds: Callable[[], T]) -> T:
    """What `holds` gives once that is true; meanwhile the loop turns."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(_PAUSE)
    return found


def wait_until(holds: Callable[[], T]) -> T:
    """The same where there is no loop, or `holds` asks another process."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(_LONG_PAUSE)
    return found
