"""A real Redis: Debian's, started and ended by the test."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest
from support.process import PATIENCE, free_port


def binary() -> str:
    """The program; skips the test where it is not installed."""
    # Debian's redis-tools has the program, under the name of another of its uses, and no service.
    found = shutil.which("redis-server") or shutil.which("valkey-server") or shutil.which("redis-check-rdb")
    if found is None:
        pytest.skip("redis-server is not installed (scripts/test installs redis-tools on Debian, as root)")
    return found


class Redis:
    """A server on a port of its own. A context manager."""

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        """`tls`: its port speaks TLS, with the certificate that `options` name."""
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._options = (*(("--port", "0", "--tls-port") if tls else ("--port",)), str(self.port), *options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """On the same port as before; returns when it accepts connections."""
        self._process = subprocess.Popen(
            ["redis-server", *self._options, "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)],
            executable=binary(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    _, said = self._process.communicate()
                    raise AssertionError(said.decode()) from None
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        """At once, as a machine fails; everything it counted is gone."""
        self._end(signal.SIGKILL)

    def stall(self) -> None:
        """Stops it: connections stay, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on after `stall`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(by)
            self._process.communicate(timeout=PATIENCE)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGKILL)

    def tell(self, *words: str) -> bytes:
        """The first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as link:
            link.sendall(" ".join(words).encode() + b"\r\n")
            return link.makefile("rb").readline().strip()

    def names(self) -> list[str]:
        """Every key there is."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as link:
            link.sendall(b"KEYS *\r\n")
            answer = link.makefile("rb")
            count = int(answer.readline()[1:])
            return [(answer.readline(), answer.readline())[1].strip().decode() for _ in range(count)]
