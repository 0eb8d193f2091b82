"""Answers that many open consoles may ask for at once: made in a thread, kept for a second, shared.

Lifetime: process. Bounded: `KEPT` answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from gateway.admin.dump import plain
from gateway.control.pauses import considerate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Prepared = Callable[[], Any]

FRESH: Final = 0.9
"""Seconds an answer is given again; consoles ask every second or two."""
KEPT: Final = 64


class Answers:
    """JSON by name; who asks while one is made waits for that one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: dict[str, tuple[float, bytes]] = {}
        self._making: dict[str, asyncio.Task[bytes]] = {}

    def __repr__(self) -> str:
        return f"<Answers kept {len(self._made)}, under way {len(self._making)}>"

    async def give(self, name: str, prepare: Callable[[], Prepared | Awaitable[Prepared]]) -> bytes:
        """The encoded answer. `prepare` runs on the loop, what it returns in a thread; neither when there is
        a fresh one.
        """
        kept = self._made.get(name)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        task = self._making.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._make(name, prepare()), name="console-answer")
            self._making[name] = task
        # One reader that leaves must not take the answer from the others.
        return await asyncio.shield(task)

    async def _make(self, name: str, prepared: Prepared | Awaitable[Prepared]) -> bytes:
        try:
            make = await prepared if isawaitable(prepared) else prepared
            content = await asyncio.to_thread(_encoded, make)
        finally:
            del self._making[name]
        self._made.pop(name, None)
        if len(self._made) >= KEPT:
            del self._made[next(iter(self._made))]
        self._made[name] = (self._clock() + FRESH, content)
        return content


def _encoded(make: Callable[[], Any]) -> bytes:
    with considerate():
        return encode(make())


def encode(answer: Any) -> bytes:
    """Compact JSON. Lists near the top are encoded item by item: the encoder is in C and lets nobody else
    run, and a cluster is small where ten thousand of them are not.
    """
    return "".join(_pieces(answer, 3)).encode(errors="replace")


def _pieces(value: Any, depth: int) -> list[str]:
    if not depth or not isinstance(value, dict | list):
        return [json.dumps(value, ensure_ascii=False, default=plain, separators=(",", ":"))]
    pieces = []
    if isinstance(value, dict):
        for key, item in value.items():
            pieces += [",", json.dumps(str(key), ensure_ascii=False), ":", *_pieces(item, depth - 1)]
        opened, closed = "{}"
    else:
        for item in value:
            pieces += [",", *_pieces(item, depth - 1)]
        opened, closed = "[]"
    return [opened, *pieces[1:], closed]
