"""The founding document's configuration, block by block as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import load

SEED = sorted((Path(__file__).parent / "seed").glob("*.yaml"))


def test_all_blocks_are_here() -> None:
    """Eight blocks of YAML."""
    assert len(SEED) == 8


@pytest.mark.parametrize("path", SEED, ids=lambda path: path.stem)
def test_a_block_loads_alone(path: Path) -> None:
    """Nothing in it is fatal, whatever else the files of an application would add."""
    loaded = load([path])

    assert [str(finding) for finding in loaded.findings if finding.fatal] == []
    assert loaded.config is not None
