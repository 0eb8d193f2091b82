"""Numbers of several workers: each writes its own to a folder they share, one of them reads all.

Lifetime: process.

Only one worker has the admin listener, and a scrape must not depend on which one a connection happens to
reach. A file outlives the worker that wrote it, so counters do not fall when a worker is replaced. The folder
is named by `GATEWAY_RUNTIME`; without it, a process speaks for itself alone.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.telemetry.families import Family, from_plain, join, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    Gentle = AbstractContextManager[None]

logger = logging.getLogger(__name__)

VARIABLE = "GATEWAY_RUNTIME"
"""Environment variable with the folder."""
INTERVAL = 1.0
"""Seconds between two writings: what the others' numbers lag behind at most."""
SHARE = 0.02
"""Of one core's time that writing may take: many series are written less often."""
MOST_DEPARTED = 8
"""Files of ended workers that are kept apart before they are joined into one."""


class Shared:
    """This worker's file, and the files of the others."""

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        self._folder = folder
        self._pid = os.getpid() if pid is None else pid
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._writing = threading.Lock()

    @classmethod
    def from_environment(cls) -> Shared | None:
        """As `GATEWAY_RUNTIME` says; None when it says nothing or names no folder of ours."""
        named = os.environ.get(VARIABLE)
        if not named:
            return None
        folder = Path(named)
        try:
            state = folder.stat()
        except OSError as error:
            logger.warning("%s=%s: %s; metrics are this worker's alone", VARIABLE, named, error.strerror)
            return None
        if state.st_uid != os.geteuid() or state.st_mode & 0o022:
            logger.warning("%s=%s: others may write there; metrics are this worker's alone", VARIABLE, named)
            return None
        return cls(folder)

    def start(self, read: Callable[[], Iterable[Family]], gently: Callable[[], Gentle] = nullcontext) -> None:
        """Begins to write what `read` gives, until `stop`; `gently` surrounds each time."""
        self._thread = threading.Thread(target=self._run, args=(read, gently), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes a last time and ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def _run(self, read: Callable[[], Iterable[Family]], gently: Callable[[], Gentle]) -> None:
        pause, ended = INTERVAL, False
        while not ended:
            ended = self._stop.wait(pause)
            began = time.thread_time()
            try:
                with gently():
                    self.write(read())
            except OSError as error:
                logger.warning("metrics cannot be shared in %s: %s", self._folder, error.strerror)
                return
            pause = max(INTERVAL, (time.thread_time() - began) / SHARE)

    def write(self, families: Iterable[Family]) -> None:
        """Puts this worker's file in place, whole."""
        with self._writing:
            # One family at a time: each call of the encoder holds the interpreter.
            text = ",".join(json.dumps(plain) for plain in to_plain(families))
            self._place(f"{self._pid}.json", f"[{text}]")

    def join(self, own: Iterable[Family]) -> list[Family]:
        """`own` and what the others wrote: the counters of all, the gauges of those that live."""
        return join([own, *self._others()])

    def _others(self) -> Iterator[list[Family]]:
        departed: list[tuple[Path, list[Family]]] = []
        for path in sorted(self._folder.glob("*.json")):
            if path.stem == str(self._pid):
                continue
            families = _read(path)
            if families is None:
                continue
            if path.stem.isdigit() and _lives(int(path.stem)):
                yield families
                continue
            lasting = [family for family in families if family.metric.kind != "gauge"]
            departed.append((path, lasting))
            yield lasting
        if len(departed) > MOST_DEPARTED:
            self._condense(departed)

    def _condense(self, departed: list[tuple[Path, list[Family]]]) -> None:
        """One file for all workers that are no more."""
        joined = join(families for _, families in departed)
        text = ",".join(json.dumps(plain) for plain in to_plain(joined))
        self._place("departed.json", f"[{text}]")
        for path, _ in departed:
            if path.name != "departed.json":
                path.unlink(missing_ok=True)

    def _place(self, name: str, text: str) -> None:
        new = self._folder / f"{name}.{self._pid}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(self._folder / name)


def _read(path: Path) -> list[Family] | None:
    try:
        return from_plain(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
