"""Waiting without a task: a coroutine that is stepped by the events it waits for.

Lifetime: config (constants).

A task costs a scheduling round for each wake-up. The server's own streams therefore step a request by hand:
the coroutine yields `PARKED`, and whoever it waits for calls the stream's `resume`. Anything else it yields
is asyncio's, and makes the stream hand the rest of it to a task (`gateway.server.stepped`).
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

PARKED: Final = object()
"""What a coroutine yields that will be resumed by a call, not by a future."""


@types.coroutine
def parked() -> Generator[object, None, None]:
    """Waits until the stream that steps this coroutine is resumed."""
    yield PARKED
