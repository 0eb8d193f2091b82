"""What is measured: the gateway, real Envoy on the exported configuration, bare uvicorn.

Lifetime: process.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.processes import LOOPBACK, Child, Missing, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Files = Callable[[int], Mapping[str, str]]

GATEWAY = "{bin}/gateway run -c {config} --host 127.0.0.1 --port {port}"
"""How the gateway is started unless `--gateway` says otherwise."""


class Subject(Protocol):
    """A server under test."""

    name: str

    def start(self, directory: Path, files: Files) -> Running:
        """Starts it on a free port with the configuration that `files` makes for that port."""


class Running:
    """A subject that accepts connections."""

    def __init__(self, child: Child, port: int, config: Path | None = None) -> None:
        self.child = child
        self.port = port
        self.config = config
        """Directory of its configuration."""

    def stop(self) -> None:
        """Ends it."""
        self.child.stop()


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Puts a configuration into a directory of its own, each file by an atomic replacement.

    What another configuration left there goes: it would be loaded, too.
    """
    directory.mkdir(exist_ok=True)
    for stale in directory.glob("*.yaml"):
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        fresh = directory / f".{name}.new"
        fresh.write_text(text)
        fresh.replace(directory / name)
    return directory


class Gateway:
    """The gateway; the command can be another way to run it."""

    name = "gateway"

    def __init__(self, command: str = GATEWAY) -> None:
        self._command = command

    def start(self, directory: Path, files: Files) -> Running:
        port = free_port()
        config = write(directory / "config", files(port))
        text = self._command.format(bin=Path(sys.executable).parent, config=config, port=port)
        environment = {"GATEWAY_CONFIG": str(config), "GATEWAY_ADMIN": "off"}
        child = Child(self.name, shlex.split(text), directory, environment=environment)
        return ready(Running(child, port, config))


class Envoy:
    """Real Envoy, one worker, on what `gateway export envoy` makes of the same configuration."""

    name = "envoy"

    @staticmethod
    def binary() -> Path:
        """The program. Raises Missing."""
        spec = importlib.util.find_spec("envoy")
        if spec is None or not spec.submodule_search_locations:
            raise Missing("envoy is needed: scripts/venv test")
        return Path(spec.submodule_search_locations[0]) / "_bin" / "envoy"

    def bootstrap(self, config: Path) -> str:
        """What it is started with."""
        return exported(config)

    def start(self, directory: Path, files: Files) -> Running:
        binary = self.binary()
        port = free_port()
        bootstrap = directory / "envoy.json"
        bootstrap.write_text(self.bootstrap(write(directory / "config", files(port))))
        command = [
            binary, "-c", bootstrap, "--concurrency", "1", "--disable-hot-restart", "-l", "error",
        ]  # fmt: skip
        return ready(Running(Child(self.name, command, directory), port))


def exported(config: Path) -> str:
    """The bootstrap for a directory of YAML files."""
    from gateway.config import load  # noqa: PLC0415 - bare uvicorn and Envoy are measured without the gateway
    from gateway.export import export_envoy  # noqa: PLC0415 - as above

    return export_envoy(load([config]).require()).dumps()


class Uvicorn:
    """An application that says hello on uvicorn with uvloop and httptools: no ASGI gateway can cost less."""

    name = "uvicorn"

    def start(self, directory: Path, files: Files) -> Running:
        del files
        port = free_port()
        command = [
            sys.executable, "-m", "uvicorn", "bench.hello:app", "--host", LOOPBACK, "--port", str(port),
            "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
            "--timeout-keep-alive", "600",
        ]  # fmt: skip
        return ready(Running(Child(self.name, command, directory), port))


def ready(running: Running) -> Running:
    """Waits until it accepts connections."""
    try:
        running.child.await_port(running.port)
    except BaseException:
        running.stop()
        raise
    return running
