"""Child processes that never outlive the demo.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE = 35.0
"""Seconds a child may take to stop after SIGTERM; the gateway's own drain ends within 30."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with(parent: int) -> None:
    """Runs in the child before exec: SIGTERM for it when `parent` ends, however it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


class Child:
    """A process the demo started. Its stdout and stderr are handed on line by line."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, forward: Callable[[str], None]
    ) -> None:
        self.name = name
        self.process = process
        self.exited: asyncio.Task[int] = asyncio.create_task(self._follow(forward))
        """Done when the process has ended and everything it said was handed on."""

    def __repr__(self) -> str:
        return f"<Child {self.name} pid {self.process.pid}>"

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        forward: Callable[[str], None],
        *,
        stdout: IO[bytes] | int = subprocess.PIPE,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Runs `python <arguments>`. A session of its own: Ctrl-C reaches the demo only, which ends children
        in order.
        """
        parent = os.getpid()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            limit=1 << 20,
            preexec_fn=lambda: _die_with(parent),
        )
        return cls(name, process, forward)

    async def _follow(self, forward: Callable[[str], None]) -> int:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            forward(line.decode("utf-8", "replace").rstrip("\n"))
        return await self.process.wait()

    async def first_line(self) -> str:
        """The first line it writes to stdout; empty when it ends without one."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode("utf-8", "replace").strip()

    async def stop(self) -> int:
        """Ends it: SIGTERM, and SIGKILL for one that does not listen. Gives its exit code."""
        if self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait({self.exited}, timeout=PATIENCE)
            self.kill()
        return await self.exited

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if self.process.returncode is None:
            self.process.kill()
