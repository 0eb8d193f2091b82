"""Workers that somebody else starts: how they find each other without a parent of ours.

Lifetime: process.

`uvicorn --workers N` starts processes that know nothing of each other but their parent. They meet in a folder
named after it, and after what they serve. Who comes takes the lowest number that is free: the number is free
when nobody holds the lock on its file, so a dead worker's place goes to the one that is started for it. The
public address belongs to whoever holds the lock on `public`.
"""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import shutil
import stat
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.admin.address import open_public
from gateway.admin.siblings import Siblings, socket_home

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from gateway.admin.address import PublicSocket

logger = logging.getLogger(__name__)

UNNUMBERED = -1


class Rendezvous(Siblings):
    """The workers under one parent that is not ours."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, UNNUMBERED)
        self._locks: list[int] = []

    @classmethod
    def below_parent(cls, serves: Iterable[str]) -> Rendezvous | None:
        """With the other children of the process that started this one with `multiprocessing`, as far as they
        serve the same; None when nothing did. Nothing is opened yet.
        """
        parent = multiprocessing.parent_process()
        if parent is None or parent.pid is None:
            return None
        told = "\0".join((str(os.geteuid()), _born(parent.pid), *serves))
        what = sha256(told.encode(errors="surrogateescape")).hexdigest()[:12]
        return cls(Path(socket_home()) / f"gateway-{parent.pid}-{what}")

    def open(self, wall: float | None = None) -> socket.socket:
        """Takes a place, then as in every worker. OSError when the folder is not ours alone."""
        try:
            self._enter()
        except FileNotFoundError:  # the last one who left has just removed it
            self._enter()
        return super().open(wall)

    def _enter(self) -> None:
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        found = self.folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError("others may use this folder")
        self.number = next(number for number in count() if self._take(f"{number}.worker"))

    def open_public(self, text: str) -> PublicSocket | None:
        """The public address, for the first that wants it; if another process has it, that is a warning."""
        if self.number != UNNUMBERED and not self._take("public"):
            logger.info("another worker has the admin listener, and asks this one")
            return None
        return open_public(text)

    def leave(self) -> None:
        """Gives the place back. The last one removes the folder."""
        if self.number == UNNUMBERED:
            return
        (self.folder / f"{self.number}.worker").unlink(missing_ok=True)
        self.number = UNNUMBERED
        if not self.workers():
            shutil.rmtree(self.folder, ignore_errors=True)
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()

    def _take(self, name: str) -> bool:
        """Locks a file for as long as this process lives."""
        path = self.folder / name
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        taken = False
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed the file between our opening and locking it.
            taken = path.stat().st_ino == os.fstat(opened).st_ino
        if taken:
            self._locks.append(opened)
        else:
            os.close(opened)
        return taken


def _born(pid: int) -> str:
    """When a process was started, so that another one with its number is not taken for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"
