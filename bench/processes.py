"""Child processes of a benchmark: pinned to a core, waited for, measured through /proc, ended by handle.

Lifetime: process.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK = "127.0.0.1"
READY_WITHIN = 60.0
"""Seconds until a subject must accept connections: 10 000 regex routes take Envoy a while."""
TICK = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024

_CORES = sorted(os.sched_getaffinity(0))
SUBJECT_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]


class Missing(Exception):  # noqa: N818 - a state of the machine, told to the user
    """Something this machine lacks; the text says how to get it."""


def tool(name: str, package: str) -> str:
    """The path of a program; `Missing` when it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise Missing(f"{name} is needed: apt-get install {package}")
    return path


def free_port() -> int:
    """A port that was free a moment ago."""
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process had used at a moment."""

    cpu: float
    """Seconds, user and system, all threads."""
    at: float


class Child:
    """A child process on one core; a context manager that ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        *,
        core: int = SUBJECT_CORE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        pinned = ["taskset", "-c", str(core)] if shutil.which("taskset") else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*pinned, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Child {self.name} pid {self.process.pid}>"

    def stop(self) -> None:
        """Ends it and waits until it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def await_port(self, port: int) -> None:
        """Returns when it accepts connections; `Missing` with its last words when it ends instead."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Missing(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
            try:
                socket.create_connection((LOOPBACK, port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise Missing(f"{self.name} does not accept connections: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-1500:]

    def usage(self) -> Usage:
        """Processor time so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold blanks
        return Usage((int(fields[11]) + int(fields[12])) / TICK, time.perf_counter())

    def rss(self) -> float:
        """Resident memory, MiB."""
        return self._status("VmRSS")

    def peak_rss(self) -> float:
        """The most resident memory since `forget_peak`, MiB."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Lets `peak_rss` start anew (proc(5): 5 in clear_refs)."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _status(self, key: str) -> float:
        found = re.search(
            rf"^{key}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE
        )
        assert found is not None
        return int(found[1]) / 1024


def python_version() -> str:
    """For the report: builds differ by a third in speed."""
    return f"Python {sys.version.split()[0]} ({Path(sys.executable).resolve()})"
