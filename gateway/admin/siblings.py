"""The workers of one gateway, as each finds the others: a socket for every one in a folder they share.

Lifetime: process.

Any of them may hold a connection to the public admin listener, and what it is asked concerns all. So every
worker serves its own admin application on a unix socket, and whoever answers the public asks each of them,
itself included, for no longer than a moment. A worker that does not answer is named in the answer.

The folder belongs to this user alone: a socket in it needs no further protection. For worker N it has
`N.worker`, which says that there is to be one and who it is, and `N.sock`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.admin.address import open_public

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.admin.address import PublicSocket

PATIENCE: Final = 1.0
"""Seconds a worker has for an answer."""
LONG: Final = 30.0
"""Seconds it has to load a configuration."""
_BACKLOG: Final = 100
_LONGEST: Final = 60
"""Bytes; the address of a unix socket has 107, on some systems 103."""


def socket_home() -> str:
    """Where the folder is to be: among temporary files, unless that name is too long for sockets below it."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) < _LONGEST else "/tmp"  # noqa: S108 - what is made there is ours alone


class Worker(NamedTuple):
    """Who a worker is."""

    number: int
    pid: int = 0
    """0: it has not started yet."""
    started_at: float = 0.0
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"worker {self.number}" + (f" (pid {self.pid})" if self.pid else "")


class Answer(NamedTuple):
    """What one worker said."""

    worker: Worker
    status: int
    """0: nothing."""
    body: bytes = b""
    silent: str = ""
    """Why it said nothing."""

    @property
    def told(self) -> Any:
        """The JSON; large ones are read in a thread."""
        return json.loads(self.body)


class Siblings:
    """All workers of this gateway; `number` is ours, `public` the address people know, which they share."""

    def __init__(self, folder: Path, number: int, public: PublicSocket | None = None) -> None:
        self.folder = folder
        self._public = public
        self.number = number

    def __repr__(self) -> str:
        return f"<Siblings {self.number} of {len(self.workers())}>"

    @staticmethod
    def expect(folder: Path, count: int) -> None:
        """Says, before they are started, that there are to be so many workers."""
        for number in range(count):
            (folder / f"{number}.worker").touch(mode=0o600)

    def workers(self) -> list[Worker]:
        """Everybody there is to be, by number."""
        found = [path for path in self.folder.glob("*.worker") if path.stem.isdigit()]
        return sorted(_read(path) for path in found)

    def open(self, wall: float | None = None) -> socket.socket:
        """Our own socket, listening, in place of that of a worker we replace. OSError."""
        path, new = self._socket(self.number), self.folder / f"{self.number}.new"
        new.unlink(missing_ok=True)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.bind(str(new))
            opened.listen(_BACKLOG)
            opened.setblocking(False)
            new.rename(path)
        except OSError:
            opened.close()
            new.unlink(missing_ok=True)
            raise
        started_at = time.time() if wall is None else wall
        _write(self.folder / f"{self.number}.worker", f"{os.getpid()} {started_at:.3f}")
        return opened

    def open_public(self, text: str) -> PublicSocket | None:
        """The public address, for us to accept at; None: another one does."""
        return self._public or open_public(text)

    def close(self) -> None:
        """Takes our socket away."""
        with suppress(OSError):
            self._socket(self.number).unlink()

    def leave(self) -> None:
        """The very last: gives back what is ours in the folder, if that is not the parent's to do."""

    async def ask(
        self, target: str, *, method: str = "GET", content: bytes = b"", patience: float = PATIENCE
    ) -> list[Answer]:
        """Everybody's answer, by number, ours among them; never raises."""
        asked = (self.ask_one(worker, target, method, content, patience) for worker in self.workers())
        return list(await asyncio.gather(*asked))

    async def ask_one(
        self,
        worker: Worker,
        target: str,
        method: str = "GET",
        content: bytes = b"",
        patience: float = PATIENCE,
    ) -> Answer:
        """One worker's answer; never raises."""
        try:
            async with asyncio.timeout(patience):
                return Answer(worker, *await _exchange(self._socket(worker.number), method, target, content))
        except TimeoutError:
            return Answer(worker, 0, silent=f"no answer within {patience:g} s")
        except FileNotFoundError:
            return Answer(worker, 0, silent="it has not started")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return Answer(worker, 0, silent=why.lower())

    def _socket(self, number: int) -> Path:
        return self.folder / f"{number}.sock"


async def _exchange(path: Path, method: str, target: str, content: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(
            f"{method} {target} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n"
            f"content-length: {len(content)}\r\n\r\n".encode("latin-1")
            + content
        )
        head, complete, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    lines = head.split(b"\r\n")
    size = next((line[15:] for line in lines if line[:15].lower() == b"content-length:"), b"")
    if not complete or int(size or -1) != len(body):
        raise ValueError("its answer was cut off")
    return int(lines[0].split(b" ", 2)[1]), body


def _read(path: Path) -> Worker:
    number = int(path.stem)
    try:
        pid, _, started_at = path.read_text(encoding="ascii").partition(" ")
        return Worker(number, int(pid), float(started_at))
    except (OSError, ValueError):
        return Worker(number)


def _write(path: Path, text: str) -> None:
    # In place, not by a rename: who meets under a foreign parent holds a lock on the file.
    with path.open("r+" if path.exists() else "w", encoding="ascii") as file:
        file.write(text.ljust(32))
        file.truncate()


def workers_json(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Who was asked, and why who is silent is."""
    return [
        {"worker": worker.number, "pid": worker.pid, **({"silent": silent} if silent else {})}
        for worker, _, _, silent in answers
    ]


def silence(answers: Iterable[Answer]) -> list[str]:
    """`worker 2 (pid 17) does not answer: connection refused`, of each that does not."""
    return [f"{answer.worker} does not answer: {answer.silent}" for answer in answers if answer.silent]


def eldest(answers: Iterable[Answer]) -> Answer | None:
    """Who remembers most among those that answered well; None: nobody did."""
    well = (answer for answer in answers if answer.status == 200)
    return min(well, key=lambda answer: (answer.worker.started_at, answer.worker.number), default=None)
