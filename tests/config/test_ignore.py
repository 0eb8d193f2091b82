"""Comments that silence warnings."""

from __future__ import annotations

import pytest

from gateway.config.findings import Finding
from gateway.config.ignore import without_ignored


def kept(line: str, code: str = "GW220", severity: str = "warning") -> bool:
    finding = Finding("f", 2, 1, severity, code, "m")  # type: ignore[arg-type]
    return without_ignored([finding], {"f": f"a: 1\n{line}\nc: 3\n"}) == (finding,)


@pytest.mark.parametrize(
    "line",
    [
        "b: 2  # gateway: ignore GW220",
        "b: 2 #gateway:ignore GW220  ",
        "# gateway: ignore GW220",
        "b: 2  # gateway: ignore GW204, GW220",
        "b: 2  # gateway: ignore GW220 GW204",
    ],
)
def test_a_comment_silences_what_it_names(line: str) -> None:
    """On its own line, with any spacing, several codes at once."""
    assert not kept(line)
    assert not kept(line, severity="info")


@pytest.mark.parametrize(
    "line",
    [
        "b: 2",
        "b: 2  # gateway: ignore",
        "b: 2  # gateway: ignore GW221",
        "b: 2# gateway: ignore GW220",
        "b: 2  # gateway: ignore GW220 because",
        "b: 2  # gateway: ignore GW2200",
    ],
)
def test_nothing_else_is_silenced(line: str) -> None:
    """No code, another code, no comment, more than codes."""
    assert kept(line)


def test_errors_are_never_silenced() -> None:
    """A comment cannot make a wrong file right."""
    assert kept("b: 2  # gateway: ignore GW220", severity="error")


def test_other_lines_and_unknown_files_are_left_alone() -> None:
    """The comment is about its line only."""
    finding = Finding("f", 1, 1, "warning", "GW220", "m")
    foreign = Finding("g", 1, 1, "warning", "GW220", "m")

    assert without_ignored([finding, foreign], {"f": "a\n# gateway: ignore GW220"}) == (finding, foreign)
