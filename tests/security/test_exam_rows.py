"""The registry of attacks: every row has tests, every test it names is there, and the page says the same."""

from __future__ import annotations

import ast
import runpy
from functools import cache
from pathlib import Path

import pytest
from support.broken import PLAYS
from support.exam import ALL
from support.rows import IDS, ROWS

ROOT = Path(__file__).parents[2]


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_row_has_a_test() -> None:
    """Also those that say that something is not offered."""
    assert [row_id for row_id in IDS if not any(row.id == row_id and row.tests for row in ROWS)] == []


@pytest.mark.parametrize("row_id", IDS)
def test_the_tests_of_a_row_are_there(row_id: str) -> None:
    """A test that is renamed or removed leaves no row without proof."""
    names = {case.id for case in ALL} | {play.id for play in PLAYS}
    for row in ROWS:
        if row.id == row_id:
            for test in row.tests:
                path, _, name = test.partition("::")
                name, _, parameter = name.partition("[")
                assert name in functions(path), test
                if parameter and not parameter.startswith("httptools-"):
                    assert parameter.removesuffix("]") in names, test


def test_the_page_is_current() -> None:
    """`scripts/docs` writes it."""
    script = runpy.run_path(str(ROOT / "scripts" / "security.py"))
    assert (ROOT / "docs" / "security.md").read_text(encoding="utf-8") == script["page"]()
