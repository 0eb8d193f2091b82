"""Notices that configuration files may have changed, however the change was made.

Lifetime: process.

Watching a *file* goes deaf after the first atomic replace (the inode is gone), so directories are watched:
the one that holds the file, and the one that holds each symbolic link on the way to it. That covers an
editor's write-and-rename, delete and recreate, a `current -> releases/7` link and the `..data` swap of a
mounted ConfigMap.

Each turn arms a fresh watcher, *then* lets the caller compare content, *then* waits. What happens before the
watcher stands is found by the comparison, what happens later wakes the wait, and a directory that was itself
replaced is simply looked up again; so there is no state to get wrong. Files of others in these directories,
such as a log that grows with every request, wake nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from watchfiles._rust_notify import RustNotify

from gateway.config.files import SUFFIXES, expand, identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable

logger = logging.getLogger(__name__)

_R = TypeVar("_R")
_Arguments = TypeVarTuple("_Arguments")

_MOST_LINKS = 40
"""Symbolic links followed before a path counts as a loop (Linux MAXSYMLINKS)."""


def places(path: Path) -> set[Path]:
    """Existing directories in which a changed entry can change what `path` holds.

    A directory counts with what its entries link to. Where the path ends early, the last directory that
    exists stands in for the rest: the missing part can only appear there.
    """
    found: set[Path] = set()
    with contextlib.suppress(OSError):
        end = _follow(path, found)
        if end.is_dir():
            found.add(end)
            for entry in end.iterdir():
                if entry.is_symlink():
                    _follow(entry, found)
    return found


def members(paths: Iterable[Path]) -> frozenset[str]:
    """The files whose content counts, as they are named and as they are reached."""
    found: set[str] = set()
    for path in paths:
        files = [path]
        with contextlib.suppress(OSError, ValueError):
            files += expand(path)
        for file in files:
            found |= {str(file.absolute()), identity(file)}
    return frozenset(found)


def _foreign(path: str, ours: frozenset[str], suffixes: Container[str]) -> bool:
    """Whether a changed entry is somebody else's file, such as an access log beside the configuration.

    Links, directories and what is gone may lead to ours; so may a new file with one of `suffixes`.
    """
    if path in ours or Path(path).suffix in suffixes:
        return False
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _follow(path: Path, found: set[Path]) -> Path:
    """Walks to the end of `path` as the kernel does, adding each directory where a turn is decided."""
    here, rest, links = Path("/"), list(reversed(path.absolute().parts[1:])), 0
    while rest:
        part = rest.pop()
        if part == "..":
            here = here.parent
            continue
        entry = here / part
        if entry.is_symlink() and links < _MOST_LINKS:
            links += 1
            found.add(here)
            target = entry.readlink()
            if target.is_absolute():
                here = Path(target.anchor)
            rest.extend(step for step in reversed(target.parts) if step != target.anchor)
        elif not entry.exists():
            found.add(here)
            return entry
        else:
            here = entry
    if not here.is_dir():
        found.add(here.parent)
    return here


class Watch:
    """Calls `changed` when it starts and after anything stirs near the paths; the callee compares content.

    A burst of events is one call: `quiet` seconds after the last event, `patience` after the first at the
    latest. Every `rescan` seconds it calls anyway, for file systems that report nothing (NFS, bind mounts).
    """

    def __init__(
        self,
        paths: Iterable[Path] | Callable[[], Iterable[Path]],
        changed: Callable[[], Awaitable[object]],
        *,
        quiet: float = 0.05,
        patience: float = 0.4,
        rescan: float = 10.0,
        suffixes: Container[str] = SUFFIXES,
    ) -> None:
        """`suffixes`: of the files that may count though no path names them."""
        if not callable(paths):
            fixed = tuple(paths)
            self._paths: Callable[[], Iterable[Path]] = lambda: fixed
        else:
            self._paths = paths
        self._changed, self._suffixes = changed, suffixes
        self._quiet, self._patience, self._rescan = (int(s * 1000) for s in (quiet, patience, rescan))
        self._stopping = threading.Event()
        self._turn_over = threading.Event()
        """Ends a wait: there are other paths to watch, or none any more."""
        # A thread of its own: waiting here for ever would take one of the few that resolve names.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gateway-watch")
        self._task: asyncio.Task[None] | None = None
        self._warned = False

    def __repr__(self) -> str:
        state = "running" if self._task and not self._task.done() else "stopped"
        return f"<Watch {', '.join(map(str, self._paths()))} {state}>"

    async def start(self) -> None:
        """Arms the first watcher before it returns: every later change is noticed."""
        watcher = await self._run(self._arm)
        self._task = asyncio.get_running_loop().create_task(self._turns(watcher), name="gateway-watch")

    async def stop(self) -> None:
        """Ends the task and its thread; nothing is called afterwards."""
        self._stopping.set()
        self._turn_over.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=False)

    def look_again(self) -> None:
        """The paths are others now: watches them, and calls."""
        self._turn_over.set()

    async def _turns(self, watcher: RustNotify | None) -> None:
        while True:
            try:
                await self._changed()
            except Exception:
                logger.exception("looking at changed configuration failed; the watch goes on")
            await self._run(self._wait, watcher)
            if self._stopping.is_set():
                return
            watcher = await self._run(self._arm)

    async def _run(self, function: Callable[[*_Arguments], _R], *arguments: *_Arguments) -> _R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _arm(self) -> RustNotify | None:
        self._turn_over.clear()
        if self._stopping.is_set():
            self._turn_over.set()
        for _ in range(3):
            directories = sorted(set[Path]().union(*map(places, self._paths())))
            try:
                return RustNotify([str(path) for path in directories], False, False, 300, False, True)
            except FileNotFoundError:
                continue  # It vanished between being found and being watched: look again.
            except (OSError, RuntimeError) as error:
                self._warn(directories, error)
                return None
        return None

    def _warn(self, directories: Iterable[Path], error: Exception) -> None:
        """Says once that the system gives no events (commonly: no inotify instances left)."""
        if not self._warned:
            self._warned = True
            names = ", ".join(map(str, directories))
            seconds = self._rescan / 1000
            logger.warning("cannot watch %s: %s; looking for changes every %g s", names, error, seconds)

    def _wait(self, watcher: RustNotify | None) -> None:
        if watcher is None:
            self._turn_over.wait(self._rescan / 1000)
            return
        ours = members(self._paths())
        end = time.monotonic() + self._rescan / 1000
        try:
            while (left := int((end - time.monotonic()) * 1000)) > 0:
                seen = watcher.watch(self._patience, self._quiet, left, self._turn_over)
                if isinstance(seen, str) or not all(_foreign(path, ours, self._suffixes) for _, path in seen):
                    return
        finally:
            watcher.close()
