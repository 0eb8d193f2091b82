"""The founding document's configuration, block by block as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load

SEED = sorted((Path(__file__).parent / "seed").glob("*.yaml"))
REFUSED = {
    "authorization": "AuthorizationPolicy default/allow-read",
    "mtls": "PeerAuthentication default/default",
}


def test_all_blocks_are_here() -> None:
    """Eight blocks of YAML."""
    assert len(SEED) == 8


@pytest.mark.parametrize(
    "path", [path for path in SEED if path.stem not in REFUSED], ids=lambda path: path.stem
)
def test_a_block_loads_alone(path: Path) -> None:
    """Nothing in it is fatal, whatever else the files of an application would add."""
    loaded = load([path])

    assert [str(finding) for finding in loaded.findings if finding.fatal] == []
    assert loaded.config is not None


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_protect_is_refused_by_name(name: str) -> None:
    """The gateway does not start without the protection it was asked for, and says which."""
    loaded = load([Path(__file__).parent / "seed" / f"{name}.yaml"])

    assert loaded.config is None
    (fatal,) = [finding for finding in loaded.findings if finding.fatal]
    assert (REFUSED[name] in fatal.message, "refuses to start" in fatal.message) == (True, True)
