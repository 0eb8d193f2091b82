"""What the tests of the demo share: ports nobody has, and the sample configuration moved to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.process import free_ports

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    """A copy of routes.yaml whose backends have ports of their own."""
    text = (REPOSITORY / "routes.yaml").read_text(encoding="utf-8")
    old = re.findall(r"^      http: (\d+)$", text, re.MULTILINE)
    for before, after in zip(old, free_ports(len(old)), strict=True):
        text = text.replace(f"      http: {before}\n", f"      http: {after}\n")
    path = tmp_path / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return path
