"""The registry of codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gateway.config
from gateway.config.codes import CODES, define


def test_a_code_keeps_its_meaning() -> None:
    """Defining a code a second time with other words is a mistake."""
    with pytest.raises(AssertionError, match="GW030"):
        define("GW030", "something else", "error", "Another meaning.")


def test_codes_cannot_be_changed_from_outside() -> None:
    """The table is read-only."""
    with pytest.raises(TypeError):
        CODES["GW999"] = CODES["GW030"]  # type: ignore[index]


def test_every_code_in_use_is_defined() -> None:
    """No module reports a code that has no explanation."""
    room = Path(gateway.config.__file__).parent
    modules = {
        name.removeprefix("gateway.config.")
        for name in __import__("sys").modules
        if "gateway.config." in name
    }
    used = {
        (path.name, code)
        for path in room.glob("*.py")
        if path.stem in modules
        for code in re.findall(r'"(GW\d{3})"', path.read_text())
    }

    assert set() == {(name, code) for name, code in used if code not in CODES}
