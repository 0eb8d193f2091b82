"""A real Prometheus, and promtool: Debian's, or those that `scripts/test` has put into .venv."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest
from support.process import PATIENCE, ROOT, free_port

UNPACKED = ROOT / ".venv" / "debian" / "usr" / "bin"


def binary(name: str) -> str:
    """`prometheus` or `promtool`; skips the test where neither Debian nor we have it."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if found is None:
        pytest.skip(f"{name} is not installed (scripts/test fetches it on Debian)")
    return found


def promtool(*arguments: str) -> str:
    """Runs promtool; its output. Fails when it finds something."""
    done = subprocess.run([binary("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def complaints(metrics: str) -> list[str]:
    """What `promtool check metrics` says of a page in the text format."""
    command = [binary("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=metrics, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()


class Prometheus:
    """Scrapes and answers queries. A context manager."""

    def __init__(self, config: Path, storage: Path) -> None:
        self._port = free_port()
        self._command = [
            binary("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={storage}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._get("/-/ready")
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    _, said = self._process.communicate()
                    raise AssertionError(said.decode()) from None
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=PATIENCE) as answer:
            return answer.read()  # type: ignore[no-any-return]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; fails when Prometheus does not take it."""
        found: list[dict[str, Any]] = self._asked("query", query=expression)["result"]
        return found

    def exemplars(self, selector: str) -> list[dict[str, Any]]:
        """The exemplars of series in the last hour."""
        now = time.time()
        series = self._asked("query_exemplars", query=selector, start=str(now - 3600), end=str(now))
        return [exemplar for item in series for exemplar in item["exemplars"]]

    def _asked(self, what: str, **parameters: str) -> Any:
        try:
            answer = json.loads(self._get(f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}\n{error.read().decode()}") from None
        assert answer["status"] == "success"
        return answer["data"]
