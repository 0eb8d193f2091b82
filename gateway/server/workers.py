"""Several processes behind the same sockets: started, restarted when they die, signalled, ended together.

Lifetime: process (the parent's).

The parent opens the sockets and forks; it has no event loop and no threads, only `sigwait`. Each worker loads
the configuration itself, so a reload concerns every one of them: SIGHUP to the parent goes to all.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

COULD_NOT_START: Final = 3
"""Exit code of a worker that another try would not help."""
_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM})
_SHORT_LIFE: Final = 5.0
"""Seconds; a worker that dies younger is restarted with growing pauses."""
_LONGEST_PAUSE: Final = 5.0


class _Slot:
    """A worker's place: its process changes, its number stays."""

    __slots__ = ("due", "failures", "pid", "restarts", "started_at")

    def __init__(self) -> None:
        self.pid = 0
        """0 while there is none."""
        self.started_at = 0.0
        self.due = 0.0
        """When the next process is to be started."""
        self.failures = 0
        """Short lives in a row."""
        self.restarts = 0


class Workers:
    """`work(number)` runs in each of `count` child processes and returns its exit code."""

    def __init__(
        self, count: int, work: Callable[[int], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots = [_Slot() for _ in range(count)]
        self._work = work
        self._clock = clock
        self._stopping = False
        self._code = 0

    def __repr__(self) -> str:
        return f"<Workers {[slot.pid for slot in self._slots]}>"

    def run(self) -> int:
        """Runs until a signal ends it, or no worker can start. Gives the exit code."""
        signal.signal(signal.SIGALRM, lambda *_: None)  # so that its default, death, is not armed
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            while not self._stopping or any(slot.pid for slot in self._slots):
                self._start_due()
                self._handle(signal.sigwait(_SIGNALS))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        return self._code

    def _handle(self, number: int) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            # A worker takes the second one for impatience, as a single process does.
            self._stopping = True
            self._tell(signal.SIGTERM)
        elif number == signal.SIGHUP:
            self._tell(signal.SIGHUP)
        elif number == signal.SIGCHLD:
            self._bury()

    def _tell(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)

    def _start_due(self) -> None:
        """Starts the workers whose time has come, and sets the alarm for the next."""
        if self._stopping:
            return
        now = self._clock()
        for number, slot in enumerate(self._slots):
            if not slot.pid and slot.due <= now:
                slot.pid, slot.started_at = self._fork(number), now
        waiting = [slot.due - now for slot in self._slots if not slot.pid]
        signal.setitimer(signal.ITIMER_REAL, max(min(waiting), 0.001) if waiting else 0)

    def _bury(self) -> None:
        """Takes note of every worker that has ended."""
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if not pid:
                continue
            slot.pid = 0
            code = os.waitstatus_to_exitcode(status)
            if self._stopping:
                self._code = self._code or max(code, 0)
            elif code == COULD_NOT_START and not slot.restarts:
                # It has said why. The others read the same configuration and the same sockets.
                self._stopping, self._code = True, code
                self._tell(signal.SIGTERM)
            else:
                self._schedule(slot, pid, code)

    def _schedule(self, slot: _Slot, pid: int, code: int) -> None:
        now = self._clock()
        slot.failures = slot.failures + 1 if now - slot.started_at < _SHORT_LIFE else 0
        pause = min(0.1 * 2**slot.failures, _LONGEST_PAUSE) if slot.failures else 0.0
        slot.restarts += 1
        slot.due = now + pause
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        logger.warning("worker %d ended %s; the next starts in %.1f s", pid, how, pause)

    def _fork(self, number: int) -> int:
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            _become_worker(parent)
            code = self._work(number)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        except BaseException:  # noqa: BLE001 - nothing may return into the parent's stack
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _become_worker(parent: int) -> None:
    """A process group of its own, so that Ctrl-C reaches only the parent; and no life without it."""
    os.setpgid(0, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
