"""The file that a control follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.controlled import answering


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that answers `one`."""
    path = tmp_path / "routes.yaml"
    path.write_text(answering("one"))
    return path
