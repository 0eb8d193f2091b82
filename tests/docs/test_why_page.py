"""docs/why.md, which is made from the sentences."""

from __future__ import annotations

import runpy
from pathlib import Path

from gateway.http.flags import Flag

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "why.py"))


def test_the_page_is_current() -> None:
    """`scripts/docs` writes it."""
    assert (ROOT / "docs" / "why.md").read_text(encoding="utf-8") == SCRIPT["page"]()


def test_every_flag_has_an_example() -> None:
    """With what `gateway why` prints about it."""
    shown = {flag for example in SCRIPT["EXAMPLES"] for flag in example.flags}

    assert set(Flag) - shown == set()
