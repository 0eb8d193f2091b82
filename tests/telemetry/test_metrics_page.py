"""docs/metrics.md, which is made from the catalog."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """`scripts/docs` writes it."""
    page = runpy.run_path(str(ROOT / "scripts" / "metrics.py"))["page"]()

    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page
