"""The pytest plugin as a user's project has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.config import ConfigError

REPOSITORY = Path(__file__).parents[2]
ROUTES = REPOSITORY / "examples/testing/routes.yaml"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in a project of its own, where every warning is an error."""
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def test_the_example_passes(tmp_path: Path) -> None:
    """Word for word as it stands in the repository."""
    for name in ("routes.yaml", "test_routes.py"):
        (tmp_path / name).write_bytes((ROUTES.parent / name).read_bytes())
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_unused_it_loads_nothing(tmp_path: Path) -> None:
    """A project that has the gateway and no such tests pays for one small module."""
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n\ndef test_nothing():\n"
        "    loaded = {name for name in sys.modules if name.split('.')[0] in {'gateway', 'httpx', 'uvicorn'}}\n"
        "    assert loaded <= {'gateway', 'gateway.testing'}\n"
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failing_decision_tells_its_story(tmp_path: Path) -> None:
    """The assertion shows what was decided and why."""
    (tmp_path / "routes.yaml").write_bytes(ROUTES.read_bytes())
    (tmp_path / "test_wrong.py").write_text(
        "def test_wrong(gateway_routes):\n"
        "    decision = gateway_routes().get('/api/1')\n"
        "    assert decision.route == 'testers', decision.story\n"
    )
    done = run(tmp_path)
    assert done.returncode == 1
    assert "testers: lost, header end-user is absent, wanted exact 'jason'" in done.stdout


def test_files_are_found_above_the_test(gateway_routes, gateway_server) -> None:
    """Beside it, or in a directory above it."""
    assert gateway_routes("routes.yaml").snapshot.clusters
    with pytest.raises(FileNotFoundError, match="neither beside"):
        gateway_routes("nowhere.yaml")


def test_the_same_files_are_compiled_once(gateway_routes) -> None:
    """A hundred tests of a file read it once."""
    assert gateway_routes(ROUTES).snapshot is gateway_routes(ROUTES, host="x").snapshot


def test_a_bad_file_is_told_as_by_check(gateway_routes, gateway_server, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: VirtualService\n")
    with pytest.raises(ConfigError, match=r"bad.yaml:1"):
        gateway_routes(path)
    with pytest.raises(ConfigError, match=r"bad.yaml:1"):
        gateway_server(path)
