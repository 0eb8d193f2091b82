"""Results as tables: on the terminal, as JSON, and in docs/performance.md.

Lifetime: process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

BEGIN, END = "<!-- results: written by scripts/bench --write-docs -->", "<!-- end of results -->"


@dataclass(slots=True)
class Result:
    """The table of one scenario."""

    scenario: str
    title: str
    """One sentence that says what was done."""
    columns: tuple[str, ...]
    """The first names the rows."""
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def number(value: float | None, digits: int = 1) -> str:
    """A measured value; a dash when there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def ratio(value: float | None, reference: float | None) -> str:
    """How many times the reference."""
    return "-" if value is None or not reference else f"{value / reference:.2f}x"


def show(result: Result, console: Console) -> None:
    """Prints it."""
    table = Table(title=f"{result.scenario}: {result.title}", title_justify="left")
    for index, column in enumerate(result.columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in result.rows:
        table.add_row(*map(str, row))
    console.print(table)
    for note in result.notes:
        console.print(f"  {note}", highlight=False)


def save(results: list[Result], machine: dict[str, Any], path: Path) -> None:
    """Everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_docs(results: list[Result], machine: dict[str, Any], page: Path) -> None:
    """Replaces what stands between the markers of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no markers for results")
    lines = ["", " · ".join(str(value) for value in machine.values()), ""]
    for result in results:
        lines += [f"### {result.scenario}", "", f"{result.title[0].upper()}{result.title[1:]}.", ""]
        lines += table(result)
    page.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def table(result: Result) -> list[str]:
    """Its lines in a page."""
    return [
        _row(result.columns),
        _row(["---", *["---:"] * (len(result.columns) - 1)]),
        *map(_row, result.rows),
        "",
        *(f"- {note}" for note in result.notes),
        *([""] if result.notes else []),
    ]


def _row(cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"
