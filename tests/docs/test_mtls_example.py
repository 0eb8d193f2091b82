"""examples/mtls: what its page and its script promise, with real certificates and a real curl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import free_ports

from gateway.config import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "mtls"
PORTS = ("8443", "9090", "8081", "15001")
SEED = ("PeerAuthentication", "AuthorizationPolicy")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The folder's files on ports of their own, without certificates that somebody made there."""
    ports = [str(port) for port in free_ports(len(PORTS))]
    for name in ("edge.yaml", "try"):
        text = (EXAMPLE / name).read_text(encoding="utf-8")
        for old, new in zip(PORTS, ports, strict=True):
            text = text.replace(old, new)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_script_shows_who_may_and_who_may_not(example: Path) -> None:
    """Nobody, a stranger and a writer are refused, the reader is not; and the refusal is explained."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "try"],
        cwd=example,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = done.stdout.split("\n# ")
    nobody, reads, writes, stranger = answers[1:]
    assert "RBAC: access denied" in nobody
    assert '"status": 200' in reads
    assert "RBAC: access denied" in writes
    assert "RBAC: access denied" in stranger
    assert "identity cluster.local/ns/default/sa/stranger" in stranger
    assert "ALLOW default/allow-read" in stranger


def test_the_configuration_has_no_findings() -> None:
    """But for the credential, which is made when it is tried."""
    loaded = load([EXAMPLE / "edge.yaml"])
    assert loaded.findings == ()
    assert loaded.config is not None
    kinds = [resource.kind for resource in loaded.config.resources()]
    assert set(SEED) < set(kinds)
