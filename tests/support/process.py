"""`gateway run`, `uvicorn` and the like as real processes on free ports, ended by their id.

with gateway(tmp_path / "routes.yaml") as process:
    asyncio.run(talk(process.port, b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", count=1))
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE = 30.0
"""Seconds a process may take to start or to stop."""
ROOT = Path(__file__).parents[2]
_ADDRESS = re.compile(r"https?://(\[[0-9a-f:]+\]|[\w.]+):(\d+)")


class DidNotStart(AssertionError):  # noqa: N818 - what happened
    """The process ended, or said nothing of what was waited for. `code`: its exit code, None if it runs."""

    def __init__(self, code: int | None, output: str) -> None:
        super().__init__(f"exit code {code}\n{output}")
        self.code = code


class Process:
    """A running program: what it says is kept line by line, and it never outlives its block."""

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        """`env` is added to the environment. A session of its own: signals reach only what is meant."""
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._open = 2
        self.process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._follow, args=(pipe,), daemon=True)
            for pipe in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Process {self.pid} {'running' if self.process.poll() is None else 'ended'}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything it has said, stdout and stderr as they came."""
        with self._news:
            return "\n".join(self._lines)

    def wait_for_line(self, pattern: str, *, timeout: float = PATIENCE) -> re.Match[str]:
        """The first match of `pattern` in a line, said already or still to come. Raises DidNotStart."""

        def found() -> re.Match[str] | None:
            return next((match for line in self._lines if (match := re.search(pattern, line))), None)

        with self._news:
            self._news.wait_for(lambda: found() or not self._open, timeout)
            match = found()
        if match is None:
            code = self.process.wait(PATIENCE) if not self._open else self.process.poll()
            raise DidNotStart(code, self.output)
        return match

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Waits until it has ended by itself; gives its exit code, negative for a signal."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it with a signal, and with SIGKILL if it does not listen; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def hurry(self) -> int:
        """`stop` without a farewell: two signals, the second of which waits for nobody. They differ, for two of
        the same may arrive as one.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.stop()

    def _follow(self, pipe: object) -> None:
        with contextlib.suppress(ValueError):  # closed by `stop`
            for line in pipe:  # type: ignore[attr-defined]
                self._add(line.rstrip("\n"))
        with self._news:
            self._open -= 1
            self._news.notify_all()

    def _add(self, line: str) -> None:
        with self._news:
            self._lines.append(line)
            self._news.notify_all()


class Server(Process):
    """A process that listens; `ports` are where."""

    ports: list[int]
    admin_port: int | None = None

    @property
    def port(self) -> int:
        """The first port it listens on."""
        return self.ports[0]

    def url(self, path: str = "/") -> str:
        """An address on the first port."""
        return f"http://127.0.0.1:{self.port}{path}"

    def _wait_until_open(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _ready(self, wait: Callable[[], None]) -> Self:
        try:
            wait()
        except BaseException:
            self.stop()
            raise
        return self


class GatewayServer(Server):
    """`gateway run`, up and serving."""

    def _read_banner(self) -> None:
        listening = self.wait_for_line(r"^ *listening on (.*)$")
        self.ports = [int(port) for _, port in _ADDRESS.findall(listening[1])]
        admin = self.wait_for_line(r"^ *admin (?:on (.*)|off)$")[1]
        self.admin_port = int(_ADDRESS.findall(admin)[0][1]) if admin else None


class UvicornServer(Server):
    """`uvicorn`, up and serving."""

    def _read_log(self) -> None:
        self.wait_for_line(r"Application startup complete")
        running = self.wait_for_line(r"Uvicorn running on (\S+)")
        self.ports = [int(_ADDRESS.findall(running[1])[0][1])]
        self._wait_until_open()  # with workers, the line comes before the socket listens


def gateway(
    *paths: Path | str,
    port: int | None = 0,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    admin: str = "off",
) -> GatewayServer:
    """`gateway run` with these configuration files, on a port the kernel chooses; `port=None`: where the
    configuration says. `admin`: as in GATEWAY_ADMIN, so `127.0.0.1:0` for an admin listener of its own.
    Raises DidNotStart.
    """
    command = [sys.executable, "-m", "gateway", "run"]
    for path in paths:
        command += ["-c", str(path)]
    if port is not None:
        command += ["--port", str(port)]
    server = GatewayServer([*command, *arguments], env={"GATEWAY_ADMIN": admin, **(env or {})})
    return server._ready(server._read_banner)


def uvicorn(
    *arguments: str,
    app: str = "gateway.app:app",
    env: Mapping[str, str] | None = None,
) -> UvicornServer:
    """`uvicorn` with an application by name, on a port the kernel chooses. Raises DidNotStart."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", *arguments]
    server = UvicornServer(command, env={"GATEWAY_ADMIN": "off", **(env or {})})
    return server._ready(server._read_log)


def free_port() -> int:
    """A port nobody listens on just now; only for configuration that must name one."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Several of them, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
