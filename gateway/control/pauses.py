"""Keeps the event loop answering while a thread works hard, and garbage collection short.

Lifetime: process. Both settings belong to the interpreter, so they are taken and given back as a pair.

A thread that computes lets go of the interpreter only when asked, after the switch interval (5 ms by
default): without care each step of the loop would wait that long. And a full collection looks at every object
there is: with 1 000 routes that alone stops the loop for longer than anything else in a reload.
"""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SWITCH_INTERVAL = 0.0002
"""Seconds the loop waits for a working thread to step aside."""

_lock = threading.Lock()
_working = 0
_usual = 0.005


@contextmanager
def considerate() -> Iterator[None]:
    """While this is open, threads give way to the event loop quickly. May nest and overlap."""
    global _working, _usual  # noqa: PLW0603 - the interpreter has one switch interval
    with _lock:
        if _working == 0:
            # Half a microsecond more: Python cuts to whole ones, and each round trip would lose one.
            _usual = sys.getswitchinterval() + 5e-7
            sys.setswitchinterval(min(_usual, SWITCH_INTERVAL))
        _working += 1
    try:
        yield
    finally:
        with _lock:
            _working -= 1
            if _working == 0:
                sys.setswitchinterval(_usual)


@contextmanager
def uncollected(*, freeze: bool) -> Iterator[None]:
    """While this is open nothing is collected; with `freeze`, what was made is never looked at afterwards.

    What is frozen must be freed by its reference counts alone. `freeze` is for a process of our own: in
    someone else's program it would also freeze what that program is about to throw away.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if freeze:
            gc.freeze()
        gc.enable()
