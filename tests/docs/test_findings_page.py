"""docs/findings.md, which is made from the codes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from gateway.config import CODES

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "findings.py"))
EXAMPLES = {**SCRIPT["examples"](SCRIPT["EXAMPLES"].read_text(encoding="utf-8")), **SCRIPT["UNWRITABLE"]}


def test_the_page_is_current() -> None:
    """`scripts/docs` writes it."""
    assert (ROOT / "docs" / "findings.md").read_text(encoding="utf-8") == SCRIPT["page"]()


def test_every_code_of_the_source_has_a_section() -> None:
    """Also those that are defined where nobody looked."""
    defined = {
        code
        for path in (ROOT / "gateway").rglob("*.py")
        for code in re.findall(r'define\(\s*"(GW\d{3})"', path.read_text(encoding="utf-8"))
    }

    assert defined <= CODES.keys()


@pytest.mark.parametrize("code", sorted(EXAMPLES))
def test_an_example_shows_its_code(code: str) -> None:
    """`gateway check` says about it what the page says, with the severity the page names."""
    (first, *_) = [item for item in SCRIPT["found"](EXAMPLES[code])[0] if item.code == code]

    assert first.severity == CODES[code].severity
