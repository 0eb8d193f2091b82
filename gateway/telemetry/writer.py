"""Lines on their way to a file or stdout: collected on the event loop, written by a thread of their own.

Lifetime: process. A slow disk or a stopped reader never blocks a request; what cannot be kept is counted, not
waited for. A file that log rotation moved away is opened anew with the next batch.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

logger = logging.getLogger("gateway")

FLUSH_AFTER = 0.1
"""Seconds a line may wait for company."""
MOST_PENDING_BATCHES = 100
"""Batches the writer may lag behind (about 10 s of traffic) before lines are dropped."""
LARGEST_BATCH = 4096
"""Lines of one batch; that many are handed over without waiting."""
COMPLAIN_AGAIN = 60.0
"""Seconds between two complaints about a log that cannot be written."""
STDOUT = frozenset({"/dev/stdout", "-"})


class Writer:
    """Batches lines and hands them to a thread that writes them."""

    def __init__(self, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._lines: list[str] = []
        self._queue: SimpleQueue[list[str] | None] = SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._complained = -COMPLAIN_AGAIN
        self.written = 0
        """Lines that are in the file."""
        self.dropped = 0
        """Lines lost because the reader of the log did not keep up, or the file could not be written."""

    def __repr__(self) -> str:
        return f"<Writer {self.path} written {self.written}, dropped {self.dropped}>"

    def write(self, line: str, later: Callable[..., asyncio.TimerHandle]) -> None:
        """Takes one line; `later` is the loop's call_later."""
        lines = self._lines
        lines.append(line)
        if self._timer is None:
            self._timer = later(FLUSH_AFTER, self.flush)
        elif len(lines) >= LARGEST_BATCH:
            self.flush()

    def flush(self) -> None:
        """Hands what was collected to the writing thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._queue.qsize() >= MOST_PENDING_BATCHES:
            self.dropped += len(lines)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()
        self._queue.put(lines)

    def close(self) -> None:
        """Writes what is left and ends the thread; waits at most two seconds for a stuck reader."""
        self.flush()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(2.0)
            self._thread = None

    def _run(self) -> None:
        descriptor = -1
        while (lines := self._queue.get()) is not None:
            try:
                descriptor = self._reopened(descriptor)
                write_all(descriptor, "".join(lines).encode("ascii", "backslashreplace"))
                self.written += len(lines)
            except OSError as error:
                self.dropped += len(lines)
                self._complain(error)
        if descriptor > 2:
            os.close(descriptor)

    def _complain(self, error: OSError) -> None:
        now = self._clock()
        if now - self._complained >= COMPLAIN_AGAIN:
            self._complained = now
            logger.error("access log %s: %s; its lines are lost", self.path, error.strerror)

    def _reopened(self, descriptor: int) -> int:
        """The descriptor to write to."""
        if self.path in STDOUT:
            return sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
        if descriptor >= 0:
            try:
                here, there = os.stat(self.path), os.fstat(descriptor)  # noqa: PTH116 - beside fstat
            except FileNotFoundError:
                pass
            else:
                if (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev):
                    return descriptor
            os.close(descriptor)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes everything, also to a pipe that somebody made non-blocking."""
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EINTR}:
                raise
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(1000)
